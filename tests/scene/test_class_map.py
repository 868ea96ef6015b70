import json
import math
import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.resources import bundled
from gl10m.scene.class_map import ClassMap, ClassMapError, Concept, TagRule
from gl10m.scene.rejection import Reason

CLASS_MAP = ClassMap.bundled()
RULES = [(concept, rule) for concept in CLASS_MAP.concepts for rule in concept.rules]
MINIMAL = """\
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
"""


def typical_area(concept: Concept, rule: TagRule) -> float:
    low, high = concept.limits(rule)
    return math.sqrt(max(low, 1) * high)


def names(tags: dict[str, str], area_m2: float = 5000, *, closed_way: bool = True) -> list[str]:
    match = CLASS_MAP.match(tags, closed_way=closed_way, area_m2=area_m2)
    return [CLASS_MAP.names[number] for number in match.class_ids]


@pytest.mark.parametrize(("concept", "rule"), RULES, ids=lambda part: getattr(part, "slug", None))
def test_every_rule_accepts_its_example(concept: Concept, rule: TagRule) -> None:
    for closed_way in (True, False):
        match = CLASS_MAP.match(rule.example, closed_way=closed_way, area_m2=typical_area(concept, rule))
        assert concept.id in match.class_ids


@pytest.mark.parametrize(("concept", "rule"), RULES, ids=lambda part: getattr(part, "slug", None))
def test_every_example_carries_a_token(concept: Concept, rule: TagRule) -> None:
    assert concept.rules.count(rule) == 1
    assert any(CLASS_MAP.carries(key, value) for key, value in rule.example.items())
    assert set(rule.example) & set(CLASS_MAP.keys)


def test_the_classes_are_those_of_figure_6() -> None:
    counts = [concept.paper_count or 0 for concept in CLASS_MAP.concepts]
    assert len(CLASS_MAP) == 66
    assert counts == sorted(counts)
    assert sum(counts) == 584_010
    assert (CLASS_MAP.names[0], CLASS_MAP.names[54], CLASS_MAP.names[65]) == (
        "Wind farm",
        "Religious bldg.",
        "Forest",
    )


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"leisure": "pitch", "sport": "soccer;tennis"}, ["Soccer", "Tennis"]),
        ({"leisure": "pitch", "sport": "soccer; american_football"}, ["Football", "Soccer"]),
        ({"leisure": "pitch", "sport": "football"}, []),
        ({"amenity": "parking"}, ["Parking"]),
        ({"amenity": "parking", "parking": "multi-storey", "building": "yes"}, ["Garage"]),
        ({"amenity": "parking", "building": "no"}, ["Parking"]),
        ({"building": "garage"}, []),
        ({"building": "yes", "office": "lawyer"}, ["Office"]),
        ({"building": "yes", "office": "no"}, []),
        ({"landuse": "industrial", "industrial": "port"}, ["Port"]),
        ({"landuse": "forest", "boundary": "protected_area", "protect_class": "6"}, []),
        ({"leisure": "swimming_pool", "indoor": "yes"}, []),
        ({"power": "generator", "generator:source": "solar", "location": "roof"}, []),
        ({"amenity": "school", "building": "yes", "leisure": "park"}, ["School", "Park"]),
    ],
)
def test_tags_mean_classes(tags: dict[str, str], expected: list[str]) -> None:
    assert names(tags) == expected


@pytest.mark.parametrize(
    ("tags", "way", "relation"),
    [
        ({"landuse": "forest"}, ["Forest"], ["Forest"]),
        ({"highway": "primary"}, [], ["Highway"]),
        ({"highway": "primary", "area": "yes"}, ["Highway"], ["Highway"]),
        ({"highway": "primary", "junction": "roundabout"}, ["Roundabout"], ["Highway", "Roundabout"]),
        ({"railway": "rail"}, [], ["Railroad"]),
        ({"landuse": "railway"}, ["Railroad"], ["Railroad"]),
        ({"waterway": "river"}, [], ["River"]),
        ({"natural": "water", "water": "river"}, ["River"], ["River"]),
        ({"aeroway": "runway"}, ["Runway"], ["Runway"]),
        ({"landuse": "forest", "area": "no"}, [], ["Forest"]),
        ({"junction": "roundabout", "area": "no"}, [], ["Roundabout"]),
    ],
)
def test_a_closed_way_is_an_area_by_the_rule_of_its_class(
    tags: dict[str, str], way: list[str], relation: list[str]
) -> None:
    assert names(tags) == way
    assert names(tags, closed_way=False) == relation


