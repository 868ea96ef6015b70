"""Reads single images by the byte ranges of the index, and nothing else."""

import functools
import json
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, SupportsIndex

import numpy as np
import pyarrow as pa
from isal import isal_zlib
from numpy.typing import NDArray

from gl10m.manifest import seal
from gl10m.scene.footprint import FOOTPRINT_DEGREES
from gl10m.scene.grid import TILES
from gl10m.scene.tile_labels import unpack_tile_labels
from gl10m.storage.client import ObjectNotFoundError
from gl10m.storage.place import Place, cached
from gl10m.store import codec
from gl10m.store.byte_source import ByteRange, ByteSource, byte_source, joined
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
from gl10m.store.shard import REMEDY, column

EVERY_IMAGE: Final = (None, *range(TILES))
"""The LR image and the 100 tiles, as `RegionReader.encoded` takes them."""

INDEX_REMEDY = "`gl10m repair` makes it anew from the shards; so does the same `gl10m build`."
"""What to do about a missing or damaged index."""

REPLACED = "A later build has replaced it, or it was deleted. Open the data set anew."
"""What to do about an object that is no longer there."""

_BOUNDS_TOLERANCE = 1e-9
"""Degrees by which a footprint's side may miss its length: rounding, a tenth of a millimetre."""


class DataSetNotFoundError(FileNotFoundError):
    """No data set stands in a folder."""


class ShardNotFoundError(FileNotFoundError):
    """A shard that the index names is not there."""


class DamagedImageError(StoreError):
    """An image's bytes are not those that were written."""


class SceneNotFoundError(KeyError):
    """The data set holds no such scene."""

    def __str__(self) -> str:
        """The message without the quotes that KeyError adds."""
        return str(self.args[0])


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


def class_names(root: Place) -> tuple[str, ...]:
    """Names of the data set's classes by id; all its regions have the same.

    Raises:
        DataSetNotFoundError: there is no data set at `root`.
        StoreError: it is damaged.
    """
    return open_index(index_path(root, regions_of(root)[0])).class_names


