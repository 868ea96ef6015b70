"""Polygons of each class in a file, and why a class has none."""

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gl10m.scene.class_map import ClassMap, Concept, TagRule
from pipelines.class_report import Miss, as_text, count, why_none
from tests.worlds import REAL_OSM, square, world_of

World = Callable[..., Path]


def side(concept: Concept, rule: TagRule) -> float:
    """Degrees of a square at 40 degrees north that is as large as a class has them."""
    low, high = concept.limits(rule)
    area = min(math.sqrt(max(low, 1) * high), max(2 * low, 1e5))
    return math.sqrt(area / (111_000 * 85_400))


def opl(tags: dict[str, str]) -> str:
    return ",".join(f"{key}={value}".replace(" ", "%20%") for key, value in tags.items())


def examples(class_map: ClassMap) -> str:
    """A square for each rule of the map, with the tags of its example; lines are areas by area=yes."""
    rules = [(concept, rule) for concept in class_map.concepts for rule in concept.rules]
    return world_of(
        *(
            square(number, -120 + number % 30, 40, side(concept, rule), opl({**rule.example, "area": "yes"}))
            for number, (concept, rule) in enumerate(rules, start=1)
        )
    )


def test_a_world_of_the_examples_has_a_polygon_of_each_class(osm_world: World, class_map: ClassMap) -> None:
    found = count(osm_world(examples(class_map)), class_map)
    rules = sum(len(concept.rules) for concept in class_map.concepts)
    assert found.read == found.labelled == rules
    for concept in class_map.concepts:
        assert found.polygons[concept.id] >= len(concept.rules), concept.name


MISSES = [
    (square(1, -100, 40, 0.01, "amenity=prison"), None),
    (square(1, -100, 40, 0.0001, "amenity=prison"), Miss.SIZE),
    (square(1, -100, 40, 0.001, "natural=mud,tidal=yes"), Miss.EXCLUDED),
    (square(1, -100, 40, 0.001, "highway=primary"), Miss.LINE),
    (square(1, -100, 40, 0.001, "amenity=prison,area=no"), Miss.LINE),
    ("n1 x-100 y40\nn2 x-100 y40.1\nw1 Twaterway=dam Nn1,n2", Miss.OPEN_LINE),
    ("n1 x-100 y40 Tbarrier=toll_booth", Miss.NODE),
    ("n1 x-100 y40\nr1 Ttype=site,power=plant,plant:source=wind Mn1@", Miss.RELATION),
    ("n1 x-100 y40\nr1 Ttype=multipolygon,natural=desert Mw9@outer", Miss.BROKEN),
    ("n1 x-100 y40\nn2 x-100 y40.1\nw1 Tnatural=beach Nn1,n2,n9,n1", Miss.BROKEN),
]
CLASSES = [
    "Prison",
    "Prison",
    "Bareland",
    "Highway",
    "Prison",
    "Dam",
    "Toll booth",
    "Wind farm",
    "Desert",
    "Beach",
]


@pytest.mark.parametrize(("world", "miss", "name"), [(*m, n) for m, n in zip(MISSES, CLASSES, strict=True)])
def test_why_a_class_has_no_polygon(
    osm_world: World, class_map: ClassMap, world: str, miss: Miss | None, name: str
) -> None:
    found, number = count(osm_world(world), class_map), class_map.names.index(name)
    assert found.polygons == ({number: 1} if miss is None else {})
    assert found.misses[number] == ({} if miss is None else {miss: 1})
    assert not any(found.misses[other] for other in range(66) if other != number)
    assert why_none([found], number) == ("no object has its tags" if miss is None else f"1 {miss}")


def test_several_misses_are_told_with_the_nearest_first(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        "n1 x-100 y40 Tamenity=prison",
        "n2 x-100 y40.1 Tamenity=prison",
        square(1, -100, 40, 0.0001, "amenity=prison"),
        square(2, -100, 40, 0.002, "landuse=forest,leisure=park"),
    )
    found = count(osm_world(world), class_map)
    text = as_text([found, found], class_map)
    prison = next(line for line in text.splitlines() if line.startswith("Prison "))
    assert prison.split(maxsplit=4) == ["Prison", "0", "0", "0", "2 outside its area limits, 4 nodes"]
    assert next(line for line in text.splitlines() if line.startswith("Park ")).split() == [
        "Park",
        "1",
        "1",
        "2",
    ]
    assert text.splitlines()[-1].split() == ["AREA_OUT_OF_RANGE", "1", "1", "2"]
    assert found.labelled + sum(found.rejected.values()) == found.read == 2


def test_an_unsorted_file_is_counted_too(osm_world: World, class_map: ClassMap) -> None:
    world = square(1, -100, 40, 0.01, "amenity=prison")
    backwards = "\n".join(reversed(world.splitlines()))
    assert count(osm_world(backwards), class_map) == count(osm_world(world), class_map)


def test_the_command(osm_world: World) -> None:
    path = osm_world(square(1, -100, 40, 0.01, "leisure=golf_course"))
    command = [sys.executable, "-m", "gl10m", "classes", "report", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "1  world.opl: 1 areas with a tag of the map, 1 with a class" in shown
    lines = [line.split(maxsplit=2) for line in shown.splitlines()]
    assert ["Golf", "course", "1"] in lines
    assert ["Wind", "farm", "0   no object has its tags"] in lines
    assert "rejected" not in shown


@pytest.mark.parametrize("name", ["bangor_maine.osm.pbf", "columbus_ohio.unsorted.osm.pbf"])
def test_each_object_of_a_real_file_is_counted_once(name: str, class_map: ClassMap) -> None:
    if not (REAL_OSM / name).is_file():
        pytest.skip(f"the real extract {name} is not here")
    found = count(REAL_OSM / name, class_map)
    assert found.labelled + sum(found.rejected.values()) == found.read
    near = Counter(miss for misses in found.misses.values() for miss in misses.elements())
    assert near[Miss.NODE] > 10
    assert near[Miss.OPEN_LINE] > 10
