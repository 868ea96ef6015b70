"""Images as they are encoded, for whoever passes them on undecoded. Every checksum is compared."""

import itertools
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import TILES
from gl10m.storage.client import ObjectNotFoundError
from gl10m.store.byte_source import ByteRange, ByteSource
from gl10m.store.layout import LENGTH_PREFIX
from gl10m.store.reader import REPLACED, DamagedImageError, RegionIndex, ShardNotFoundError
from gl10m.store.shard import REMEDY


class EncodedImages:
    """The JPEG bytes of one region's scenes."""

    def __init__(self, index: RegionIndex, source: ByteSource) -> None:
        self._index, self._source = index, source
        self._row = {name: row for row, name in enumerate(index.scene_ids)}
        self._columns = {
            name: index.column(name)
            for name in ("shard", "lr_offset", "lr_length", "hr_offset", "hr_length", "crc32")
        }

    def __contains__(self, scene_id: str) -> bool:
        return scene_id in self._row

    def shard(self, scene_id: str) -> str:
        """Name of the shard that a scene lies in."""
        return self._index.shards[int(self._columns["shard"][self._row[scene_id]])].name

    def ranges(self, scene_id: str) -> NDArray[np.int64]:
        """Where the images lie: shape (101, 2), first byte and length, the LR image and then each tile."""
        row, at = self._row[scene_id], self._columns
        lengths = at["hr_length"][row].astype(np.int64)
        starts = at["hr_offset"][row] + np.cumsum(lengths + LENGTH_PREFIX) - lengths - LENGTH_PREFIX
        tiles = np.stack([starts, lengths], axis=1)
        return np.concatenate([[[at["lr_offset"][row], at["lr_length"][row]]], tiles])

    def checksums(self, scene_id: str) -> list[int]:
        """CRC32 (zlib's) of the LR image and of each tile."""
        told: list[int] = self._columns["crc32"][self._row[scene_id]].tolist()
        return told

    def read(self, scene_id: str, tiles: Sequence[int]) -> tuple[bytes, list[bytes]]:
        """The LR image and tiles of a scene. No byte of another image is read.

        Args:
            scene_id: a scene of the region.
            tiles: numbers in 0..99.

        Returns:
            JPEG files: the LR image, and the tiles in the order asked for.

        Raises:
            ShardNotFoundError: the shard is missing.
            DamagedImageError: an image has not the checksum in the index.
        """
        places = self.ranges(scene_id)
        wanted = [0, *sorted({tile + 1 for tile in tiles})]
        found: dict[int, bytes] = {}
        runs = list(_runs(wanted))
        spans = [self._span(scene_id, places, first, last) for first, last in runs]
        for (first, last), content in zip(runs, self._read(spans), strict=True):
            for image in range(first, last + 1):
                start = int(places[image, 0] - places[first, 0])
                found[image] = content[start : start + int(places[image, 1])]
        self._check(scene_id, found)
        return found[0], [found[tile + 1] for tile in tiles]

    def _span(self, scene_id: str, places: NDArray[np.int64], first: int, last: int) -> ByteRange:
        return ByteRange(self.shard(scene_id), int(places[first, 0]), int(places[last].sum()))

    def _read(self, spans: list[ByteRange]) -> list[bytes]:
        try:
            return self._source.read(spans)
        except FileNotFoundError as error:
            remedy = REPLACED if isinstance(error, ObjectNotFoundError) else REMEDY
            raise ShardNotFoundError(f"the shard {spans[0].shard} is missing. {remedy}") from error

    def _check(self, scene_id: str, found: dict[int, bytes]) -> None:
        told = self._columns["crc32"][self._row[scene_id]]
        wrong = [image for image, content in found.items() if zlib.crc32(content) != told[image]]
        if wrong:
            image = "LR image" if not wrong[0] else f"HR tile {wrong[0] - 1}"
            raise DamagedImageError(
                f"the {image} of scene {scene_id} in {self.shard(scene_id)} has not the checksum in the "
                f"index. `gl10m verify --deep` tells what else is wrong; {REMEDY[0].lower()}{REMEDY[1:]}"
            )


def _runs(images: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of the images that lie one behind the other; the LR image lies by itself."""
    start = images[0]
    for image, after in itertools.pairwise([*images, TILES + 2]):
        if after != image + 1 or image == 0:
            yield start, image
            start = after