def open_index(place: Place) -> RegionIndex:
    """Map an index into memory and check that every byte of it is as it was written.

    One in a bucket is copied to this machine and kept there, see `gl10m.storage.place.cached`. The
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
        class_names = class_names_of(about, path)
        version = about.get(b"gl10m.store_version", b"none").decode(errors="replace")
        expected = index_schema(len(class_names))
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
            class_names=class_names,
            rows=rows.combine_chunks(),
            crc32=crc32,
        )
        _check_places(index)
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


class RegionReader:
    """Reads the images of one region. Picklable, and safe in threads and forks."""

    def __init__(self, index: RegionIndex, source: ByteSource, *, verify: bool = True) -> None:
        """Take an index and its shards; nothing is read yet.

        Args:
            index: the region's index.
            source: its shards.
            verify: compare the checksum of every image read; takes 0.2 % of the time of decoding it.
        """
        self.index = index
        self.source = source
        """Where its shards lie."""
        self._verify = verify
        self._shard_names = [shard.name for shard in index.shards]
        self._shard = index.column("shard")
        self._lr_offset, self._lr_length = index.column("lr_offset"), index.column("lr_length")
        self._hr_offset, self._hr_length = index.column("hr_offset"), index.column("hr_length")
        self._crc32 = index.column("crc32")
        self._label, self._bounds = index.column("label"), index.column("bounds")

    def check_shards(self) -> None:
        """Check that every shard is there and as long as the index says.

        Raises:
            ShardNotFoundError: a shard is missing.
            StoreError: a shard has another length.
        """
        for shard in self.index.shards:
            size = self.source.size(shard.name)
            if size is None:
                raise ShardNotFoundError(f"{_missing(shard.name)}. {REMEDY}")
            if size != shard.size:
                raise StoreError(
                    f"the shard {shard.name} has {size} bytes, but {shard.size} by {self.index.path.name}: "
                    f"it is cut short or was replaced. {REMEDY}"
                )

    def lr(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Read and decode the LR image of a scene.

        Args:
            row: row of the scene in the index.
            pixels: shape (268, 268, 3), uint8, C-contiguous; overwritten, north-west first.

        Raises:
            ShardNotFoundError: the shard is missing.
            StoreError: the shard is cut short, or the image damaged.
        """
        (content,) = read_images(self.source, [self.lr_range(row)])
        self.decode(row, None, content, pixels)

    def hr(self, row: int, tiles: Iterable[SupportsIndex], pixels: NDArray[np.uint8]) -> None:
        """Read and decode HR tiles of a scene; no byte of another tile is read.

        Args:
            row: row of the scene in the index.
            tiles: numbers of the tiles, each in 0..99, in any order.
            pixels: shape (len(tiles), 268, 268, 3), uint8, C-contiguous; overwritten, in the order asked for.

        Raises:
            IndexError: there is no such tile.
            ShardNotFoundError: the shard is missing.
            StoreError: the shard is cut short, or a tile damaged.
        """
        wanted = checked_tiles(tiles)
        contents = read_images(self.source, self.tile_ranges(row, wanted))
        for tile, content, target in zip(wanted, contents, pixels, strict=True):
            self.decode(row, tile, content, target)

    def label(self, row: int) -> NDArray[np.bool_]:
        """Which classes are in the footprint of a scene: shape (N,), by class id."""
        label: NDArray[np.bool_] = self._label[row] != 0
        return label

    def bounds(self, row: int) -> tuple[float, float, float, float]:
        """West, south, east, north of a scene's footprint, degrees, EPSG:4326."""
        west, south, east, north = self._bounds[row].tolist()
        return west, south, east, north

    def lr_range(self, row: int) -> ByteRange:
        """Where the LR image of a scene lies."""
        start = int(self._lr_offset[row])
        return ByteRange(self._shard_names[self._shard[row]], start, start + int(self._lr_length[row]))

    def tile_ranges(self, row: int, tiles: Sequence[int]) -> list[ByteRange]:
        """Where HR tiles of a scene lie, in the order asked for; each number is in 0..99."""
        lengths = self._hr_length[row].astype(np.int64)
        ends = (int(self._hr_offset[row]) - LENGTH_PREFIX) + np.cumsum(lengths + LENGTH_PREFIX)
        first, last = (ends - lengths).tolist(), ends.tolist()
        shard = self._shard_names[self._shard[row]]
        return [ByteRange(shard, first[tile], last[tile]) for tile in tiles]

    def check(self, row: int, tile: int | None, content: memoryview) -> None:
        """Compare an encoded image with its checksum, where the reader verifies.

        Args:
            row: row of the scene in the index.
            tile: number of the tile; None for the LR image.
            content: its bytes.

        Raises:
            DamagedImageError: they are not those that were written.
        """
        if self._verify:
            self._compare(row, tile, content)

    def decode(self, row: int, tile: int | None, content: memoryview, pixels: NDArray[np.uint8]) -> None:
        """Check and decode one image.

        Args:
            row: row of the scene in the index.
            tile: number of the tile; None for the LR image.
            content: its bytes.
            pixels: shape (268, 268, 3), uint8, C-contiguous; overwritten, north-west first.

        Raises:
            DamagedImageError: its bytes are not those that were written, or no image.
        """
        self.check(row, tile, content)
        try:
            codec.decode_into(content, pixels)
        except codec.ImageError as error:
            raise self._damaged(row, tile, error) from error

    def encoded(self, row: int, images: Sequence[int | None]) -> list[bytes]:
        """Images as they are stored, JPEG files; every checksum is compared, and no other image is read.

        Args:
            row: row of the scene in the index.
            images: numbers of tiles, 0..99; None for the LR image.

        Raises:
            IndexError: there is no such tile.
            ShardNotFoundError: the shard is missing.
            StoreError: the shard is cut short, or an image damaged.
        """
        tiles = iter(self.tile_ranges(row, checked_tiles(tile for tile in images if tile is not None)))
        ranges = [self.lr_range(row) if image is None else next(tiles) for image in images]
        contents = read_images(self.source, ranges)
        for image, content in zip(images, contents, strict=True):
            self._compare(row, image, content)
        return [bytes(content) for content in contents]

    def encoded_sizes(self, row: int) -> tuple[int, list[int]]:
        """Bytes of the LR image and of each of the 100 tiles. No image is read."""
        return int(self._lr_length[row]), [int(length) for length in self._hr_length[row]]

    def tile_labels(self, row: int) -> NDArray[np.bool_]:
        """Which classes meet which tile: shape (100, N)."""
        packed = self.index.rows["tile_labels"][row].as_py()
        return unpack_tile_labels(packed or b"", len(self.index.class_names))

    def __reduce__(self) -> tuple[Any, ...]:
        # The columns of the index are mapped anew by whoever unpickles.
        return functools.partial(RegionReader, verify=self._verify), (self.index, self.source)

    def _compare(self, row: int, tile: int | None, content: memoryview) -> None:
        if isal_zlib.crc32(content) != self._crc32[row, 0 if tile is None else tile + 1]:
            raise self._damaged(row, tile, "its checksum is not the one in the index")

    def _damaged(self, row: int, tile: int | None, fault: object) -> DamagedImageError:
        image = "LR image" if tile is None else f"HR tile {tile}"
        return DamagedImageError(
            f"the {image} of scene {self.index.rows['scene_id'][row]} in "
            f"{self._shard_names[self._shard[row]]} is damaged: {fault}. `gl10m verify --deep` tells what "
            f"else is; {REMEDY[0].lower()}{REMEDY[1:]}"
        )


