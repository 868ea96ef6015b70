"""The compiled kernels against plain NumPy and against GDAL."""

import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject

from gl10m.scene.footprint import Footprint
from pipelines.sources.lattice import DEGREES, Frame, Lattice
from pipelines.sources.patch import Patch
from pipelines.sources.resample import NODE_STEP, POSITIONS, kernel_steps, resample_bytes, weights
from pipelines.sources.warp import nodes, warp_bytes, warp_classes, warp_reflectance
from tests.pipelines.ruler import Array

SIDE = 134

STEPS = st.floats(0.9, 1.1).flatmap(
    lambda about: st.sampled_from([(0.8 * about, 0.9 * about), (1.34 * about, 1.66 * about), (2.5, 3.3)])
)
"""Output pixels in pixels of the source: NAIP of 1 m, of 0.6 m, of 0.3 m without overviews."""


def straight(step: tuple[float, float], turn: float, start: float = 20.3) -> tuple[Array, Array]:
    """Nodes of a grid that is turned a little against the source."""
    centres = np.arange(SIDE // NODE_STEP + 1) * NODE_STEP + 0.5
    across, down = np.meshgrid(centres, centres)
    return start + step[0] * across + turn * down, start + step[1] * down - turn * across


def exactly(
    pixels: Array, grid: tuple[Array, Array], step: tuple[float, float], place: tuple[int, int]
) -> Array:
    """One output pixel in floats."""
    (xs, ys), (i, j) = grid, (place[0] / NODE_STEP, place[1] / NODE_STEP)
    x = xs[0, 0] + (xs[0, 1] - xs[0, 0]) * j + (xs[1, 0] - xs[0, 0]) * i - 0.5
    y = ys[0, 0] + (ys[0, 1] - ys[0, 0]) * j + (ys[1, 0] - ys[0, 0]) * i - 0.5
    wide, high = kernel_steps(step)
    down = np.maximum(0, 1 - np.abs(np.arange(pixels.shape[0]) - y) / high)
    across = np.maximum(0, 1 - np.abs(np.arange(pixels.shape[1]) - x) / wide)
    total = np.einsum("i,j,ijb->b", down, across, pixels[..., :3].astype(float))
    return np.asarray(total / (down.sum() * across.sum()))


@settings(deadline=None, max_examples=25)
@given(STEPS, st.floats(-0.06, 0.06), st.integers(0, 2**32 - 1))
def test_bytes_are_those_of_exact_arithmetic(step: tuple[float, float], turn: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (540, 540, 4), np.uint8)
    xs, ys = straight(step, turn)
    shown, reached = resample_bytes(pixels, np.ones((540, 540), np.bool_), (xs, ys), step, SIDE)
    assert reached.all()
    for row, column in rng.integers(0, SIDE, (40, 2)):
        exact = exactly(pixels, (xs, ys), step, (row, column))
        # White noise of 74 levels of deviation: half a level of rounding and 1/512 of a pixel of place.
        assert np.abs(shown[:, row, column] - exact).max() < 1.5


@given(st.floats(0.1, 5), st.sampled_from([8, 13]))
def test_weights_add_up(step: float, bits: int) -> None:
    table = weights(step, bits)
    assert (table.sum(axis=1) == 2**bits).all()
    assert table.shape[0] == POSITIONS
    assert table.shape[1] % 2 == 0


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_an_even_image_stays_even(level: int) -> None:
    pixels = np.full((300, 300, 4), level, np.uint8)
    shown, _ = resample_bytes(
        pixels, np.ones((300, 300), np.bool_), straight((1.34, 1.66), 0.03), (1.34, 1.66), SIDE
    )
    assert (shown == level).all()


def test_a_pixel_without_data_is_kept_out_with_all_it_touches() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 256, (300, 300, 4), np.uint8)
    valid = np.ones((300, 300), np.bool_)
    valid[100:103, 150] = False
    grid = straight((1.34, 1.66), 0.03)
    whole, _ = resample_bytes(pixels, np.ones_like(valid), grid, (1.34, 1.66), SIDE)
    shown, reached = resample_bytes(pixels, valid, grid, (1.34, 1.66), SIDE)
    pixels[~valid] = 0
    other, _ = resample_bytes(pixels, valid, grid, (1.34, 1.66), SIDE)
    assert 0 < (~reached).sum() < 20
    assert (shown[:, ~reached] == 0).all()
    assert np.array_equal(shown[:, reached], whole[:, reached])
    assert np.array_equal(shown, other)  # whatever stands where there is no data


