import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gl10m.scene.footprint import FOOTPRINT_DEGREES, Footprint
from gl10m.scene.grid import tile_bounds
from pipelines.stages.footprints import squares
from pipelines.stages.ground import subdivided
from pipelines.stages.overlay import Overlay, tile_edges
from tests.worlds import blobs, footprints

CLASSES = 3
HALF = FOOTPRINT_DEGREES / 2


def membership(*classes: int) -> NDArray[np.bool_]:
    return np.eye(CLASSES, dtype=np.bool_)[list(classes)]


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[shapely.Polygon], NDArray[np.bool_]]:
    shapes = draw(st.lists(blobs(), min_size=1, max_size=6))
    rows = [draw(st.sets(st.integers(0, CLASSES - 1), min_size=1)) for _ in shapes]
    return shapes, np.array([[number in row for number in range(CLASSES)] for row in rows])


@given(mixtures())
def test_labels_agree_with_brute_force(mixture: tuple[list[shapely.Polygon], NDArray[np.bool_]]) -> None:
    shapes, members = mixture
    footprint = Footprint(0.0, 0.0)
    labels = Overlay(np.array(shapes), members).labels(np.array([footprint.bounds]))
    whole = shapely.box(*footprint.bounds)
    everything = shapely.union_all(shapes).intersection(whole).area / whole.area
    assert labels.labelled[0] == pytest.approx(everything, abs=1e-9)
    for number in range(CLASSES):
        ground = shapely.union_all([s for s, row in zip(shapes, members, strict=True) if row[number]])
        assert labels.shares[0, number] == pytest.approx(
            ground.intersection(whole).area / whole.area, abs=1e-9
        )
        tiles = [shapely.box(*bounds) for bounds in tile_bounds(footprint)]
        overlaps = np.array([ground.intersection(tile).area for tile in tiles])
        found = labels.tiles[0, :, number]
        assert found[overlaps > 1e-12].all()
        assert not found[overlaps == 0].any()


@given(mixtures(), st.data())
def test_the_order_of_the_polygons_does_not_matter(
    mixture: tuple[list[shapely.Polygon], NDArray[np.bool_]], data: st.DataObject
) -> None:
    shapes, members = mixture
    order = data.draw(st.permutations(range(len(shapes))))
    bounds = squares(np.array([0.0, 0.01]), np.array([0.0, -0.02]), HALF)
    one = Overlay(np.array(shapes), members).labels(bounds)
    other = Overlay(np.array(shapes)[order], members[order]).labels(bounds)
    assert (one.tiles == other.tiles).all()
    assert one.shares == pytest.approx(other.shares, abs=1e-12)


def test_to_touch_a_tile_is_not_to_lie_in_it() -> None:
    footprint = Footprint(0.0, 0.0)
    tile = tile_bounds(footprint)[44]
    labels = Overlay(np.array([shapely.box(*tile)]), membership(1)).labels(np.array([footprint.bounds]))
    assert np.argwhere(labels.tiles[0]).tolist() == [[44, 1]]
    assert labels.shares[0].tolist() == pytest.approx([0, 0.01, 0])


def test_a_polygon_outside_or_beside_the_footprint_gives_no_label() -> None:
    west, south, east, north = Footprint(0.0, 0.0).bounds
    beside = [shapely.box(east, south, east + 1, north), shapely.box(5, 5, 6, 6)]
    labels = Overlay(np.array(beside), membership(0, 1)).labels(np.array([[west, south, east, north]]))
    assert not labels.tiles.any()
    assert labels.labelled.tolist() == [0.0]


def test_overlaps_of_a_class_count_once() -> None:
    whole = shapely.box(*Footprint(0.0, 0.0).bounds)
    shapes = np.array([whole, whole.buffer(0.01), shapely.box(-1, -1, 0, 1)])
    labels = Overlay(shapes, membership(0, 0, 1)).labels(np.array([whole.bounds]))
    assert labels.shares[0].tolist() == pytest.approx([1, 0.5, 0])
    assert labels.labelled.tolist() == [1.0]
    assert labels.tiles[0, :, 0].all()


@given(st.lists(footprints(), min_size=1, max_size=4))
def test_edges_and_squares_are_those_of_the_footprint_bit_for_bit(many: list[Footprint]) -> None:
    places = np.array([(one.longitude, one.latitude) for one in many])
    bounds = squares(places[:, 0], places[:, 1], HALF)
    assert bounds.tolist() == [list(one.bounds) for one in many]
    longitudes, latitudes = tile_edges(bounds)
    for row, one in enumerate(many):
        east, south = one.edges(10)
        assert longitudes[row].tolist() == east.tolist()
        assert latitudes[row].tolist() == south.tolist()


def test_a_large_polygon_is_cut_into_small_parts() -> None:
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 1 + 0.2 * np.sin(40 * angle)
    shore = shapely.Polygon(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
    lake = shore - shapely.Point(0.1, 0.1).buffer(0.4, quad_segs=500)
    parts, owner = subdivided(np.array([shapely.box(5, 5, 6, 6), lake]))
    assert owner.tolist() == [0] + [1] * (len(parts) - 1)
    assert (shapely.get_num_coordinates(parts) <= 1024).all()
    assert shapely.is_valid(parts).all()
    assert shapely.area(parts[1:]).sum() == pytest.approx(lake.area, rel=1e-12)
    assert shapely.union_all(parts[1:]).symmetric_difference(lake).area < 1e-12


def test_a_large_polygon_labels_as_if_it_were_whole() -> None:
    angle = np.linspace(0, 2 * np.pi, 3_000, endpoint=False)
    lake = shapely.Polygon(np.stack([0.05 * np.cos(angle), 0.05 * np.sin(angle)], axis=1))
    bounds = squares(np.array([0.0, 0.05, 0.035]), np.array([0.0, 0.0, 0.035]), HALF)
    labels = Overlay(np.array([lake]), membership(2)).labels(bounds)
    boxes = shapely.box(*bounds.T)
    assert labels.shares[:, 2] == pytest.approx(
        shapely.area(shapely.intersection(lake, boxes)) / shapely.area(boxes)
    )
    for row in range(3):
        tiles = shapely.box(*tile_bounds(Footprint(*((bounds[row, :2] + bounds[row, 2:]) / 2))).T)
        assert (
            labels.tiles[row, :, 2].tolist() == (shapely.area(shapely.intersection(lake, tiles)) > 0).tolist()
        )
