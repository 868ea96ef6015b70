"""Writes shards, and reads whole rows of them back.

A shard is an ordinary Parquet file that any reader opens. What makes it a shard is how its bytes lie: no
compression, PLAIN encoding and one row a page, so that every image stands in the file as it was encoded, the
tiles of a scene back to back, and an index of byte ranges is all it takes to read one tile.
"""

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gl10m.manifest.parquet import replacing
from gl10m.manifest.schema import FETCHED
from gl10m.scene.grid import TILES
from gl10m.scene.states import SCENE_ID
from gl10m.storage.contents import readable
from gl10m.storage.place import Place
from gl10m.store.layout import (
    IMAGE,
    SCENES_A_ROW_GROUP,
    SCENES_A_SHARD,
    STORE_VERSION,
    ShardName,
    StoreError,
    shard_schema,
)

_STATISTICS = ["scene_id", "state", "anchor_class", "longitude", "latitude", "naip_date", "sentinel2_date"]
"""Columns with minima and maxima in the footer; of images they would be copies of the images."""

REMEDY = (
    "`gl10m repair`, with the options of its `gl10m build`, keeps what is whole and fetches the rest again."
)
"""What to do about a missing or damaged shard."""


_MOST_VALUES = 1 << 16
"""Values of one column in one scene: 100 tiles, or the items and classes that it names."""


class ShardWriter:
    """Writes one shard row group by row group, so that 16 scenes are in memory at a time.

    `write_shard` puts the file in its place when all went well. The same rows give the same bytes
    however they are cut into batches, with the same version of pyarrow.
    """

    def __init__(self, file: Path, class_names: Sequence[str], metadata: Mapping[str, str]) -> None:
        self._schema = shard_schema(class_names, metadata)
        self._waiting: list[pa.Table] = []
        self._last_id = ""
        self.rows = 0
        """Scenes taken so far."""
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="none",
            use_dictionary=False,
            data_page_size=1,  # a page ends as soon as it holds anything ...
            write_batch_size=1,  # ... and that is asked after every row
            write_statistics=_STATISTICS,
            write_page_index=True,
            write_page_checksum=True,
        )

    def add(self, fetched: pa.Table) -> None:
        """Take more scenes.

        Args:
            fetched: schema FETCHED, sorted by scene id, all ids after those taken before.

        Raises:
            StoreError: other columns, ids out of order, an image missing, or more than 128 scenes.
        """
        rows = _checked(fetched)
        for name in map(str, rows["scene_id"].to_pylist()):
            if name <= self._last_id:
                raise StoreError(f"scenes of a shard are sorted by id; got {name} after {self._last_id}")
            self._last_id = name
        self.rows += rows.num_rows
        if self.rows > SCENES_A_SHARD:
            raise StoreError(f"a shard holds at most {SCENES_A_SHARD} scenes; got {self.rows}")
        while rows.num_rows:
            room = SCENES_A_ROW_GROUP - sum(part.num_rows for part in self._waiting)
            self._waiting.append(rows.slice(0, room))
            rows = rows.slice(room)
            if sum(part.num_rows for part in self._waiting) == SCENES_A_ROW_GROUP:
                self._write_row_group()

    def close(self) -> None:
        """Write what waits, and the footer.

        Raises:
            StoreError: no scene was added.
        """
        if self._waiting:
            self._write_row_group()
        self._writer.close()
        if not self.rows:
            raise StoreError("a shard holds at least one scene; got none")

    def _write_row_group(self) -> None:
        rows = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting = []
        columns = [_stored(name, column(rows, name)) for name in FETCHED.names]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()


def write_shard(
    path: Place,
    batches: Iterable[pa.Table] | pa.Table,
    class_names: Sequence[str],
    metadata: Mapping[str, str],
) -> int:
    """Write one shard, whole or not at all.

    Args:
        path: data/CA-00000-of-00003.parquet of a data set.
        batches: schema FETCHED, sorted by scene id, 1 to 128 scenes in all. An iterable is read as it is
            written, so that 16 scenes and one batch are in memory at a time.
        class_names: names of the classes by id.
        metadata: provenance, see `Provenance.metadata`.

    Returns:
        How many scenes were written.

    Raises:
        StoreError: the name is not a shard's, or the rows do not fit.
        OSError: the folder cannot be written.
    """
    ShardName.parse(path.name)
    with replacing(path) as temporary, ShardWriter(temporary, class_names, metadata) as writer:
        for batch in [batches] if isinstance(batches, pa.Table) else batches:
            writer.add(batch)
    return writer.rows


def read_rows(path: Place, scene_ids: Collection[str] | None = None) -> Iterator[pa.Table]:
    """Read scenes back as they were given to `write_shard`, checking the checksum of every page.

    Args:
        path: a shard.
        scene_ids: scenes to read; all if None. Ids that are not in the shard are passed over.

    Yields:
        Schema FETCHED, sorted by scene id: the rows of one row group, 16 at most, where it has any asked for.

    Raises:
        FileNotFoundError: there is no such shard.
        StoreError: the shard is damaged.
    """
    wanted = None if scene_ids is None else pa.array(sorted(scene_ids), pa.string())
    with open_shard(path) as file:
        for group in range(file.num_row_groups):
            keep = None
            if wanted is not None:
                names = read_group(path, file, group, ["scene_id"])["scene_id"]
                keep = pc.is_in(names, value_set=wanted)
                if not pc.any(keep).as_py():
                    continue
            rows = _fetched(path, read_group(path, file, group, FETCHED.names))
            yield rows if keep is None else rows.filter(keep)


