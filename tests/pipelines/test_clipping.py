import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.clipping import areas_within
from tests.worlds import blobs

BOX = np.array([[-0.01, -0.01, 0.01, 0.01]])

corners = st.tuples(st.integers(-4, 4), st.integers(-4, 4))


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    (west, south), (wide, high) = draw(corners), draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    return west * 0.004, south * 0.004, (west + wide) * 0.004, (south + high) * 0.004


@given(st.lists(st.tuples(blobs(), boxes()), max_size=6))
def test_areas_are_those_of_an_intersection(
    pairs: list[tuple[shapely.Polygon, tuple[float, float, float, float]]],
) -> None:
    shapes = np.array([shape for shape, _ in pairs], dtype=object)
    bounds = np.array([box for _, box in pairs]).reshape(-1, 4)
    expected = shapely.area(shapely.intersection(shapes, shapely.box(*bounds.T)))
    assert areas_within(shapes, bounds) == pytest.approx(expected, abs=1e-15)
    assert areas_within(shapely.reverse(shapes), bounds) == pytest.approx(expected, abs=1e-15)


@given(blobs(), blobs(), boxes())
def test_holes_are_left_out(
    one: shapely.Polygon, other: shapely.Polygon, box: tuple[float, float, float, float]
) -> None:
    parts = shapely.get_parts(shapely.difference(one.buffer(0.003), other))
    polygons = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    expected = shapely.area(shapely.intersection(polygons, shapely.box(*box)))
    assert areas_within(polygons, np.tile(box, (len(polygons), 1))) == pytest.approx(expected, abs=1e-15)


def test_a_hole_of_either_direction() -> None:
    shell, hole = shapely.box(-0.02, -0.02, 0.02, 0.02), shapely.box(-0.005, -0.005, 0.02 - 1e-6, 0.005)
    for ring in (hole.exterior, hole.exterior.reverse()):
        polygon = shapely.Polygon(shell.exterior, [ring])
        assert areas_within(np.array([polygon]), BOX) == pytest.approx([4e-4 - 1.5e-4])


def test_a_polygon_around_beside_and_along_the_box() -> None:
    shapes = [
        shapely.box(-1, -1, 1, 1),
        shapely.box(0.01, -0.01, 0.02, 0.01),  # shares the east border
        shapely.box(-0.02, -0.02, 0.0, -0.01),  # shares the south border
        shapely.box(5, 5, 6, 6),
        shapely.box(-0.01, -0.01, 0.01, 0.01),
        shapely.Polygon([(-1, -1), (1, -1), (-1, 1)]),  # its slope runs through both corners
    ]
    found = areas_within(np.array(shapes), np.tile(BOX, (len(shapes), 1)))
    assert found == pytest.approx([4e-4, 0, 0, 0, 4e-4, 2e-4], abs=1e-18)


def test_nothing() -> None:
    assert areas_within(np.empty(0, object), np.empty((0, 4))).shape == (0,)
