import json
import shutil
import subprocess
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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("osmium") is None, reason="osmium-tool is not installed")
def test_the_areas_are_those_of_osmium_tool(tmp_path: Path, class_map: ClassMap) -> None:
    path, chosen = extract("liechtenstein.osm.pbf"), tmp_path / "chosen.osm.pbf"
    tokens = [f"wr/{key}" + (f"={value}" if value else "") for key, value in class_map.tokens]
    subprocess.run(["osmium", "tags-filter", str(path), *tokens, "-o", str(chosen)], check=True)
    command = ["osmium", "export", "--geometry-types=polygon", "--add-unique-id=type_id", "-f", "geojsonseq"]
    exported = subprocess.run([*command, str(chosen)], check=True, capture_output=True, text=True)
    theirs = {}
    for line in exported.stdout.strip("\n").split("\n"):
        feature = json.loads(line.lstrip("\x1e"))
        if any(class_map.carries(key, value) for key, value in feature["properties"].items()):
            number = int(feature["id"][1:])  # twice the id of a way, twice the id of a relation and one
            name = f"relation/{number // 2}" if number % 2 else f"way/{number // 2}"
            theirs[name] = shapely.geometry.shape(feature["geometry"]).area
    kept = read_polygons(path, "CA", class_map).kept
    areas = shapely.area(shapely.from_wkb(kept["geometry"].to_numpy()))
    ours: dict[Any, float] = dict(zip(kept["osm_id"].to_pylist(), areas, strict=True))
    tags = dict(zip(kept["osm_id"].to_pylist(), kept["tags"].to_pylist(), strict=True))
    ours_only = ours.keys() - theirs.keys()
    assert ours_only == {
        "way/165294760",
        "way/220954413",
    }  # sport=soccer;basketball: a filter wants whole values
    assert all(any(";" in str(value) for _, value in tags[name] or ()) for name in ours_only)
    assert not theirs.keys() - ours.keys()
    assert all(ours[name] == pytest.approx(theirs[name], rel=1e-6) for name in theirs)
