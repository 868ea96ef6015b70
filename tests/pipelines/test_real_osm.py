from collections import Counter
from pathlib import Path
from typing import Any

import osmium
import pytest
import shapely
from osmium.geom import WKBFactory
from osmium.osm.types import Area

from gl10m.scene.class_map import ClassMap
from pipelines.stages.classes import map_classes
from pipelines.stages.footprints import FootprintParameters, make_footprints
from pipelines.stages.polygons import read_polygons
from pipelines.stages.subsampling import SubsamplingParameters, subsample
from tests.worlds import REAL_OSM

EXTRACTS = {
    "bangor_maine.osm.pbf": (385, {"INVALID_GEOMETRY": 4}),
    "columbus_ohio.unsorted.osm.pbf": (625, {"BROKEN_RELATION": 17, "NOT_AN_AREA": 2}),
    "felton_california.osm.pbf": (48, {"BROKEN_RELATION": 3}),
    "harrisburg_pennsylvania.osm.pbf": (159, {"BROKEN_RELATION": 1}),
    "liechtenstein.osm.pbf": (4148, {}),
    "roosevelt_seattle_washington.osm": (29, {"BROKEN_RELATION": 1}),
}


def extract(name: str) -> Path:
    if not (REAL_OSM / name).is_file():
        pytest.skip(f"the real extract {name} is not here")
    return REAL_OSM / name


@pytest.mark.parametrize("name", EXTRACTS)
def test_real_extracts_go_all_the_way(name: str, class_map: ClassMap) -> None:
    kept, reasons = EXTRACTS[name]
    polygons = read_polygons(extract(name), "CA", class_map)
    assert (polygons.kept.num_rows, Counter(polygons.dropped["reason"].to_pylist())) == (kept, reasons)
    assert shapely.is_valid(shapely.from_wkb(polygons.kept["geometry"].to_numpy())).all()
    labelled = map_classes(polygons.kept, "CA", class_map).kept
    candidates = make_footprints(labelled, "CA", class_map, FootprintParameters()).kept
    assert candidates.num_rows > 0
    downloads = subsample(candidates, "CA", class_map, SubsamplingParameters()).kept
    assert set(downloads["scene_id"].to_pylist()) <= set(candidates["scene_id"].to_pylist())


def oracle(path: Path, class_map: ClassMap) -> dict[str, float]:
    """Areas by pyosmium's own way of making them, filtered in Python: identity and square degrees."""
    found, wkb = {}, WKBFactory()
    for area in osmium.FileProcessor(str(path)).with_areas():
        if not isinstance(area, Area) or area.num_rings()[0] == 0:
            continue
        tags = {tag.k: tag.v for tag in area.tags}
        if any(class_map.carries(key, value) for key, value in tags.items()):
            match = class_map.match(tags, closed_way=area.from_way(), area_m2=None)
            if match.reason != "NOT_AN_AREA":
                kind = "way" if area.from_way() else "relation"
                found[f"{kind}/{area.orig_id()}"] = shapely.from_wkb(wkb.create_multipolygon(area)).area
    return found


@pytest.mark.parametrize(
    "name",
    ["harrisburg_pennsylvania.osm.pbf", pytest.param("liechtenstein.osm.pbf", marks=pytest.mark.slow)],
)
def test_the_areas_are_those_of_pyosmium(name: str, class_map: ClassMap) -> None:
    kept = read_polygons(extract(name), "CA", class_map).kept
    areas = shapely.area(shapely.from_wkb(kept["geometry"].to_numpy()))
    ours: dict[Any, float] = dict(zip(kept["osm_id"].to_pylist(), areas, strict=True))
    theirs = oracle(extract(name), class_map)
    assert ours.keys() == theirs.keys()
    assert all(ours[name] == pytest.approx(theirs[name], rel=1e-12) for name in theirs)
