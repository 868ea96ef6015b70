"""Reads single images by the byte ranges of the index, and nothing else."""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Final, Self, SupportsIndex

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from gl10m.scene.grid import TILES
from gl10m.scene.tile_labels import unpack_tile_labels
from gl10m.storage.client import ObjectNotFoundError
from gl10m.storage.place import Place
from gl10m.store import codec
from gl10m.store.byte_source import ByteRange, ByteSource, byte_source, joined
from gl10m.store.layout import LENGTH_PREFIX, SHARDS, ShardName, StoreError, index_path
from gl10m.store.region_index import INDEX_REMEDY, RegionIndex, open_index, regions_of
from gl10m.store.shard import REMEDY, column

EVERY_IMAGE: Final = (None, *range(TILES))
"""The LR image and the 100 tiles, as `RegionReader.encoded` takes them."""

REPLACED = "A later build has replaced it, or it was deleted. Open the data set anew."
"""What to do about an object that is no longer there."""

_PREFIXES = LENGTH_PREFIX * np.arange(TILES, dtype=np.int64)
"""Bytes of lengths that stand between tile 0 and each tile."""

_OTHER_CHECKSUM = "its checksum is not the one in the index"


class ShardNotFoundError(FileNotFoundError):
    """A shard that the index names is not there."""


class DamagedImageError(StoreError):
    """An image's bytes are not those that were written."""


class SceneNotFoundError(KeyError):
    """The data set holds no such scene."""

    def __str__(self) -> str:
        """The message without the quotes that KeyError adds."""
        return str(self.args[0])


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
        self._names = column(index.rows, "scene_id")

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
        self.decode(row, [None], [content], [pixels])

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
        self.decode(row, wanted, read_images(self.source, self.tile_ranges(row, wanted)), pixels)

    def scene_id(self, row: int) -> str:
        """Stable name of a scene: CA-w123."""
        return str(self._names[row].as_py())

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
        lengths = self._hr_length[row]
        before = int(self._hr_offset[row])
        ends = lengths.cumsum(dtype=np.int64) + (_PREFIXES + before)
        length, last = lengths.tolist(), ends.tolist()
        shard = self._shard_names[self._shard[row]]
        return [ByteRange(shard, last[tile] - length[tile], last[tile]) for tile in tiles]

    def check(self, row: int, images: Sequence[int | None], contents: Sequence[memoryview]) -> None:
        """Compare encoded images of a scene with their checksums, where the reader verifies.

        Args:
            row: row of the scene in the index.
            images: numbers of tiles, 0..99; None for the LR image.
            contents: their bytes.

        Raises:
            DamagedImageError: they are not those that were written.
        """
        if self._verify:
            self._compare(row, images, contents)

    def decode(
        self,
        row: int,
        images: Sequence[int | None],
        contents: Sequence[memoryview],
        pixels: Iterable[NDArray[np.uint8]],
    ) -> None:
        """Check and decode images of a scene.

        Args:
            row: row of the scene in the index.
            images: numbers of tiles, 0..99; None for the LR image.
            contents: their bytes.
            pixels: one of shape (268, 268, 3) for each, uint8, C-contiguous; overwritten, north-west first.

        Raises:
            DamagedImageError: bytes are not those that were written, or no image.
        """
        written = self._crc32[row].tolist() if self._verify else None
        for image, content, target in zip(images, contents, pixels, strict=True):
            # One after the other: what the checksum has read the decoder finds in the processor's cache.
            if written and isal_zlib.crc32(content) != written[_place(image)]:
                raise self._damaged(row, image, _OTHER_CHECKSUM)
            try:
                codec.decode_into(content, target)
            except codec.ImageError as error:
                raise self._damaged(row, image, error) from error

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
        self._compare(row, images, contents)
        return [bytes(content) for content in contents]

    def encoded_sizes(self, row: int) -> tuple[int, list[int]]:
        """Bytes of the LR image and of each of the 100 tiles. No image is read."""
        return int(self._lr_length[row]), [int(length) for length in self._hr_length[row]]

    def tile_labels(self, row: int) -> NDArray[np.bool_]:
        """Which classes meet which tile: shape (100, N).

        Raises:
            StoreError: the index tells of another number of classes.
        """
        packed = self.index.rows["tile_labels"][row].as_py()
        try:
            return unpack_tile_labels(packed or b"", len(self.index.class_names))
        except ValueError as error:
            scene = self.index.rows["scene_id"][row]
            raise StoreError(f"{self.index.path.name}, scene {scene}: {error}. {INDEX_REMEDY}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        # The columns of the index are mapped anew by whoever unpickles.
        return functools.partial(RegionReader, verify=self._verify), (self.index, self.source)

    def checksums(self, row: int) -> NDArray[np.uint32]:
        """CRC-32 of a scene's encoded LR image, then of each of its tiles, as the index has them: (101,)."""
        return np.asarray(self._crc32[row], np.uint32)

    def _compare(self, row: int, images: Sequence[int | None], contents: Sequence[memoryview]) -> None:
        written = self._crc32[row].tolist()
        for image, content in zip(images, contents, strict=True):
            if isal_zlib.crc32(content) != written[_place(image)]:
                raise self._damaged(row, image, _OTHER_CHECKSUM)

    def _damaged(self, row: int, tile: int | None, fault: object) -> DamagedImageError:
        image = "LR image" if tile is None else f"HR tile {tile}"
        return DamagedImageError(
            f"the {image} of scene {self.scene_id(row)} in "
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
        TypeError: one is no integer; True and False are none.
        IndexError: one is not in 0..99.
    """
    numbers = [_integer(tile) for tile in tiles]
    wrong = [number for number in numbers if not 0 <= number < TILES]
    if wrong:
        raise IndexError(f"a scene has tiles 0..{TILES - 1}; asked for {', '.join(map(str, wrong))}")
    return numbers


def _integer(tile: SupportsIndex) -> int:
    if isinstance(tile, bool):
        raise TypeError(f"{tile} is no number of a tile")
    return operator.index(tile)


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


def _place(image: int | None) -> int:
    """Place of an image's checksum in the index."""
    return 0 if image is None else image + 1


def _missing(shard: str) -> str:
    index = f"{ShardName.parse(shard).region}.arrow"
    return f"the shard {shard}, which the index {index} names, is missing from {SHARDS}/"
