"""The index of a region, opened: mapped into memory, every byte and every range of it checked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.manifest import seal
from gl10m.scene.footprint import FOOTPRINT_DEGREES
from gl10m.scene.grid import TILES
from gl10m.storage.contents import cached
from gl10m.storage.place import Place
from gl10m.store.codec import MAX_IMAGE_BYTES
from gl10m.store.index import ShardFile, class_names_of
from gl10m.store.layout import (
    INDEXES,
    LENGTH_PREFIX,
    SHARDS,
    STORE_VERSION,
    ShardName,
    StoreError,
    index_path,
    index_schema,
)
from gl10m.store.shard import column

INDEX_REMEDY: Final = "`gl10m repair` makes it anew from the shards; so does the same `gl10m build`."
"""What to do about a missing or damaged index."""

_BOUNDS_TOLERANCE: Final = 1e-9
"""Degrees by which a footprint's side may miss its length: rounding, a tenth of a millimetre."""


class DataSetNotFoundError(FileNotFoundError):
    """No data set stands in a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionIndex:
    """The index of one region, mapped into memory: workers share it, unused columns are never read."""

    path: Path
    region: str
    shards: tuple[ShardFile, ...]
    class_names: tuple[str, ...]
    rows: pa.Table
    """Schema `index_schema`, in one chunk."""
    crc32: str
    """Of the whole file, hexadecimal; compared with its bytes when it is opened."""

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers without a copy: shape (scenes,), or (scenes, n) where a scene has n."""
        values = column(self.rows, name)
        if isinstance(values, pa.FixedSizeListArray):
            return np.asarray(values.flatten().to_numpy(zero_copy_only=True)).reshape(
                -1, values.type.list_size
            )
        return np.asarray(values.to_numpy(zero_copy_only=True))

    @property
    def scene_ids(self) -> list[str]:
        """Scene ids in order."""
        return [str(name) for name in self.rows["scene_id"].to_pylist()]

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker maps the file itself; the rows never travel.
        return _reopen, (self.path, self.crc32)


def regions_of(root: Place) -> list[str]:
    """Regions of the data set at `root`, in alphabetical order: one with shards and no index is one, too.

    Raises:
        DataSetNotFoundError: there is no data set.
    """
    regions = {path.stem for path in (root / INDEXES).glob("[A-Z][A-Z].arrow")}
    # A lost index must not make a region's scenes disappear in silence.
    regions |= {path.name[:2] for path in (root / SHARDS).glob("[A-Z][A-Z]-*-of-*.parquet")}
    if not regions:
        raise DataSetNotFoundError(
            f"no data set in {root}: it has no {INDEXES}/*.arrow. Build one there with "
            "`gl10m build --states CA,TX --source synthetic`, or name its folder with --root."
        )
    return sorted(regions)


def regions_left(root: Place) -> list[str]:
    """As `regions_of`; none where all shards and indexes are gone and manifests still tell of a data set.

    Raises:
        DataSetNotFoundError: there are no manifests either.
    """
    try:
        return regions_of(root)
    except DataSetNotFoundError:
        if not any((root / "manifests").glob("*.parquet")):
            raise
        return []


def class_names(root: Place) -> tuple[str, ...]:
    """Names of the data set's classes by id; all its regions have the same.

    Raises:
        DataSetNotFoundError: there is no data set at `root`.
        StoreError: it is damaged.
    """
    return open_index(index_path(root, regions_of(root)[0])).class_names


def open_index(place: Place) -> RegionIndex:
    """Map an index into memory and check that every byte of it is as it was written.

    One in a bucket is copied to this machine and kept there, see `gl10m.storage.contents.cached`. The
    checksum of the whole file is compared: labels, bounds and byte ranges are then taken as they are.

    Raises:
        DataSetNotFoundError: there is no such index.
        StoreError: it is damaged, or another version wrote it.
    """
    if not place.is_file():
        raise DataSetNotFoundError(f"no index {place.name} in {place.parent}. {INDEX_REMEDY}")
    path = cached(place)
    try:
        crc32 = _sealed(place, path)
        rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        about = rows.schema.metadata or {}
        names = class_names_of(about, path)
        version = about.get(b"gl10m.store_version", b"none").decode(errors="replace")
        expected = index_schema(len(names))
        if version != str(STORE_VERSION) or not rows.schema.remove_metadata().equals(expected):
            raise StoreError(f"store version {version}; this gl10m reads version {STORE_VERSION}")
        rows.validate(full=True)
        shards = tuple(ShardFile(**shard) for shard in json.loads(about[b"gl10m.shards"]))
        if rows.num_rows == 0 or any(ShardName.parse(shard.name).region != path.stem for shard in shards):
            raise StoreError("it is empty, or names shards of other regions")
        index = RegionIndex(
            path=path,
            region=path.stem,
            shards=shards,
            class_names=names,
            rows=rows.combine_chunks(),
            crc32=crc32,
        )
        _check_rows(index)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise StoreError(f"{path} is no index of this gl10m ({error}). {INDEX_REMEDY}") from error
    return index


def _sealed(place: Place, path: Path) -> str:
    """The checksum of an index, which its bytes have; a damaged copy of an object is fetched anew.

    Raises:
        SealError: its bytes have another, or it carries none.
    """
    try:
        return seal.check_seal(path)
    except seal.SealError:
        if isinstance(place, Path):
            raise
        path.unlink(missing_ok=True)
        return seal.check_seal(cached(place))


def _reopen(path: Path, crc32: str) -> RegionIndex:
    index = open_index(path)
    if index.crc32 != crc32:
        raise StoreError(f"{path} was replaced by another build while it was in use. Open the data set anew.")
    return index


def _check_rows(index: RegionIndex) -> None:
    """Refuse what no index says of a scene, so that its rows are taken as they are from here on.

    Raises:
        StoreError: a byte range is empty, too long, or outside its shard; a footprint has another size; a
            label is neither 0 nor 1.
    """
    shard, lengths = index.column("shard"), index.column("hr_length")
    sizes = np.array([file.size for file in index.shards])
    known = len(sizes) > 0 and shard.min() >= 0 and shard.max() < len(sizes)
    if not known:
        raise StoreError("it has scenes in shards that it does not name")
    lr_length = index.column("lr_length")
    longest = max(int(lengths.max()), int(lr_length.max()))
    if min(int(lengths.min()), int(lr_length.min())) < 1 or longest > MAX_IMAGE_BYTES:
        raise StoreError(f"it has an image of other than 1 to {MAX_IMAGE_BYTES} bytes")
    lr_start, hr_start = index.column("lr_offset"), index.column("hr_offset")
    hr_bytes = lengths.sum(axis=1, dtype=np.int64) + LENGTH_PREFIX * (TILES - 1)
    inside = (lr_start >= LENGTH_PREFIX) & (lr_start <= sizes[shard] - lr_length)
    inside &= (hr_start >= LENGTH_PREFIX) & (hr_start <= sizes[shard] - hr_bytes)
    if not inside.all():
        raise StoreError("it has images outside their shards")
    west, south, east, north = index.column("bounds").T
    sides = np.concatenate([east - west, north - south])
    if not (np.abs(sides - FOOTPRINT_DEGREES) < _BOUNDS_TOLERANCE).all():
        raise StoreError(f"it has a footprint that is no square of {FOOTPRINT_DEGREES} degrees")
    if index.column("label").max() > 1:
        raise StoreError("it has labels that are neither 0 nor 1")