def test_why_not() -> None:
    assert CLASS_MAP.match({"shop": "toys"}, closed_way=True, area_m2=900).reason == Reason.UNMAPPED
    loop = CLASS_MAP.match({"highway": "trunk"}, closed_way=True, area_m2=900)
    assert (loop.reason, loop.class_ids) == (Reason.NOT_AN_AREA, ())
    small = CLASS_MAP.match({"leisure": "golf_course"}, closed_way=True, area_m2=900)
    assert small.reason == Reason.AREA_OUT_OF_RANGE
    assert small.detail == "900 m2; Golf course wants 5000 to 2e+07"


@given(st.floats(50, 4.9e5))
def test_unnamed_water_is_a_lake_or_a_pond_never_both(area_m2: float) -> None:
    assert names({"natural": "water"}, area_m2) == (["Lake"] if area_m2 >= 50_000 else ["Pond"])


@given(st.sets(st.integers(0, 65), min_size=1))
def test_the_rarest_class_has_the_fewest_scenes_in_the_paper(ids: set[int]) -> None:
    rarest = CLASS_MAP.rarest(ids)
    assert CLASS_MAP.concepts[rarest].paper_count == min(CLASS_MAP.concepts[n].paper_count or 0 for n in ids)


KEYS = sorted({key for _, rule in RULES for key in (*rule.when, *rule.unless)} | {"area", "name"})
VALUES = sorted(
    {v for _, rule in RULES for w in rule.when.values() for v in w} | {"no", "a;b", "soccer;golf"}
)


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=6), st.booleans())
def test_the_map_agrees_with_a_plain_reading_of_its_rules(tags: dict[str, str], closed_way: bool) -> None:  # noqa: FBT001 - drawn
    def term(key: str, wanted: tuple[str, ...]) -> bool:
        held = [value.strip() for value in tags.get(key, "no").split(";")]
        return held != ["no"] if wanted == ("*",) else key in tags and bool(set(held) & set(wanted))

    def plain(concept: Concept) -> bool:
        area = {"area": True, "ring": True, "explicit": tags.get("area") == "yes"}
        return not any(all(term(k, w) for k, w in e.items()) for e in concept.exclude) and any(
            all(term(k, w) for k, w in rule.when.items())
            and not any(term(k, w) for k, w in rule.unless.items())
            and (not closed_way or (tags.get("area") != "no" and area[rule.closed_way or concept.closed_way]))
            for rule in concept.rules
        )

    match = CLASS_MAP.match(tags, closed_way=closed_way, area_m2=None)
    assert list(match.class_ids) == [concept.id for concept in CLASS_MAP.concepts if plain(concept)]
    if match.class_ids:
        assert any(CLASS_MAP.carries(key, value) for key, value in tags.items())
    told = CLASS_MAP.explain(tags, closed_way=closed_way)
    assert [said.concept.id for said in told if said.accepted] == list(match.class_ids)


def test_tokens_are_what_a_libosmium_filter_asks_for() -> None:
    assert ("landuse", "forest") in CLASS_MAP.tokens
    assert ("office", None) in CLASS_MAP.tokens
    assert not any(key == "building" and value in {None, "yes"} for key, value in CLASS_MAP.tokens)


def test_explaining_says_which_rule_matched_and_which_exclusion_hit() -> None:
    forest, park, parking = (
        CLASS_MAP.explain({"landuse": "forest"})[0],
        CLASS_MAP.explain({"leisure": "park"}, area_m2=10)[0],
        CLASS_MAP.explain({"amenity": "parking", "building": "roof"})[0],
    )
    assert (forest.accepted, forest.words) == (True, "landuse=forest, 500 to 1e+12 m2")
    assert (park.accepted, park.words) == (
        False,
        "leisure=park|dog_park, but 10 m2 is outside 300 to 1e+09 m2",
    )
    assert parking.words == "amenity=parking, but excluded by building=*"
    highway, _ = CLASS_MAP.explain({"highway": "primary", "junction": "roundabout"})
    assert highway.words.endswith("but a closed way is a line here: only area=yes makes it an area")
    assert CLASS_MAP.explain({"shop": "toys"}) == ()


