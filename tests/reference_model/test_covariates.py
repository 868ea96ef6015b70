"""Night lights out of a raster: which tile gets what, in which projection, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform_bounds

from reference_model.baselines.covariates import CovariateError, NightLights, SyntheticLights, built_classes
from reference_model.scenes import read_catalogue
from tests.reference_model.worlds import World

BOUNDS = (-120.0, 37.0, -119.976, 37.024)


def placed(bounds: tuple[float, float, float, float], width: int, height: int) -> rasterio.Affine:
    west, south, east, north = bounds
    return rasterio.Affine((east - west) / width, 0, west, 0, (south - north) / height, north)


def written(path: Path, radiance: NDArray[np.float32], bounds: tuple[float, float, float, float]) -> Path:
    height, width = radiance.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype="float32",
        crs="EPSG:4326",
        transform=placed(bounds, width, height),
    ) as raster:
        raster.write(radiance, 1)
    return path


def around(share: float) -> tuple[float, float, float, float]:
    west, south, east, north = BOUNDS
    reach = share * (east - west)
    return west - reach, south - reach, east + reach, north + reach


def test_the_lit_corner_is_the_lit_corner(tmp_path: Path) -> None:
    radiance = np.zeros((60, 60), dtype=np.float32)
    radiance[20:30, 20:30] = 7  # the north-western quarter of the scene in the middle
    weights = NightLights(written(tmp_path / "lights.tif", radiance, around(1.0))).of_scene(BOUNDS)
    grid = weights.view(10, 10)
    assert grid[1:4, 1:4].min() > 0.99 * grid.max() > 0
    assert grid[6:, :].max() == grid[:, 6:].max() == 0


def test_another_projection_tells_the_same(tmp_path: Path) -> None:
    row, column = np.mgrid[:80, :80]
    radiance = (row + 2 * column).astype(np.float32)
    plain = written(tmp_path / "plain.tif", radiance, around(1.0))
    with rasterio.open(plain) as source:
        bounds = transform_bounds(source.crs, "EPSG:3857", *source.bounds)
        width, height = 200, 240
        transform = placed(bounds, width, height)
        turned = np.full((height, width), np.nan, dtype=np.float32)
        reproject(
            rasterio.band(source, 1),
            turned,
            dst_transform=transform,
            dst_crs="EPSG:3857",
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
    with rasterio.open(
        tmp_path / "turned.tif",
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        dtype="float32",
        crs="EPSG:3857",
        transform=transform,
        nodata=np.nan,
    ) as raster:
        raster.write(turned, 1)
    one, other = (NightLights(tmp_path / f"{name}.tif").of_scene(BOUNDS) for name in ("plain", "turned"))
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.5)


def test_negative_radiance_is_none_and_area_shrinks_towards_the_pole(tmp_path: Path) -> None:
    dark = NightLights(written(tmp_path / "dark.tif", np.full((9, 9), -0.3, np.float32), around(1.0)))
    assert torch.equal(dark.of_scene(BOUNDS), torch.zeros(100, dtype=torch.float64))
    lit = NightLights(written(tmp_path / "lit.tif", np.full((9, 9), 1.0, np.float32), around(1.0)))
    assert float(lit.of_scene(BOUNDS).mean()) == pytest.approx(np.cos(np.radians(37.012)))


def test_a_scene_beyond_the_raster_is_told(tmp_path: Path) -> None:
    west, south, east, north = BOUNDS
    half = (west, south, (west + east) / 2, north)
    lights = NightLights(written(tmp_path / "half.tif", np.ones((40, 20), np.float32), half))
    with pytest.raises(CovariateError, match=r"must cover every scene; .*no value for \d+ of 100 tiles"):
        lights.of_scene(BOUNDS)


def test_a_world_shines_where_it_is_built_upon() -> None:
    catalogue = read_catalogue(World(4), ())
    assert built_classes(catalogue.class_names) == {0, 1, 2}
    lights = SyntheticLights(catalogue, built_classes(catalogue.class_names))
    for row in range(4):
        weights = lights.of_scene(tuple(catalogue.bounds[row].tolist()))
        built = catalogue.tile_labels[row][:, :3].any(dim=1)
        assert weights[built].mean() > 2 * weights[~built].mean()
        assert torch.equal(weights, lights.of_scene(tuple(catalogue.bounds[row].tolist())))
    with pytest.raises(CovariateError, match="no scene of this world"):
        lights.of_scene((-90.0, 37.0, -89.976, 37.024))


def test_a_raster_that_is_none_is_refused_before_any_scene_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "lights.tif").write_bytes(b"no raster")
    with pytest.raises(CovariateError, match="are a GeoTIFF"):
        NightLights(tmp_path / "lights.tif").check()
    NightLights(written(tmp_path / "good.tif", np.zeros((3, 3), np.float32), around(1.0))).check()


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ({"crs": None}, "no coordinate reference system"),
        ({"crs": 'LOCAL_CS["a room"]'}, "no coordinate reference system"),
        ({"dtype": "complex64"}, "holds complex64"),
    ],
)
def test_lights_that_lie_nowhere_or_are_no_radiance_are_refused_before_anything_is_trained(
    tmp_path: Path, profile: dict[str, object], told: str
) -> None:
    about = {"driver": "GTiff", "height": 60, "width": 60, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(
        tmp_path / "a.tif", "w", **about | profile, transform=placed(around(1.0), 60, 60)
    ) as raster:
        raster.write(np.ones((60, 60), raster.dtypes[0]), 1)
    lights = NightLights(tmp_path / "a.tif")
    for look in (lights.check, lambda: lights.of_scene(BOUNDS)):
        with pytest.raises(CovariateError, match=told):
            look()


def test_lights_without_end_are_no_lights(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", np.full((60, 60), np.inf, np.float32), around(1.0))
    with pytest.raises(CovariateError, match="no value for 100 of 100 tiles"):
        NightLights(path).of_scene(BOUNDS)
