"""Items out of a stac-geoparquet file in place of searches: for catalogues of millions, or without a network.

The file is the user's, and its content is treated as hostile: its size is bounded before it is read, it is
read a few rows at a time, and each row passes the same rules as an item of an API.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from gl10m.manifest.columns import values, where
from gl10m.manifest.provenance import digest
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint
from gl10m.storage.checksum import sha256_of
from pipelines.sources.asset_urls import unsigned
from pipelines.sources.download import download, unchanged
from pipelines.sources.imagery import HighResolution, Imagery, LowResolution, Sensor
from pipelines.sources.isolated import ChildFailedError, ChildLostError, Limits, run
from pipelines.sources.items import FIELDS, collected, item_table
from pipelines.sources.partial_file import Whole, recall, remember
from pipelines.sources.patience import PATIENT, Patience

MOST_ROWS = 50_000_000
"""Rows of a file at most; the whole archive of Sentinel-2 L2A has some 30 million."""

MOST_BYTES = 20 * 10**9
"""Bytes of a file that is downloaded at most."""

MOST_GROUP_BYTES = 4 * 10**9
"""Bytes at most that a row group claims for the columns that are read."""

MAGIC = b"PAR1"
"""First bytes of a Parquet file."""

ROWS_AT_A_TIME = 2048
"""Rows in memory as items."""

_TOP = {"id", "collection", "geometry", "assets"}
"""Columns of a row that are members of the item; all others are its properties."""


class ItemFileError(ValueError):
    """A file is no stac-geoparquet, or holds nothing of what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFiles:
    """A stac-geoparquet file or a folder of them at hand."""

    files: tuple[Path, ...]
    source: str
    """File name or address without secrets, and the digest of the content: what provenance says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TabledItems:
    """A source that finds items in a file; it reads pixels as the source itself. Small and picklable."""

    source: Imagery
    tables: ItemFiles
    collection: str
    """Id of the collection whose rows are taken."""

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        """Find items, see `Imagery.search`.

        Raises:
            ItemFileError: a file is no stac-geoparquet, or holds no item of the collection.
            MalformedItemError: it holds items here, and none of them can be used.
        """
        shapely.prepare(area)
        reader = _Reader(self.collection, area, window)
        parts = (
            item_table(items, sensor) for path in self.tables.files for items in reader.items(path, sensor)
        )
        found = collected(parts, sensor, window)
        if not reader.of_collection:
            raise ItemFileError(
                f"{self.tables.source.partition(' ')[0]} holds no item of collection {self.collection}; it "
                f"holds {', '.join(sorted(reader.collections)[:5]) or 'none'}. Name another file with "
                "--items, or the collection with --naip-collection or --sentinel2-collection."
            )
        return found

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one item, see `Imagery.read_sentinel2`."""
        return self.source.read_sentinel2(item, footprint)

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic items, see `Imagery.read_naip`."""
        return self.source.read_naip(items, footprint)


class _Reader:
    """Reads the rows of one collection that meet an area and a window."""

    def __init__(self, collection: str, area: shapely.Geometry, window: Window) -> None:
        self._collection, self._area, self._window = collection, area, window
        self.of_collection = 0
        """Rows of the collection, anywhere and at any time."""
        self.collections: set[str] = set()
        """Ids seen."""

    def items(self, path: Path, sensor: Sensor) -> Iterator[list[dict[str, Any]]]:
        """Items as GeoJSON features, a few at a time.

        Raises:
            ItemFileError: the file cannot be read, or is too large.
        """
        try:
            columns = _looked_at(path, sensor)
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=ROWS_AT_A_TIME, columns=columns):
                    yield [_feature(row) for row in self._here(pa.Table.from_batches([batch])).to_pylist()]
        except (pa.ArrowException, OSError, shapely.errors.ShapelyError, ValueError, OverflowError) as error:
            said = " ".join(str(error).split())[:200]
            raise ItemFileError(f"{path.name} cannot be read as stac-geoparquet: {said}") from None

    def _here(self, rows: pa.Table) -> pa.Table:
        """The rows of the collection that meet the area and, for all that is known, the window."""
        self.collections |= {
            str(name) for name in values(rows.group_by("collection").aggregate([]), "collection")
        }
        rows = where(rows, "collection", {self._collection})
        self.of_collection += rows.num_rows
        # Rows without a geometry or a day are looked at, and refused aloud.
        with np.errstate(invalid="ignore"):  # corners that are no numbers meet nothing
            ground = shapely.from_wkb(rows["geometry"].to_numpy())
            here = shapely.intersects(self._area, ground) | shapely.is_missing(ground)
        rows = rows.filter(pa.array(here))
        days = _days(rows)
        first, last = np.datetime64(self._window.first), np.datetime64(self._window.last)
        return rows.filter(pa.array(np.isnat(days) | ((first <= days) & (days <= last))))


def _days(rows: pa.Table) -> NDArray[np.datetime64]:
    """The UTC day of each row, as far as a column of instants tells."""
    if "datetime" not in rows.column_names or not pa.types.is_timestamp(rows["datetime"].type):
        return np.full(rows.num_rows, np.datetime64("NaT"), "datetime64[D]")
    return rows["datetime"].cast(pa.timestamp("us"), safe=False).to_numpy().astype("datetime64[D]")


def _looked_at(path: Path, sensor: Sensor) -> list[str]:
    """The columns to read, chosen in a child: over some footers pyarrow ends the process.

    Raises:
        ItemFileError: the file is none, is too large, or its footer ended the child.
    """
    try:
        most = (MOST_ROWS, MOST_GROUP_BYTES)
        (said,) = run(_chosen, str(path.absolute()), sensor, most, limits=Limits.of(path))
    except ChildLostError as error:
        fault = f"the process that looked at it is no more: {error}"
    except ChildFailedError as error:
        fault = str(error)
    else:
        return [str(name) for name in json.loads(said)]
    raise ItemFileError(
        fault if path.name in fault else f"{path.name} cannot be read as stac-geoparquet: {fault}"
    )


def _chosen(path: str, sensor: Sensor, most: tuple[int, int]) -> Iterator[bytes]:
    """In a child: names of the columns to read, as JSON."""
    with pq.ParquetFile(path) as file:
        yield json.dumps(_columns(Path(path), file, sensor, most)).encode()


def _columns(path: Path, file: pq.ParquetFile, sensor: Sensor, most: tuple[int, int]) -> list[str]:
    """The columns that an item row needs, of those that a file has.

    Raises:
        ItemFileError: it has too many rows, or lacks what every stac-geoparquet has, or has it otherwise.
    """
    most_rows, most_bytes = most
    names = set(file.schema_arrow.names)
    lacking = sorted({"id", "geometry", "collection", "assets"} - names)
    if lacking or file.metadata.num_rows > most_rows:
        fault = f"lacks {', '.join(lacking)}" if lacking else f"claims {file.metadata.num_rows:,} rows"
        raise ItemFileError(
            f"{path.name} {fault}; a stac-geoparquet has a row for each item, {most_rows:,} at most, with "
            "the columns id, geometry, collection and assets"
        )
    _check_types(path, file.schema_arrow)
    wanted = [name.removeprefix("properties.") for name in FIELDS[sensor]]
    assets = {
        f"assets.{asset.name}.{part.name}"
        for asset in file.schema_arrow.field("assets").type
        if pa.types.is_struct(asset.type)
        for part in asset.type
    }
    columns = [name for name in wanted if name in names or name in assets]
    if not any(name in assets for name in columns):
        asked = ", ".join(sorted({name.split(".")[1] for name in wanted if name.startswith("assets.")}))
        raise ItemFileError(f"{path.name} has no {sensor} asset; a stac-geoparquet of it has some of {asked}")
    _check_size(path, file.metadata, columns, most_bytes)
    return columns


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


_TYPES = {
    "geometry": ("WKB", _is_bytes),
    "collection": ("text", _is_text),
    "assets": ("a struct with a field for each asset", pa.types.is_struct),
}
"""What some columns hold, in words, and how that is told."""


def _check_types(path: Path, schema: pa.Schema) -> None:
    for name, (words, fits) in _TYPES.items():
        kind = schema.field(name).type
        if not fits(getattr(kind, "storage_type", kind)):
            raise ItemFileError(f"{path.name}: {name} of a stac-geoparquet is {words}; got {kind}")


def _check_size(path: Path, metadata: pq.FileMetaData, columns: list[str], most_bytes: int) -> None:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        parts = (group.column(place) for place in range(group.num_columns))
        claimed = sum(
            part.total_uncompressed_size
            for part in parts
            if any(
                part.path_in_schema == name or part.path_in_schema.startswith(f"{name}.") for name in columns
            )
        )
        if claimed > most_bytes:
            raise ItemFileError(
                f"{path.name}: row group {number} claims {claimed:,} bytes; at most {most_bytes:,} are read"
            )


def _feature(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the STAC item that it was made from, as far as an item row reads it."""
    wkb = row["geometry"]
    properties = {name: value for name, value in row.items() if name not in _TOP and value is not None}
    for name in ("datetime", "start_datetime"):
        if hasattr(properties.get(name), "isoformat"):
            properties[name] = properties[name].isoformat()
    return {
        "id": row["id"],
        "collection": row["collection"],
        "geometry": None if wkb is None else json.loads(shapely.to_geojson(shapely.from_wkb(wkb))),
        "properties": properties,
        "assets": _without_nulls(row["assets"] or {}),
    }


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """What a struct column filled up with nulls, taken out again."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def item_files_at(path: Path) -> tuple[Path, ...]:
    """The files that a path names, each begun as Parquet is; their content is not looked at.

    Raises:
        FileNotFoundError: there is none.
        ItemFileError: a file is no Parquet file.
    """
    files = tuple(sorted(path.glob("**/*.parquet"))) if path.is_dir() else (path,)
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"no stac-geoparquet file at {path}. Check the path given with --items.")
    for file in files:
        with file.open("rb") as opened:
            begun = opened.read(len(MAGIC))
        if begun != MAGIC:
            raise ItemFileError(
                f"{file.name} cannot be read as stac-geoparquet: a Parquet file begins with {MAGIC!r}, this "
                f"one with {begun!r}. Give the file of items with --items."
            )
    return files


def local_items(path: Path) -> ItemFiles:
    """A file at hand, or a folder of .parquet files.

    Raises:
        FileNotFoundError: there is none.
        ItemFileError: a file is no Parquet file.
    """
    files = item_files_at(path)
    content = [sha256_of(file) for file in files]
    return ItemFiles(
        files=files, source=f"{path.name} sha256 {content[0] if len(content) == 1 else digest(content)}"
    )


def remote_items(address: str, folder: Path, patience: Patience = PATIENT) -> ItemFiles:
    """A file at an address, downloaded once and again when the server says that it changed.

    Raises:
        RefusedAddressError: no plain http or https address.
        DownloadError: it cannot be read.
        CacheError: it cannot be kept.
    """
    shown = unsigned(address)
    target = folder / "item-files" / f"{hashlib.sha256(shown.encode()).hexdigest()[:16]}.parquet"
    record = target.with_suffix(".json")
    whole = Whole.of(recall(record))
    if not (target.is_file() and whole is not None and unchanged(address, whole, patience)):
        came = download(address, target, patience=patience, most_bytes=MOST_BYTES)
        remember(record, asdict(came))
    name = urlsplit(shown)._replace(query="").geturl()
    return ItemFiles(files=(target,), source=f"{name} sha256 {sha256_of(target)}")
