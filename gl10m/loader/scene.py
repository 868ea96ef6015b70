"""One scene whose images are read when asked for, and many scenes whose images are read together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gl10m.loader import buffers
from gl10m.loader.choice import Numbers, numbers_of
from gl10m.store.reader import RegionReader, read_images


class Scene:
    """One scene. Nothing is read until it is asked for."""

    __slots__ = ("_row", "index", "reader")

    def __init__(self, reader: RegionReader, row: int, index: int) -> None:
        self.reader, self._row = reader, row
        self.index = index
        """Place in the data set."""

    @property
    def row(self) -> int:
        """Row in the index of its region."""
        return self._row

    @property
    def scene_id(self) -> str:
        """Stable name: CA-w123."""
        return self.reader.scene_id(self._row)

    @property
    def state(self) -> str:
        """Region code: CA."""
        return self.reader.index.region

    @property
    def label(self) -> Tensor:
        """Bool (N,): which classes are in the footprint, by class id."""
        return torch.from_numpy(self.reader.label(self._row))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, degrees, EPSG:4326."""
        return self.reader.bounds(self._row)

    def lr(self) -> Tensor:
        """The LR image: uint8 (3, 268, 268), north-west first.

        Raises:
            FileNotFoundError: the shard is missing.
            StoreError: the shard or the image is damaged.
        """
        return decode(fetch([self], [[]]))[0][0]

    def hr(self, tiles: Numbers) -> Tensor:
        """HR tiles: uint8 (len(tiles), 3, 268, 268), in the order asked for; no other tile is read.

        Args:
            tiles: numbers in 0..99, tile = 10 * row + column, north-west first; or bool (100,).

        Raises:
            TileChoiceError: these are no tiles, or one is named twice.
            IndexError: there is no such tile.
            FileNotFoundError: the shard is missing.
            StoreError: the shard or a tile is damaged.
        """
        return decode(fetch([self], [numbers_of(tiles)], lr=False))[1]

    def tile_labels(self) -> Tensor:
        """Bool (100, N): which classes meet which tile. No image is read."""
        return torch.from_numpy(self.reader.tile_labels(self._row))


@dataclass(frozen=True, slots=True)
class Encoded:
    """Images of some scenes, read and not yet decoded."""

    scenes: Sequence[Scene]
    tiles: Sequence[list[int]]
    """Numbers of the tiles of each scene."""
    lr: Sequence[memoryview]
    """LR images, one a scene; none where they were not asked for."""
    hr: Sequence[memoryview]
    """The tiles of the first scene, then those of the second."""

    def check(self) -> None:
        """Compare all images with their checksums, where the data set verifies.

        Raises:
            DamagedImageError: an image is not as it was written.
        """
        for scene, content in zip(self.scenes, self.lr, strict=False):
            scene.reader.check(scene.row, [None], [content])
        first = 0
        for scene, tiles in zip(self.scenes, self.tiles, strict=True):
            scene.reader.check(scene.row, tiles, self.hr[first : first + len(tiles)])
            first += len(tiles)


def fetch(scenes: Sequence[Scene], tiles: Sequence[list[int]], *, lr: bool = True) -> Encoded:
    """Read images of scenes of one data set with one call to their source.

    Args:
        scenes: of one data set.
        tiles: numbers of the tiles of each scene, each in 0..99.
        lr: whether the LR images are wanted too.

    Raises:
        FileNotFoundError: a shard is missing.
        StoreError: a shard is damaged.
    """
    ranges = [scene.reader.lr_range(scene.row) for scene in scenes] if lr else []
    first = len(ranges)
    for scene, numbers in zip(scenes, tiles, strict=True):
        if numbers:
            ranges += scene.reader.tile_ranges(scene.row, numbers)
    contents = read_images(scenes[0].reader.source, ranges) if ranges else []
    return Encoded(scenes, tiles, contents[:first], contents[first:])


def decode(encoded: Encoded) -> tuple[Tensor, Tensor]:
    """Decode what was fetched into memory that is used again.

    Returns:
        LR images, uint8 (B, 3, 268, 268), and HR tiles, uint8 (sum of n, 3, 268, 268).

    Raises:
        StoreError: an image is damaged.
    """
    images, tiles = buffers.take(len(encoded.lr)), buffers.take(len(encoded.hr))
    for scene, content, target in zip(encoded.scenes, encoded.lr, images, strict=False):
        scene.reader.decode(scene.row, [None], [content], [target])
    first = 0
    for scene, numbers in zip(encoded.scenes, encoded.tiles, strict=True):
        own = slice(first, first + len(numbers))
        scene.reader.decode(scene.row, numbers, encoded.hr[own], tiles[own])
        first = own.stop
    return buffers.as_tensor(images), buffers.as_tensor(tiles)
