"""Areas that rectangles share with polygons, against GEOS."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages import shared_ground
from pipelines.stages.shared_ground import Edges, shared_areas
from tests.worlds import blobs

RECTANGLE = shapely.box(-0.01, -0.012, 0.014, 0.012)
PLACES = st.floats(-0.03, 0.03).map(lambda place: round(place, 3))


def shared(rectangle: shapely.Geometry, *polygons: shapely.Geometry) -> list[float]:
    bounds = np.repeat(shapely.bounds([rectangle]), len(polygons), axis=0)
    areas = shared_areas(bounds, Edges.of(np.array(polygons)), np.arange(len(polygons)))
    return [float(area) for area in areas]


def expected(rectangle: shapely.Geometry, *polygons: shapely.Geometry) -> list[float]:
    return [float(shapely.area(shapely.intersection(rectangle, polygon))) for polygon in polygons]


@given(blobs(), blobs(), PLACES, PLACES)
def test_any_polygon(one: shapely.Polygon, other: shapely.Polygon, east: float, north: float) -> None:
    """Concave ones, ones with holes, several parts; rings that run either way, far from longitude 0."""
    polygons = [one, shapely.reverse(one), shapely.difference(one, other), shapely.union(one, other)]
    polygons = [polygon for polygon in polygons if not polygon.is_empty]
    rectangle = shapely.box(east, north, east + 0.024, north + 0.024)
    area = rectangle.area
    assert shared(rectangle, *polygons) == pytest.approx(expected(rectangle, *polygons), abs=1e-12 * area)
    moved = [
        shapely.transform(shape, lambda ring: ring + np.array([-121.5, 38.5]))
        for shape in (rectangle, *polygons)
    ]
    assert shared(*moved) == pytest.approx(expected(*moved), abs=1e-9 * area)


def test_ground_that_is_covered_touched_or_elsewhere() -> None:
    west, south, east, north = RECTANGLE.bounds
    covering = shapely.box(west - 1, south - 1, east + 1, north + 1)
    touching, apart = shapely.box(east, south, east + 1, north), shapely.box(1, 1, 2, 2)
    assert shared(RECTANGLE, covering, RECTANGLE) == pytest.approx([RECTANGLE.area] * 2, rel=1e-14)
    assert shared(RECTANGLE, touching, apart) == pytest.approx([0, 0], abs=1e-18)
    assert shared(RECTANGLE) == []


def test_many_pairs_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    polygons = [shapely.box(step / 1000, 0, 1, 1) for step in range(20)]
    whole = shared(RECTANGLE, *polygons)
    monkeypatch.setattr(shared_ground, "MOST_EDGES", 7)
    assert shared(RECTANGLE, *polygons) == whole
