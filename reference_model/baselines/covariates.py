"""Something known of all ground in advance that tells where to look: night lights (IS-Count, 5.2.1).

The paper writes "natural-light sampling"; the work it cites samples in proportion to night lights.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import cos, radians
from pathlib import Path
from typing import Protocol

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio import Affine
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject
from torch import Tensor

from gl10m.resources import bundled
from gl10m.scene.class_map_file import read_class_map
from gl10m.scene.grid import GRID, TILES
from reference_model.scenes import Catalogue

CELLS = 5
"""Cells of the synthetic lights on a side of a scene: about those of VIIRS, 15 seconds of arc."""


class Covariate(Protocol):
    """A quantity that is known everywhere without buying an image."""

    def of_scene(self, bounds: tuple[float, float, float, float]) -> Tensor:
        """How much of it each tile holds.

        Args:
            bounds: west, south, east, north in degrees, EPSG:4326.

        Returns:
            float64 (100,), at least 0; tile = 10 * row + column, north-west first.
        """


def built_classes(names: Sequence[str]) -> frozenset[int]:
    """Ids of the classes that are built things by the class map of GL-10M: those that may shine at night."""
    _, concepts = read_class_map(bundled("class_maps", "gl10m-66.toml"))
    built = {one.name for one in concepts if one.kind == "built"}
    return frozenset(place for place, name in enumerate(names) if name in built)


class CovariateError(ValueError):
    """A covariate does not cover a scene, or cannot be read."""


@dataclass(frozen=True, slots=True)
class NightLights:
    """A GeoTIFF of radiance in any projection, as the annual composites of VIIRS."""

    path: Path

    def check(self) -> None:
        """Open the raster and look at its projection and its type, and no more.

        Raises:
            CovariateError: it cannot be read as a GeoTIFF of radiance.
        """
        with self._opened():
            pass

    @contextlib.contextmanager
    def _opened(self) -> Iterator[rasterio.DatasetReader]:
        """The raster; whatever GDAL says against it meanwhile, in our words."""
        try:
            # GeoTIFF alone: a VRT would lead to other files.
            with rasterio.open(self.path, driver="GTiff") as raster:
                if raster.crs is None or not (raster.crs.is_geographic or raster.crs.is_projected):
                    raise CovariateError(
                        f"night lights lie somewhere on the Earth; {self.path} has no coordinate reference "
                        "system that says where. Set it (`rio edit-info --crs`), or fetch it again."
                    )
                if raster.dtypes[0].startswith("complex"):
                    raise CovariateError(
                        f"night lights are radiance; {self.path} holds {raster.dtypes[0]}. Use another."
                    )
                yield raster
        except (RasterioError, CPLE_BaseError) as error:
            raise CovariateError(
                f"night lights are a GeoTIFF; {self.path} cannot be read as one ({error}). Fetch it again."
            ) from error

    def of_scene(self, bounds: tuple[float, float, float, float]) -> Tensor:
        """Radiance times area of each tile; see `Covariate.of_scene`.

        Negative radiance, which the composites have where nothing shines, counts as none.

        Raises:
            CovariateError: the raster lacks the scene, or cannot be read as a GeoTIFF.
        """
        west, south, east, north = bounds
        tiles = Affine((east - west) / GRID, 0, west, 0, (south - north) / GRID, north)
        radiance = np.full((GRID, GRID), np.nan)
        with self._opened() as raster:
            reproject(
                rasterio.band(raster, 1),
                radiance,
                dst_transform=tiles,
                dst_crs="EPSG:4326",
                dst_nodata=np.nan,
                resampling=Resampling.bilinear,
            )
        if missing := int((~np.isfinite(radiance)).sum()):
            raise CovariateError(
                f"night lights must cover every scene; {self.path} has no value for {missing} of {TILES} "
                f"tiles within {bounds}. Use a raster of all the ground."
            )
        area = cos(radians((south + north) / 2))
        return torch.from_numpy(radiance.clip(min=0).ravel() * area)


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticLights:
    """Lights of a world that has no night: what is built there shines, spread over coarse cells.

    The labels of the tiles play the lamps. So this stands for a sensor, not for something learned; a result
    that rests on it says so.
    """

    catalogue: Catalogue
    lit: frozenset[int]
    """Classes that shine."""

    seed: int = 0

    def of_scene(self, bounds: tuple[float, float, float, float]) -> Tensor:
        """See `Covariate.of_scene`.

        Raises:
            CovariateError: no scene of the world has these bounds.
        """
        found = np.flatnonzero((self.catalogue.bounds == np.array(bounds)).all(axis=1))
        if not len(found):
            raise CovariateError(f"no scene of this world lies within {bounds}.")
        row = int(found[0])
        lamps: NDArray[np.float64] = (
            self.catalogue.tile_labels[row][:, sorted(self.lit)].any(dim=1).double().numpy()
        )
        wide = GRID // CELLS
        cells = lamps.reshape(CELLS, wide, CELLS, wide).mean(axis=(1, 3))
        haze = np.random.default_rng([self.seed, row]).uniform(0, 0.05, cells.shape)
        return torch.from_numpy(np.kron(cells + haze, np.ones((wide, wide))).ravel())