def test_beyond_the_source_nothing_is_reached() -> None:
    pixels = np.full((100, 100, 4), 9, np.uint8)
    shown, reached = resample_bytes(
        pixels, np.ones((100, 100), np.bool_), straight((1.0, 1.0), 0.0), (1.0, 1.0), SIDE
    )
    assert reached[:79, :79].all()
    assert not reached[80:].any()
    assert not reached[:, 80:].any()
    assert (shown[:, reached] == 9).all()


PLACE = Footprint(-98.1, 29.3)
FRAME = Frame.under(PLACE, Lattice("EPSG:26914", 500_003.0, 3_300_000.0, 10.0, 10.0), 268)


def gdal(source: Array, resampling: Resampling, **options: float) -> Array:
    shown = np.full((len(source), 268, 268), options.get("dst_nodata", 0), source.dtype)
    place = {"src_transform": FRAME.affine(), "src_crs": FRAME.lattice.crs}
    image = {"dst_transform": rasterio.Affine(*PLACE.affine(268)), "dst_crs": DEGREES}
    reproject(source, shown, **place, **image, resampling=resampling, **options)
    return shown


def test_reflectance_is_gdals_and_no_data_stays_out() -> None:
    rng = np.random.default_rng(3)
    source = rng.random((3, *FRAME.shape), np.float32)
    valid = rng.random(FRAME.shape) < 0.8
    shown, observed = warp_reflectance(source, valid, FRAME, PLACE, 268)
    holes = np.where(valid, source, np.float32(np.nan))
    theirs = gdal(holes, Resampling.bilinear, src_nodata=np.nan, dst_nodata=np.nan)
    nearest = gdal(valid[None].astype(np.uint8), Resampling.nearest)[0] > 0
    assert (observed != nearest).mean() < 0.01  # a pixel's border, taken the other way
    both = observed & nearest & np.isfinite(theirs).all(axis=0)
    assert np.abs(shown - theirs)[:, both].mean() < 0.01
    assert (shown[:, ~observed] == 0).all()


def test_classes_are_those_of_the_nearest_pixel() -> None:
    classes = np.random.default_rng(4).integers(0, 12, FRAME.shape).astype(np.uint8)
    shown = warp_classes(Patch(FRAME, classes[None], np.ones(FRAME.shape, np.bool_)), PLACE, 268)
    assert (shown != gdal(classes[None], Resampling.nearest)[0]).mean() < 0.01


def test_positions_between_the_nodes_are_straight_enough() -> None:
    fine = Frame.under(PLACE, Lattice("EPSG:26914", 500_003.0, 3_300_000.0, 0.6, 0.6), 2680)
    xs, ys = nodes(fine, PLACE, 2680)
    for grid in (xs, ys):
        middle = (grid[:-2:2, :-2:2] + grid[2::2, 2::2] + grid[:-2:2, 2::2] + grid[2::2, :-2:2]) / 4
        assert np.abs(middle - grid[1::2, 1::2]).max() < 0.002  # over twice the distance


DIGEST = """
import hashlib, numpy as np
from pipelines.sources.warp import warp_bytes
from tests.pipelines.test_resample import FRAME, PLACE
pixels = np.random.default_rng(5).integers(0, 256, (*FRAME.shape, 4), np.uint8)
shown, _ = warp_bytes(pixels, np.ones(FRAME.shape, np.bool_), FRAME, PLACE, 268)
print(hashlib.sha256(shown.tobytes()).hexdigest())
"""


def test_a_plain_machine_gives_the_same_bytes() -> None:
    found = set()
    for machine in ({}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+sse2"}):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, **machine},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1


def test_the_fourth_band_means_nothing() -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (*FRAME.shape, 4), np.uint8)
    valid = np.ones(FRAME.shape, np.bool_)
    shown, _ = warp_bytes(pixels, valid, FRAME, PLACE, 268)
    pixels[..., 3] = 0
    assert np.array_equal(warp_bytes(pixels, valid, FRAME, PLACE, 268)[0], shown)
