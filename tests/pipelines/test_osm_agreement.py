"""The polygons of the real extracts against those of osmium-tool, object by object.

`docs/benchmarks/osm.md` holds the same table.
"""

import json
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import osmium
import pytest
import shapely
from osmium.osm import RELATION
from osmium.osm.types import Relation
from pyproj import Geod

from gl10m.scene.class_map import ClassMap
from pipelines.stages.polygons import read_polygons
from tests.worlds import REAL_OSM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("osmium") is None, reason="osmium-tool is not installed"),
]

MEMBER = "a way that carries no tag of the class map: the filter leaves it for its relation"
LINE = "a closed way that is a line by the closed-way rule"
SEVERAL_VALUES = "one of several values in a tag: the filter asks for the whole"
GEOD = Geod(ellps="WGS84")

EXTRACTS: dict[str, tuple[int, dict[str, int], dict[str, int]]] = {
    "bangor_maine.osm.pbf": (385, {}, {}),
    "columbus_ohio.unsorted.osm.pbf": (625, {LINE: 2}, {}),
    "felton_california.osm.pbf": (48, {MEMBER: 1}, {}),
    "harrisburg_pennsylvania.osm.pbf": (159, {}, {}),
    "liechtenstein.osm.pbf": (4146, {MEMBER: 65}, {SEVERAL_VALUES: 2}),
    "roosevelt_seattle_washington.osm": (29, {MEMBER: 2}, {}),
}
"""Polygons that both have, and why osmium-tool has more and fewer."""


@dataclass(frozen=True)
class Exported:
    """What osmium-tool makes of an extract."""

    shapes: dict[str, Any]
    tags: dict[str, dict[str, str]]
    members: set[str]
    """Ways that the relations left by the filter are made of."""


def exported(path: Path, folder: Path, class_map: ClassMap) -> Exported:
    in_order, chosen = folder / "sorted.osm.pbf", folder / "chosen.osm.pbf"
    tokens = [f"wr/{key}" + (f"={value}" if value else "") for key, value in class_map.tokens]
    subprocess.run(["osmium", "sort", str(path), "-o", str(in_order)], check=True)
    subprocess.run(["osmium", "tags-filter", str(in_order), *tokens, "-o", str(chosen)], check=True)
    command = ["osmium", "export", "--geometry-types=polygon", "--add-unique-id=type_id", "-f", "geojsonseq"]
    lines = subprocess.run([*command, str(chosen)], check=True, capture_output=True, text=True).stdout
    found = Exported({}, {}, set())
    for line in lines.strip("\n").split("\n"):
        feature = json.loads(line.lstrip("\x1e"))
        number = int(feature["id"][1:])  # twice the id of a way, twice the id of a relation and one
        name = f"relation/{number // 2}" if number % 2 else f"way/{number // 2}"
        found.shapes[name] = shapely.geometry.shape(feature["geometry"])
        found.tags[name] = feature["properties"]
    for relation in osmium.FileProcessor(str(chosen), RELATION):
        assert isinstance(relation, Relation)
        found.members.update(f"way/{member.ref}" for member in relation.members if member.type == "w")
    return found


@pytest.mark.parametrize("name", EXTRACTS)
def test_every_difference_from_osmium_tool_has_its_reason(
    name: str, tmp_path: Path, class_map: ClassMap
) -> None:
    if not (REAL_OSM / name).is_file():
        pytest.skip(f"the real extract {name} is not here")
    both, theirs_only, ours_only = EXTRACTS[name]
    outcome = read_polygons(REAL_OSM / name, "CA", class_map)
    rows: list[dict[str, Any]] = outcome.kept.to_pylist()
    dropped: dict[Any, Any] = dict(
        zip(outcome.dropped["subject"].to_pylist(), outcome.dropped["reason"].to_pylist(), strict=True)
    )
    theirs = exported(REAL_OSM / name, tmp_path, class_map)

    def why_theirs(name: str) -> str:
        if dropped.get(name) == "NOT_AN_AREA":
            return LINE
        carries = any(class_map.carries(key, value) for key, value in theirs.tags[name].items())
        return MEMBER if name in theirs.members and not carries else "unexplained"

    def why_ours(row: dict[str, Any]) -> str:
        tags = dict(row["tags"])
        whole = any(key in tags and value in {None, tags[key]} for key, value in class_map.tokens)
        return "unexplained" if whole else SEVERAL_VALUES

    names = {row["osm_id"] for row in rows}
    shared = [row for row in rows if row["osm_id"] in theirs.shapes]
    assert len(shared) == both
    assert Counter(why_theirs(name) for name in theirs.shapes.keys() - names) == theirs_only
    assert Counter(why_ours(row) for row in rows if row["osm_id"] not in theirs.shapes) == ours_only
    for row in shared:
        shape = theirs.shapes[row["osm_id"]]
        area = abs(GEOD.geometry_area_perimeter(shapely.orient_polygons(shape))[0])
        assert row["area_m2"] == pytest.approx(area, rel=1e-9), row["osm_id"]
        assert shapely.from_wkb(row["geometry"]).area == pytest.approx(shape.area, rel=1e-12), row["osm_id"]