def test_the_digest_is_about_labels_not_about_words(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        path = tmp_path / "map.toml"
        path.write_text(text)
        return ClassMap.from_file(path).digest

    assert digest(MINIMAL) == digest(MINIMAL.replace('name = "Pond"', 'name = "Weiher"\nnotes = "still"'))
    assert digest(MINIMAL) != digest(MINIMAL.replace("[50,", "[60,"))
    assert digest(MINIMAL) != digest(MINIMAL.replace('"area"', '"explicit"'))


def test_a_map_travels_by_pickle() -> None:
    copy = pickle.loads(pickle.dumps(CLASS_MAP))  # noqa: S301 - our own bytes
    assert copy.digest == CLASS_MAP.digest
    assert copy.match({"landuse": "forest"}, closed_way=True, area_m2=1e4).class_ids == (65,)


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("[50, 5e5]", "[50, 40]", "line 10, class Pond: area_m2"),
        ("[50, 5e5]", "[50, nan]", "line 10, class Pond: area_m2"),
        (
            '"basin" }, example = { landuse = "basin" }',
            '"basin" }, example = { landuse = "b" }',
            "line 14, class Pond",
        ),
        ("{ water = ", "{ }, unless = { water = ", "line 13, class Pond: rules.0.when"),
        ('"object"', '"thing"', "line 9, class Pond: level"),
        ("slug =", "slag =", "class Pond: slag"),
        ('slug = "pond"', 'slug = "../pond"', "line 7, class Pond: slug"),
        ("id = 0", "id = 1", "ids run 0, 1, 2"),
        ("version = 1", "version = 2", "line 1: version"),
        ("version = 1", "version = ", "is not TOML"),
        ('"basin" }, e', '["*", "basin"] }, e', 'or "*" alone'),
        ("{ water", "{ water = [] }, unless = { water", "wants at least one value"),
    ],
)
def test_a_broken_map_names_the_line_and_the_class(
    tmp_path: Path, change: str, to: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    assert change in MINIMAL
    path.write_text(MINIMAL.replace(change, to, 1))
    with pytest.raises(ClassMapError, match=re.escape(message)) as caught:
        ClassMap.from_file(path)
    assert str(path) in str(caught.value)


def test_a_second_class_is_found_by_its_own_line(tmp_path: Path) -> None:
    second = MINIMAL[MINIMAL.index("[[classes]]") :].replace("id = 0", "id = 1").replace('"Pond"', '"Lake"')
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL + "\n" + second.replace('"pond"', '"lake"').replace("5e5]", "-1]"))
    with pytest.raises(ClassMapError, match="line 23, class Lake: area_m2"):
        ClassMap.from_file(path)
    path.write_text(MINIMAL + "\n" + second)
    with pytest.raises(
        ClassMapError, match=r"line 20, class Lake: slug: each slug is used once; used twice: pond"
    ):
        ClassMap.from_file(path)
    path.write_text(
        MINIMAL.replace("id = 0", "id = 0\npaper_count = 3") + "\n" + second.replace('g = "pond"', 'g = "l"')
    )
    with pytest.raises(ClassMapError, match=r"class Lake: all classes have a paper_count or none"):
        ClassMap.from_file(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'version = 1\nname = "caf\xe9"')
    with pytest.raises(ClassMapError, match="line 2: a class map is UTF-8 text"):
        ClassMap.from_file(path)


def test_the_map_that_the_readme_shows_is_one(tmp_path: Path) -> None:
    readme = bundled("class_maps", "gl10m-66.toml").with_name("README.md")
    path = tmp_path / "readme.toml"
    path.write_text(readme.read_text().split("```toml")[1].split("```")[0])
    assert ClassMap.from_file(path).names == ("Pond",)


def test_the_order_without_counts_is_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    assert ClassMap.from_file(path).rarest([0]) == 0


def test_names_stand_in_the_published_counts_too() -> None:
    published = json.loads(bundled("manifests", "published_counts.json").read_text())
    assert isinstance(published, dict)
