"""Images as they are encoded, for whoever passes them on undecoded. Every checksum is compared."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import TILES
from gl10m.store.byte_source import ByteSource
from gl10m.store.reader import RegionReader
from gl10m.store.region_index import RegionIndex


class EncodedImages:
    """The JPEG bytes of one region's scenes."""

    def __init__(self, index: RegionIndex, source: ByteSource) -> None:
        self._index, self._reader = index, RegionReader(index, source, verify=True)
        self._row = {name: row for row, name in enumerate(index.scene_ids)}

    def __contains__(self, scene_id: str) -> bool:
        return scene_id in self._row

    def shard(self, scene_id: str) -> str:
        """Name of the shard that a scene lies in."""
        return self._reader.lr_range(self._row[scene_id]).shard

    def ranges(self, scene_id: str) -> NDArray[np.int64]:
        """Where the images lie: shape (101, 2), first byte and length, the LR image and then each tile."""
        row = self._row[scene_id]
        places = [self._reader.lr_range(row), *self._reader.tile_ranges(row, range(TILES))]
        return np.array([[place.start, place.end - place.start] for place in places], np.int64)

    def checksums(self, scene_id: str) -> list[int]:
        """CRC32 (zlib's) of the LR image and of each tile."""
        told: list[int] = self._index.column("crc32")[self._row[scene_id]].tolist()
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
        overview, *rest = self._reader.encoded(self._row[scene_id], [None, *tiles])
        return overview, rest
