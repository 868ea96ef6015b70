from collections.abc import Callable
from pathlib import Path

from gl10m.manifest.schema import LABELLED_POLYGONS
from gl10m.scene.class_map import ClassMap
from pipelines.stages.classes import map_classes
from pipelines.stages.polygons import read_polygons
from tests.worlds import square, world_of

World = Callable[..., Path]


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
