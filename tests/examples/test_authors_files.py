"""The build, the split and the class map after the authors' own code."""

import csv
import tomllib
from pathlib import Path

import pytest

from gl10m.scene.class_map import ClassMap
from gl10m.scene.states import states
from pipelines.config import load

ROOT = Path(__file__).parents[2]
AUTHORS = ROOT / "examples" / "authors"


@pytest.fixture(scope="module")
def theirs() -> ClassMap:
    return ClassMap.from_file(ROOT / "class_maps" / "crossso-66.toml")


def test_the_build_is_one_and_differs_where_it_says_so() -> None:
    parameters, ours = load(AUTHORS / "build.toml"), load(None)
    assert parameters.footprints.minimum_classes == 2
    assert parameters.lr.composite == "median"
    assert parameters.matching.naip_window == ours.matching.naip_window
    assert parameters.lr.invalid_classes == ours.lr.invalid_classes
    told = tomllib.loads((AUTHORS / "build.toml").read_text())
    assert set(told) == {"footprints", "subsampling", "matching", "lr"}


def test_the_targets_add_up_to_the_papers_candidates_for_download() -> None:
    line = next(one for one in (AUTHORS / "build.toml").read_text().splitlines() if one.startswith("# AZ"))
    targets = dict(pair.split() for pair in line.removeprefix("# ").split(", "))
    assert set(targets) == set(states())
    assert sum(map(int, targets.values())) == 273_250


def test_the_split_names_every_state_and_exchanges_two() -> None:
    with (AUTHORS / "split.csv").open(newline="") as table:
        split = {row["state"]: row["split"] for row in csv.DictReader(table)}
    differing = {code for code, state in states().items() if split[code] != state.split}
    assert differing == {"CO", "WA"}
    assert split["CO"] == "val"


def test_the_class_map_has_the_same_concepts_in_the_authors_order(theirs: ClassMap) -> None:
    ours = ClassMap.bundled()
    assert set(theirs.names) == set(ours.names)
    assert (theirs.names[0], theirs.names[-1]) == ("Tennis", "Cemetery")
    assert {one.name: one.paper_count for one in theirs.concepts} == {
        one.name: one.paper_count for one in ours.concepts
    }


@pytest.mark.parametrize(
    ("tags", "classes"),
    [
        ({"leisure": "pitch", "sport": "table_tennis"}, {"Tennis"}),
        ({"amenity": "parking"}, set()),
        ({"amenity": "parking", "parking": "surface"}, {"Parking"}),
        ({"natural": "water"}, set()),
        ({"natural": "water", "water": "lake"}, {"Lake"}),
        ({"boundary": "protected_area"}, set()),
        ({"boundary": "protected_area", "leisure": "nature_reserve"}, {"Reserve"}),
        ({"landuse": "harbour", "mooring": "private"}, {"Marina"}),
        ({"highway": "primary"}, {"Highway"}),
        ({"highway": "primary", "bridge": "yes"}, {"Overpass"}),
        ({"highway": "primary", "junction": "roundabout"}, {"Roundabout"}),
        ({"man_made": "shipyard"}, set()),
        ({"man_made": "shipyard", "building": "yes"}, {"Shipyard"}),
        ({"landuse": "quarry", "natural": "scrub"}, {"Surface mine", "Chaparral"}),
    ],
)
def test_tags_mean_what_they_mean_to_the_authors(
    theirs: ClassMap, tags: dict[str, str], classes: set[str]
) -> None:
    match = theirs.match(tags, closed_way=True, area_m2=100.0)
    assert {theirs.names[one] for one in match.class_ids} == classes
