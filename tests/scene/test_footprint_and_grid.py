import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gl10m.scene.footprint import FOOTPRINT_DEGREES, HR_PIXELS, LR_PIXELS, Footprint
from gl10m.scene.grid import TILES, cut, join, row_and_column, tile_at, tile_bounds
from tests.worlds import footprints


def test_the_numbers_of_the_paper() -> None:
    assert pytest.approx(0.024) == FOOTPRINT_DEGREES
    assert (LR_PIXELS, HR_PIXELS, TILES) == (268, 2680, 100)


@given(footprints())
def test_tiles_tessellate_the_footprint(footprint: Footprint) -> None:
    west, south, east, north = footprint.bounds
    tiles = tile_bounds(footprint).reshape(10, 10, 4)
    assert (tiles[:, 0, 0] == west).all()
    assert (tiles[:, -1, 2] == east).all()
    assert (tiles[0, :, 3] == north).all()
    assert (tiles[-1, :, 1] == south).all()
    assert (tiles[:, 1:, 0] == tiles[:, :-1, 2]).all()  # neighbours share an edge bit for bit
    assert (tiles[1:, :, 3] == tiles[:-1, :, 1]).all()
    assert (tiles[..., 2] > tiles[..., 0]).all()
    assert (tiles[..., 3] > tiles[..., 1]).all()


@given(footprints())
def test_the_union_of_the_tiles_is_the_footprint(footprint: Footprint) -> None:
    whole = shapely.box(*footprint.bounds)
    together = shapely.coverage_union_all(shapely.box(*tile_bounds(footprint).T))
    assert together.symmetric_difference(whole).area == 0


def test_the_first_tile_is_in_the_north_west() -> None:
    footprint = Footprint(-100.0, 40.0)
    west, south, east, north = footprint.bounds
    tiles = tile_bounds(footprint)
    assert (tiles[0, 0], tiles[0, 3]) == (west, north)
    assert (tiles[9, 2], tiles[9, 3]) == (east, north)
    assert (tiles[90, 0], tiles[90, 1]) == (west, south)


@given(footprints(), st.sampled_from([LR_PIXELS, HR_PIXELS]))
def test_the_affine_maps_corners_to_corners(footprint: Footprint, pixels: int) -> None:
    a, b, c, d, e, f = footprint.affine(pixels)
    west, south, east, north = footprint.bounds
    assert (c, f) == (west, north)
    assert a * pixels + b * pixels + c == pytest.approx(east, abs=1e-12)
    assert d * pixels + e * pixels + f == pytest.approx(south, abs=1e-12)


@pytest.mark.parametrize(
    ("longitude", "latitude"), [(180, 0), (-179.999, 10), (0, 85.1), (0, -90), (math.nan, 0), (0, math.inf)]
)
def test_no_footprint_stands_off_the_map(longitude: float, latitude: float) -> None:
    with pytest.raises(ValueError, match="a footprint must lie within"):
        Footprint(longitude, latitude)


@given(st.integers(0, 99))
def test_rows_and_columns_name_a_tile(tile: int) -> None:
    row, column = row_and_column(tile)
    assert tile_at(row, column) == tile == 10 * row + column


@pytest.mark.parametrize("tile", [-1, 100])
def test_there_are_no_other_tiles(tile: int) -> None:
    with pytest.raises(IndexError, match=r"tiles 0\.\.99"):
        row_and_column(tile)
    with pytest.raises(IndexError, match=r"0\.\.9"):
        tile_at(0, tile)


@given(st.integers(1, 4), st.integers(1, 3))
def test_a_mosaic_is_cut_and_joined(side: int, bands: int) -> None:
    mosaic = np.arange(bands * 100 * side * side).reshape(bands, 10 * side, 10 * side)
    tiles = cut(mosaic)
    assert tiles.shape == (100, bands, side, side)
    assert (tiles[23] == mosaic[:, 2 * side : 3 * side, 3 * side : 4 * side]).all()
    assert (join(tiles) == mosaic).all()


def test_only_whole_mosaics_are_cut_and_joined() -> None:
    with pytest.raises(ValueError, match="got 20 x 30"):
        cut(np.zeros((3, 20, 30)))
    with pytest.raises(ValueError, match="got 99"):
        join(np.zeros((99, 3, 2, 2)))
