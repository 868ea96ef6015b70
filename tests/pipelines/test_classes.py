from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.schema import LABELLED_POLYGONS, POLYGONS
from gl10m.scene.class_map import ClassMap
from pipelines.stages.classes import map_classes
from pipelines.stages.polygons import read_polygons
from tests.worlds import square, world_of

World = Callable[..., Path]
KEPT, DROPPED = ["osm_id", "class_ids", "anchor_class"], ["subject", "reason", "detail"]


def test_polygons_get_their_classes_or_a_reason(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        square(1, -100, 40, 0.002, "landuse=forest"),
        square(2, -100, 40, 0.002, "amenity=school,leisure=park"),
        square(3, -100, 40, 0.002, "leisure=swimming_pool,indoor=yes"),
        square(4, -100, 40, 0.0001, "leisure=golf_course"),
    )
    polygons = read_polygons(osm_world(world), "CO", class_map).kept
    outcome = map_classes(polygons, "CO", class_map)
    assert outcome.kept.schema.equals(LABELLED_POLYGONS.schema)
    assert outcome.kept["osm_id"].to_pylist() == ["way/1", "way/2"]
    assert outcome.kept["class_ids"].to_pylist() == [[65], [52, 60]]
    assert outcome.kept["anchor_class"].to_pylist() == [65, 52]
    rejected = outcome.dropped.select(["subject", "reason"]).to_pylist()
    assert rejected == [
        {"subject": "way/3", "reason": "UNMAPPED"},
        {"subject": "way/4", "reason": "AREA_OUT_OF_RANGE"},
    ]


def test_no_polygon_no_row(osm_world: World, class_map: ClassMap) -> None:
    polygons = read_polygons(osm_world(square(1, -100, 40, 0.002, "a=b")), "CO", class_map).kept
    outcome = map_classes(polygons, "CO", class_map)
    assert (outcome.read, outcome.kept.num_rows) == (0, 0)
    assert outcome.kept.schema.equals(LABELLED_POLYGONS.schema)


TAGS = {
    "landuse": ["forest", "industrial", "meadow;forest", "no"],
    "natural": ["water", "wood", "sand"],
    "water": ["pond", "lake"],
    "amenity": ["school", "parking", "toilets"],
    "leisure": ["park", "pitch", "golf_course"],
    "sport": ["tennis", "soccer;baseball"],
    "area": ["yes", "no"],
    "name": ["A", "B"],
}

objects = st.tuples(
    st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in TAGS.items()}),
    st.booleans(),
    st.sampled_from([0.5, 20.0, 100.0, 1000.0, 10_000.0, 1e5, 3e6, 1e9]) | st.floats(0, 1e8),
)


@given(st.lists(objects, max_size=12), st.integers(0, 3))
def test_each_polygon_gets_what_the_class_map_says_of_it_alone(
    class_map: ClassMap, things: list[tuple[dict[str, str], bool, float]], first: int
) -> None:
    columns: dict[str, Any] = {
        "state": ["CO"] * len(things),
        "osm_id": [f"way/{number}" for number in range(len(things))],
        "tags": [sorted(tags.items()) for tags, _, _ in things],
        "closed_way": [closed for _, closed, _ in things],
        "area_m2": [area for _, _, area in things],
        "longitude": [0.0] * len(things),
        "latitude": [0.0] * len(things),
        "geometry": [b""] * len(things),
    }
    outcome = map_classes(pa.table(columns, schema=POLYGONS.schema).slice(first), "CO", class_map)
    kept, dropped = [], []
    for number, (tags, closed, area) in list(enumerate(things))[first:]:
        match = class_map.match(tags, closed_way=closed, area_m2=area)
        if match.reason is None:
            kept.append((f"way/{number}", list(match.class_ids), class_map.rarest(match.class_ids)))
        else:
            dropped.append((f"way/{number}", match.reason, match.detail))
    assert [tuple(row.values()) for row in outcome.kept.select(KEPT).to_pylist()] == kept
    assert [tuple(row.values()) for row in outcome.dropped.select(DROPPED).to_pylist()] == dropped
