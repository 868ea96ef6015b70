"""GeoTIFFs: headers and blocks in memory, and windows over HTTP by our own reader and by GDAL."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint
from pipelines.sources.blocks import DamagedBlockError, inflate
from pipelines.sources.byte_ranges import Version
from pipelines.sources.cog import NAIP_IMAGE
from pipelines.sources.cog_header import TAGS, ForeignRasterError, Header, read_header
from pipelines.sources.imagery import DamagedRasterError, SourceUnavailableError
from pipelines.sources.patience import Patience
from pipelines.sources.raster import Reader
from pipelines.sources.tiff import MalformedTiffError, read_directories
from tests.fuzz.changes import Chance, spoiled
from tests.fuzz.subject import Spoiled
from tests.pipelines.imagery_server import World, serving
from tests.pipelines.ruler import frame, write_tiff

PLACE = Footprint(-121.0, 37.0)
HASTY = Patience(
    attempts=2, connect_seconds=1, stall_seconds=2, wait_initial=0.01, jitter=0, circuit_failures=10**9
)


def quad(folder: Path) -> bytes:
    affine, height, width = frame(PLACE, 26910, 20.0)
    pixels = np.random.default_rng(3).integers(0, 9, (4, height, width), np.uint8)
    return write_tiff(folder / "quad.tif", pixels, 26910, affine, overviews=True)


def foreign(folder: Path, **options: Any) -> bytes:
    """The same quad in a form that GDAL reads."""
    affine, height, width = frame(PLACE, 26910, 20.0)
    pixels = np.random.default_rng(3).integers(0, 9, (3, height, width), np.uint8)
    path = folder / "foreign.tif"
    about = {"driver": "GTiff", "count": 3, "height": height, "width": width, "dtype": "uint8"}
    with rasterio.open(path, "w", crs="EPSG:26910", transform=affine, **about, **options) as raster:
        raster.write(pixels)
    return path.read_bytes()


def worse(content: bytes, chance: Chance) -> bytes:
    """Spoiled in the header more often than in the pixels, which are most of the file."""
    if chance.random() < 0.6:
        return spoiled(content[:1200], chance) + content[1200:]
    return spoiled(content, chance)


class Headers:
    name = "GeoTIFF headers and blocks"
    vouched = True
    errors: tuple[type[Exception], ...] = (MalformedTiffError, ForeignRasterError, DamagedBlockError)

    def prepare(self, folder: Path) -> None:
        self.whole = quad(folder)
        self.header = self._header(self.whole)
        self.blocks = self._blocks(self.header, self.whole)

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled("quad.tif", worse(self.whole, chance))

    def read(self, spoiled: Spoiled) -> bool:
        """Where the header is the same, the checksum of each block vouches for its pixels."""
        header = self._header(spoiled.content)
        blocks = self._blocks(header, spoiled.content)
        if repr(header) != repr(self.header):
            return True
        return all(np.array_equal(one, other) for one, other in zip(blocks, self.blocks, strict=True))

    @staticmethod
    def _header(content: bytes) -> Header:
        order, directories = read_directories(
            content[:64], lambda start, size: content[start : start + size], TAGS
        )
        return read_header(order, directories, Version(1 << 20, ""))

    @staticmethod
    def _blocks(header: Header, content: bytes) -> list[NDArray[Any]]:
        level = header.levels[-1]
        places = zip(level.offsets.ravel().tolist(), level.lengths.ravel().tolist(), strict=True)
        return [
            inflate(content[at : at + size], header.layout, level) for at, size in list(places)[:8] if size
        ]


class Windows:
    name = "GeoTIFF windows"
    vouched = False  # over http nothing vouches for a header
    errors: tuple[type[Exception], ...] = (DamagedRasterError, SourceUnavailableError)

    def prepare(self, folder: Path) -> None:
        self.world = World()
        self.running = serving(self.world)
        self.running.__enter__()
        self.seeds = self.made(folder)
        self.number = 0

    def made(self, folder: Path) -> list[bytes]:
        return [quad(folder)]

    def spoil(self, chance: Chance) -> Spoiled:
        return Spoiled("quad.tif", worse(chance.choice(self.seeds), chance))

    def read(self, spoiled: Spoiled) -> bool:
        self.number += 1
        name = f"{self.number}.tif"
        self.world.files[name] = spoiled.content
        try:
            patch = Reader(patience=HASTY).read(f"{self.world.url}/{name}", NAIP_IMAGE, PLACE)
        finally:
            del self.world.files[name]
        assert patch.pixels.shape[0] == 3
        return False

    def close(self) -> None:
        self.running.__exit__(None, None, None)


class GdalWindows(Windows):
    name = "GeoTIFF windows by GDAL"

    def made(self, folder: Path) -> list[bytes]:
        tiled = {"tiled": True, "blockxsize": 128, "blockysize": 128}
        forms: list[dict[str, Any]] = [
            {"compress": "LZW", **tiled},
            {"compress": "JPEG", "photometric": "YCBCR", **tiled},
            {"compress": "DEFLATE", "predictor": 2},
            {},
        ]
        return [foreign(folder, **form) for form in forms]