class SceneReader:
    """Reads the images of a data set's scenes by their ids. A context manager."""

    def __init__(self, root: Place, *, verify: bool = True) -> None:
        """Open all regions of the data set at `root`.

        Raises:
            DataSetNotFoundError: there is none.
            StoreError: it is damaged.
        """
        self._root = root
        self._source = byte_source(root)
        self._regions: dict[str, tuple[RegionReader, dict[str, int]]] = {}
        for region in regions_of(root):
            index = open_index(index_path(root, region))
            rows = {name: row for row, name in enumerate(index.scene_ids)}
            reader = RegionReader(index, self._source, verify=verify)
            reader.check_shards()
            self._regions[region] = (reader, rows)

    def lr(self, scene_id: str) -> NDArray[np.uint8]:
        """The LR image of a scene: shape (3, 268, 268), uint8, north-west first.

        Raises:
            SceneNotFoundError: there is no such scene.
            FileNotFoundError: its shard is missing.
            StoreError: it is damaged.
        """
        reader, row = self._find(scene_id)
        pixels = np.empty((codec.SIDE, codec.SIDE, 3), np.uint8)
        reader.lr(row, pixels)
        return pixels.transpose(2, 0, 1)

    def hr(self, scene_id: str, tiles: Iterable[SupportsIndex]) -> NDArray[np.uint8]:
        """HR tiles of a scene: shape (len(tiles), 3, 268, 268), uint8, in the order asked for.

        Raises:
            SceneNotFoundError: there is no such scene.
            IndexError: there is no such tile.
            FileNotFoundError: its shard is missing.
            StoreError: a tile is damaged.
        """
        reader, row = self._find(scene_id)
        numbers = checked_tiles(tiles)
        pixels = np.empty((len(numbers), codec.SIDE, codec.SIDE, 3), np.uint8)
        reader.hr(row, numbers, pixels)
        return pixels.transpose(0, 3, 1, 2)

    def close(self) -> None:
        """Close the shards."""
        self._source.close()

    def _find(self, scene_id: str) -> tuple[RegionReader, int]:
        reader, rows = self._regions.get(scene_id[:2], (None, {}))
        if reader is None or scene_id not in rows:
            raise SceneNotFoundError(
                f"{self._root} holds no scene {scene_id}; its regions are {', '.join(self._regions)}"
            )
        return reader, rows[scene_id]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def checked_tiles(tiles: Iterable[SupportsIndex]) -> list[int]:
    """Tile numbers as plain integers.

    Raises:
        TypeError: one is no integer.
        IndexError: one is not in 0..99.
    """
    numbers = [operator.index(tile) for tile in tiles]
    wrong = [number for number in numbers if not 0 <= number < TILES]
    if wrong:
        raise IndexError(f"a scene has tiles 0..{TILES - 1}; asked for {', '.join(map(str, wrong))}")
    return numbers


def read_images(source: ByteSource, ranges: Sequence[ByteRange]) -> list[memoryview]:
    """Read the encoded images of any number of scenes with one call to their source, near ones together.

    Args:
        source: the shards.
        ranges: where the images lie, see `RegionReader.lr_range` and `RegionReader.tile_ranges`.

    Returns:
        Their bytes, in the order asked for.

    Raises:
        ShardNotFoundError: a shard is missing.
        StoreError: a shard is cut short.
    """
    groups = joined(ranges, source.gap)
    contents = _read([wanted for wanted, _ in groups], source)
    images: list[memoryview] = [memoryview(b"")] * len(ranges)
    for (whole, members), content in zip(groups, contents, strict=True):
        for member in members:
            wanted = ranges[member]
            images[member] = content[wanted.start - whole.start : wanted.end - whole.start]
    return images


def _read(ranges: list[ByteRange], source: ByteSource) -> list[memoryview]:
    try:
        contents = source.read(ranges)
    except FileNotFoundError as error:
        remedy = REPLACED if isinstance(error, ObjectNotFoundError) else REMEDY
        gone = {wanted.shard for wanted in ranges if source.size(wanted.shard) is None}
        named = min(gone) if gone else ranges[0].shard
        raise ShardNotFoundError(f"{_missing(named)}. {remedy}") from error
    for wanted, content in zip(ranges, contents, strict=True):
        if len(content) != wanted.end - wanted.start:
            raise StoreError(
                f"the shard {wanted.shard} ends before byte {wanted.end}, up to which its index has an "
                f"image: it was cut short. {REMEDY}"
            )
    return [memoryview(content) for content in contents]


def _missing(shard: str) -> str:
    index = f"{ShardName.parse(shard).region}.arrow"
    return f"the shard {shard}, which the index {index} names, is missing from {SHARDS}/"


def _reopen(path: Path, crc32: str) -> RegionIndex:
    index = open_index(path)
    if index.crc32 != crc32:
        raise StoreError(f"{path} was replaced by another build while it was in use. Open the data set anew.")
    return index


def _check_places(index: RegionIndex) -> None:
    """Refuse byte ranges outside the shards.

    Raises:
        StoreError: a range is empty, too long, or outside its shard.
    """
    shard, lengths = index.column("shard"), index.column("hr_length")
    sizes = np.array([file.size for file in index.shards])
    known = len(sizes) > 0 and shard.min() >= 0 and shard.max() < len(sizes)
    if not known:
        raise StoreError("it has scenes in shards that it does not name")
    lr_length = index.column("lr_length")
    longest = max(int(lengths.max()), int(lr_length.max()))
    if min(int(lengths.min()), int(lr_length.min())) < 1 or longest > codec.MAX_IMAGE_BYTES:
        raise StoreError(f"it has an image of other than 1 to {codec.MAX_IMAGE_BYTES} bytes")
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
