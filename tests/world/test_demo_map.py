"""The maps of the demo world: what is drawn, and how it is written."""

from collections import Counter
from pathlib import Path

import osmium
import pytest
import shapely
from osmium.osm import Area

from gl10m.scene.class_map import ClassMap
from gl10m.scene.states import states
from pipelines.stages.classes import map_classes
from pipelines.stages.polygons import read_polygons
from pipelines.world.grids import QUARTER_DEGREES, granules, utm_zone
from pipelines.world.ground import GROUNDS
from pipelines.world.layout import SITE_DEGREES, SiteMap
from pipelines.world.osm_writer import Feature, write_osm
from pipelines.world.plan import RURAL_ZONES, SHAPES, SITES, URBAN_ZONES, ZONES

SQUARE = ((0.0, 0.0), (0.01, 0.0), (0.01, 0.01), (0.0, 0.01))
HOLE = ((0.004, 0.004), (0.006, 0.004), (0.006, 0.006))


def drawn(folder: Path, region: str, class_map: ClassMap) -> Path:
    path = folder / f"{region}.osm.pbf"
    write_osm(path, SiteMap(region, class_map).features(), 100)
    return path


def classes_of(path: Path, region: str, class_map: ClassMap) -> tuple[Counter[int], Counter[str]]:
    polygons = read_polygons(path, region, class_map)
    labelled = map_classes(polygons.kept, region, class_map)
    found = Counter(number for ids in labelled.kept["class_ids"].to_pylist() for number in ids or ())
    reasons = [*polygons.dropped["reason"].to_pylist(), *labelled.dropped["reason"].to_pylist()]
    return found, Counter(str(reason) for reason in reasons)


def test_the_plan_knows_every_state_every_class_and_every_zone() -> None:
    assert set(SITES) == set(states())
    assert set(SHAPES) == set(GROUNDS)
    assert {slug for zone in ZONES.values() for slug in (*zone.things, *zone.grounds)} == set(SHAPES)
    assert set(URBAN_ZONES).union(*RURAL_ZONES.values()) == set(ZONES)
    for site in SITES.values():
        assert site.west % QUARTER_DEGREES == site.south % QUARTER_DEGREES == 0
        assert site.climate in RURAL_ZONES


def test_some_site_lies_on_a_border_of_zones_and_some_on_one_of_granules() -> None:
    bounds = {
        code: (site.west, site.south, site.west + SITE_DEGREES, site.south + SITE_DEGREES)
        for code, site in SITES.items()
    }
    zones = {code: utm_zone(west) != utm_zone(east) for code, (west, _, east, _) in bounds.items()}
    assert zones["GA"]
    assert len(granules(bounds["NC"], 2500)) == 2


def test_a_map_is_sorted_and_the_same_each_time(tmp_path: Path, class_map: ClassMap) -> None:
    path = drawn(tmp_path, "TX", class_map)
    first = path.read_bytes()
    kinds = [(str(item.type_str()), item.id) for item in osmium.FileProcessor(str(path))]
    assert kinds == sorted(kinds, key=lambda item: ("nwr".index(item[0]), item[1]))
    assert {kind for kind, _ in kinds} == {"n", "w", "r"}
    assert drawn(tmp_path, "TX", class_map).read_bytes() == first
    assert drawn(tmp_path, "CA", class_map).read_bytes() != first


def test_a_map_holds_most_classes_and_every_kind_of_bad_object(tmp_path: Path, class_map: ClassMap) -> None:
    found, reasons = classes_of(drawn(tmp_path, "TX", class_map), "TX", class_map)
    assert len(found) >= 40
    assert {"NOT_AN_AREA", "BROKEN_RELATION", "UNMAPPED", "AREA_OUT_OF_RANGE"} <= set(reasons)


@pytest.mark.slow
def test_all_states_together_hold_every_class_with_a_long_tail(tmp_path: Path, class_map: ClassMap) -> None:
    total: Counter[int] = Counter()
    for region in SITES:
        total += classes_of(drawn(tmp_path, region, class_map), region, class_map)[0]
    assert len(total) >= 64
    (_, most), *_, (_, least) = total.most_common()
    assert most > 50 * least


def test_a_ring_a_line_and_an_area_with_a_hole_come_back(tmp_path: Path) -> None:
    path = tmp_path / "three.osm.pbf"
    features = [
        Feature({"leisure": "park"}, (SQUARE,)),
        Feature({"highway": "residential"}, (SQUARE[:2],), closed=False),
        Feature({"natural": "wood"}, (SQUARE, HOLE), pieces=2, hole_tags={"natural": "water"}),
        Feature({"natural": "scrub"}, (SQUARE,), pieces=2, broken=True),
    ]
    write_osm(path, features, 1000)
    factory = osmium.geom.WKBFactory()
    areas = {}
    for found in osmium.FileProcessor(str(path)).with_areas():
        if isinstance(found, Area):
            shape = shapely.from_wkb(factory.create_multipolygon(found))
            areas[found.tags.get("leisure") or found.tags.get("natural")] = shape
    assert set(areas) == {"park", "wood", "water"}  # the scrub's relation is broken
    assert areas["park"].equals(shapely.Polygon(SQUARE))
    assert areas["wood"].equals(shapely.Polygon(SQUARE, [HOLE]))


def test_shared_corners_are_one_node(tmp_path: Path) -> None:
    path = tmp_path / "two.osm.pbf"
    write_osm(path, [Feature({"a": "1"}, (SQUARE,)), Feature({"b": "2"}, (SQUARE[:3],))], 5)
    counts = Counter(str(item.type_str()) for item in osmium.FileProcessor(str(path)))
    assert counts == {"n": 4, "w": 2}