def open_shard(path: Place) -> pq.ParquetFile:
    """Open a shard and check that its footer is one.

    Raises:
        FileNotFoundError: there is no such shard.
        StoreError: it is damaged, or another version wrote it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the shard {path.name} is missing from {path.parent}. {REMEDY}")
    try:
        file = pq.ParquetFile(readable(path), page_checksum_verification=True)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise StoreError(f"{path} cannot be read as Parquet ({error}). {REMEDY}") from error
    fault = _footer_fault(file) or _layout_fault(file.metadata, path.stat().st_size)
    if fault:
        file.close()
        raise StoreError(f"{path} {fault}. {REMEDY}")
    return file


def read_group(path: Place, file: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
    """Read one row group of an open shard into one chunk.

    Raises:
        StoreError: it is damaged.
    """
    try:
        rows = file.read_row_group(group, columns=columns, use_threads=False).combine_chunks()
        rows.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        raise StoreError(f"row group {group} of {path} is damaged ({error}). {REMEDY}") from error
    return rows


def _footer_fault(file: pq.ParquetFile) -> str | None:
    about = file.schema_arrow.metadata or {}
    version = about.get(b"gl10m.store_version", b"none").decode(errors="replace")
    if version != str(STORE_VERSION):
        return f"has store version {version}; this gl10m reads version {STORE_VERSION}"
    try:
        names = file.schema_arrow.names
    except UnicodeDecodeError:
        return "has columns whose names are no text"
    if names != FETCHED.names:
        return f"has not the columns of a shard but {', '.join(names)}"
    # Before a column is looked at: over one that is nested otherwise than its statistics pyarrow aborts.
    if not file.schema.equals(_written_schema()):
        return "has columns of other types than a shard"
    if not 0 < file.metadata.num_rows <= SCENES_A_SHARD:
        return f"claims {file.metadata.num_rows} scenes; a shard has 1 to {SCENES_A_SHARD}"
    return None


@functools.cache
def _written_schema() -> pq.ParquetSchema:
    """How the columns of a shard stand in Parquet, types and nesting."""
    scratch = pa.BufferOutputStream()
    with pq.ParquetWriter(scratch, shard_schema((), {}), compression="none", use_dictionary=False):
        pass
    return pq.ParquetFile(pa.BufferReader(scratch.getvalue())).schema


def _layout_fault(footer: pq.FileMetaData, size: int) -> str | None:
    """What a footer claims that no shard has, so that a small file cannot unpack into a large one."""
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if not 0 < group.num_rows <= SCENES_A_ROW_GROUP:
            return f"claims {group.num_rows} scenes in a row group; there are 1 to {SCENES_A_ROW_GROUP}"
        for place in range(group.num_columns):
            chunk = group.column(place)
            if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
                return f"is compressed or rewritten by another program in {chunk.path_in_schema}"
            start, length = chunk.data_page_offset, chunk.total_compressed_size
            most = group.num_rows * _MOST_VALUES
            if not (0 < start <= start + length <= size and 0 <= chunk.num_values <= most):
                return f"claims bytes or values of {chunk.path_in_schema} that it has no room for"
    return None


def _checked(fetched: pa.Table) -> pa.Table:
    try:
        rows = fetched.select(FETCHED.names).cast(FETCHED.schema)
    except (KeyError, pa.ArrowInvalid) as error:
        raise StoreError(f"rows do not fit the table {FETCHED.name}: {error}") from error
    for name in rows["scene_id"].to_pylist():
        if name is None or not SCENE_ID.fullmatch(name):
            raise StoreError(f"a scene is named like CA-w123 or ME-r98; got {name!r}")
    for name, images in (("lr", rows["lr"]), ("hr", pc.list_flatten(rows["hr"]))):
        if rows[name].null_count or images.null_count:
            raise StoreError(f"a scene has one LR image and {TILES} HR tiles; some are missing in {name}")
    return rows


def column(rows: pa.Table, name: str) -> Any:  # noqa: ANN401 - an array; the stubs take it for a chunked one
    """The one chunk of a column of rows that were combined."""
    return rows[name].chunk(0)


def _stored(name: str, rows: Any) -> Any:  # noqa: ANN401 - arrays of any kind
    """A column of FETCHED as the shard holds it."""
    if name == "lr":
        return _images(rows)
    if name == "hr":
        starts = pa.array(range(0, TILES * len(rows) + 1, TILES), pa.int32())
        return pa.ListArray.from_arrays(starts, _images(rows.flatten()))
    return rows


def _images(encoded: "pa.Array[Any]") -> pa.StructArray:
    return pa.StructArray.from_arrays([encoded, pa.nulls(len(encoded), pa.string())], fields=list(IMAGE))


def _fetched(path: Place, stored: pa.Table) -> pa.Table:
    """Rows of a shard in schema FETCHED."""
    columns = {name: column(stored, name) for name in FETCHED.names}
    tiles = columns["hr"].flatten().field("bytes")
    counts = set(columns["hr"].value_lengths().to_pylist())
    if counts != {TILES} or tiles.null_count or columns["lr"].field("bytes").null_count:
        raise StoreError(f"{path} has a scene without one LR image and {TILES} HR tiles. {REMEDY}")
    columns["lr"] = columns["lr"].field("bytes")
    columns["hr"] = pa.FixedSizeListArray.from_arrays(tiles, type=FETCHED.schema.field("hr").type)
    try:
        return pa.table(columns).cast(FETCHED.schema)
    except pa.ArrowInvalid as error:
        raise StoreError(f"{path} has columns of other types ({error}). {REMEDY}") from error
