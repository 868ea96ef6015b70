"""A class map of one's own: what is wrong with it is told by line, class and key."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from gl10m.resources import bundled
from gl10m.scene.class_map import ClassMap, ClassMapError, Concept
from gl10m.scene.class_map_file import json_schema

TWO = """\
version = 1
name = "mine"

[[classes]]
id = 0
name = "Pond"
slug = "pond"
kind = "land-cover"
level = "object"
area_m2 = [50, 5e5]
closed_way = "area"
rules = [
  { when = { water = "pond" }, example = { water = "pond" } },
  { when = { landuse = "basin" }, example = { landuse = "basin" } },
]

[[classes]]
id = 1
name = 'Lake' # not a pond
slug = "lake"
kind = "land-cover"
level = "object"
area_m2 = [50, 5e5]
closed_way = "area"
rules = [
  { when = { water = "lake" }, example = { water = "lake" } },
]
exclude = [
  { location = "indoor" },
]
"""
LAKE = '{ when = { water = "lake" }, example = { water = "lake" } }'
BROKEN = [
    ("version = 1\n", "", "line 1: version: it is missing"),
    ("version = 1", 'version = "1"', "line 1: version: it should be 1; got '1'"),
    ("[[classes]]", "[classes]", "is not TOML: Cannot overwrite a value (at line 17"),
    ("id = 1", "id = 0", "line 18, class Lake: id: ids run 0, 1, 2 ... in the order of the file; got 0"),
    ("id = 1", 'id = "1"', "line 18, class Lake: id: it should be a valid integer; got '1'"),
    ("id = 1", "id = 1\nid = 1", "is not TOML: Cannot overwrite a value (at line 19"),
    ("id = 1", "id = 1\npaper_count = -4", "line 19, class Lake: paper_count"),
    ("id = 1", "id = 1\npaper_count = 4", "line 4, class Pond: all classes have a paper_count or none"),
    ("'Lake'", '"Pond"', "line 19, class Pond: name: each name is used once; used twice: Pond"),
    ('slug = "lake"', 'slug = "La ke"', "line 20, class Lake: slug: it should match"),
    ('slug = "lake"', 'slug = "pond"', "line 20, class Lake: slug: each slug is used once"),
    ("[50, 5e5]", "[50]", "line 10, class Pond: area_m2.1: it is missing"),
    ("[50, 5e5]", '["50", 5e5]', "line 10, class Pond: area_m2.0: it should be a valid number; got '50'"),
    (
        LAKE,
        LAKE[:-1] + ", least = 5 }",
        "line 26, class Lake: rules.0.least: there is no such key; there are",
    ),
    (LAKE, '{ when = { water = "lake" } }', "line 26, class Lake: rules.0.example: it is missing"),
    (
        LAKE,
        LAKE[:-1] + ", min_m2 = 1e9 }",
        "line 26, class Lake: rules.0: the rule 'water=lake' leaves no area",
    ),
    (
        LAKE,
        LAKE.replace('{ water = "lake" }', "{ water = 3 }", 1),
        "water: a value is text, or several in a list",
    ),
    (
        LAKE,
        LAKE.replace('{ water = "lake" }', '{ water = "" }', 1),
        "line 26, class Lake: rules.0.when.water.0",
    ),
    (f"  {LAKE},\n", "", "line 25, class Lake: rules: it should have at least 1 item, not 0"),
    ('{ location = "indoor" }', "{ }", "line 29, class Lake: exclude.0: it should have at least 1 item"),
    (
        '{ location = "indoor" }',
        "{ location = [] }",
        "line 29, class Lake: exclude.0: location wants at least one",
    ),
    ('location = "indoor"', 'water = "lake"', "the class excludes the example of its own rule by water=lake"),
    (
        'rules = [\n  { when = { water = "lake"',
        'x = [\n  { when = { water = "lake"',
        "line 17, class Lake: rules: it is missing",
    ),
    ("closed_way", "closed-way", "line 11, class Pond: closed-way: there is no such key"),
]


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def without_lake_rules(tables: str) -> str:
    return TWO.replace(f"rules = [\n  {LAKE},\n]\n", "").replace(
        'exclude = [\n  { location = "indoor" },\n]\n', tables
    )


@pytest.mark.parametrize(("change", "to", "said"), BROKEN, ids=lambda part: part[:40])
def test_a_fault_is_told_by_line_class_and_key(tmp_path: Path, change: str, to: str, said: str) -> None:
    assert change in TWO
    with pytest.raises(ClassMapError) as told:
        ClassMap.from_file(written(tmp_path, TWO.replace(change, to, 1)))
    assert said in str(told.value)
    assert str(tmp_path / "mine.toml") in str(told.value)


def test_rules_may_be_tables_of_their_own(tmp_path: Path) -> None:
    tables = '[[classes.rules]]\nwhen = { water = "lake" }\nexample = { water = "lake" }\nmin_m2 = 60\n'
    good = ClassMap.from_file(written(tmp_path, without_lake_rules(tables)))
    assert good.concepts[1].rules[0].min_m2 == 60
    with pytest.raises(
        ClassMapError, match=r"line 28, class Lake: rules\.0\.min_m2: it should be a valid number"
    ):
        ClassMap.from_file(written(tmp_path, without_lake_rules(tables.replace("60", '"60"'))))


def test_one_fault_is_told_once_and_two_are_told_both(tmp_path: Path) -> None:
    broken = TWO.replace(LAKE, LAKE.replace("example", "exampel")).replace('"pond"\nkind', '"Pond"\nkind')
    with pytest.raises(ClassMapError) as told:
        ClassMap.from_file(written(tmp_path, broken))
    lines = [line.partition(", line ")[2] for line in str(told.value).splitlines()]
    assert [line.split(":")[0] for line in lines] == ["7, class Pond", "26, class Lake", "26, class Lake"]


def test_files_that_are_no_text_or_no_file(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_bytes(b'version = 1\nname = "caf\xe9"')
    with pytest.raises(ClassMapError, match="line 2: a class map is UTF-8 text"):
        ClassMap.from_file(path)
    path.write_bytes(b"a = " + b"[" * 100_000)
    with pytest.raises(ClassMapError, match="nested without end"):
        ClassMap.from_file(path)
    for missing in (tmp_path / "nothing.toml", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no class map at .*gl10m-66\.toml is a good beginning"):
            ClassMap.from_file(missing)
    path.write_bytes(b"\xef\xbb\xbf" + TWO.replace("\n", "\r\n").encode())
    assert len(ClassMap.from_file(path)) == 2  # as an editor on Windows writes it


def test_the_schema_accepts_the_bundled_map_and_refuses_what_it_can() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(tomllib.loads(bundled("class_maps", "gl10m-66.toml").read_text()))
    validator.validate(tomllib.loads(TWO))
    refused = 0
    for change, to, _ in BROKEN:
        try:
            parsed = tomllib.loads(TWO.replace(change, to, 1))
        except tomllib.TOMLDecodeError:
            continue
        refused += not validator.is_valid(json.loads(json.dumps(parsed)))
    assert refused == 16  # the others break rules between parts of a map, which a schema cannot say


def test_classes_beside_each_other_are_checked_without_a_file_too() -> None:
    concepts = ClassMap.bundled().concepts
    with pytest.raises(ClassMapError, match=r"class map mine, classes\.0\.id: ids run 0, 1, 2"):
        ClassMap("mine", concepts[1:])
    with pytest.raises(ClassMapError, match="at least one"):
        ClassMap("mine", [])
    assert isinstance(concepts[0], Concept)
