"""Relations and rings as mappers, editors and vandals leave them: the right area, or the reason why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from gl10m.manifest.outcome import Outcome
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import Reason
from pipelines.sources.osm_file import OsmFileError
from pipelines.stages.polygons import read_polygons
from tests.pipelines.test_quick_areas import by_libosmium, pbf
from tests.worlds import square, world_of, write_world

World = Callable[..., Path]
WATER = "Ttype=multipolygon,natural=water"
RULED = world_of(
    square(1, -100, 40, 0.04, "source=survey"),
    square(2, -100, 40, 0.02, "source=survey"),
    square(3, -99.9, 40, 0.02, "source=survey"),
    square(4, -99.99, 40, 0.04, "source=survey"),
    "n501 x-99.98 y39.98\nn502 x-99.96 y39.98\nn503 x-99.96 y40.02\nn504 x-99.98 y40.02",
    "w5 Tsource=survey Nn501,n502,n503,n504,n501",  # shares a side with way 1
    "n601 x-99.98 y40.02\nn602 x-99.96 y40.04\nn603 x-99.98 y40.04",
    "w6 Tsource=survey Nn601,n602,n603,n601",  # shares a corner with way 1
    "n701 x-100 y40\nn702 x-99.9 y40\nn703 x-99.8 y40",
    "w7 Tsource=survey Nn701,n702,n703,n701",  # without an area
    "n801 x-100.02 y39.98\nn802 x-99.99 y39.99",
    "w8 Tsource=survey Nn801,n802,n801",
    "w9 T Nn801,n802",
    "w10 T N",
)


def facts(outcome: Outcome) -> dict[str, Any]:
    """Area in square degrees of what was kept, reason of what was not."""
    shapes = shapely.from_wkb(outcome.kept["geometry"].to_numpy())
    kept = zip(outcome.kept["osm_id"].to_pylist(), shapely.area(shapes).round(9).tolist(), strict=True)
    dropped = zip(outcome.dropped["subject"].to_pylist(), outcome.dropped["reason"].to_pylist(), strict=True)
    return {**{str(name): area for name, area in kept}, **{str(name): why for name, why in dropped}}


@pytest.fixture
def both(tmp_path: Path, class_map: ClassMap, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Outcome]:
    """Read a world by the quick reader and by libosmium alone; both must say the same."""

    def read(world: str) -> Outcome:
        path = pbf(tmp_path, world)
        quick = read_polygons(path, "CA", class_map)
        with monkeypatch.context() as patch:
            patch.setattr(
                "pipelines.stages.polygons.read_areas", lambda path, _: iter([by_libosmium(path, class_map)])
            )
            alone = read_polygons(path, "CA", class_map)
        assert quick.kept.equals(alone.kept)
        assert quick.dropped.equals(alone.dropped)
        return quick

    return read


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param("w1@outer,w2@inner", 0.0012, id="a hole"),
        pytest.param("w1@outer,w2@outer", 0.0012, id="roles are not believed"),
        pytest.param("w1@inner,w2@outer", 0.0012, id="roles the wrong way round"),
        pytest.param("w1@,w2@", 0.0012, id="no roles"),
        pytest.param("w1@outer,w1@outer", 0.0016, id="a member twice"),
        pytest.param("w1@outer,w1@inner", 0.0016, id="a ring inside of itself"),
        pytest.param("w2@outer,w1@inner", 0.0012, id="the inner outside of the outer"),
        pytest.param("w1@outer,w3@inner", 0.002, id="the inner elsewhere"),
        pytest.param("w1@outer,w3@outer", 0.002, id="two islands"),
        pytest.param("w1@outer,w4@outer", "BROKEN_RELATION", id="outers that overlap"),
        pytest.param("w1@outer,w4@inner", "BROKEN_RELATION", id="an inner across the outer"),
        pytest.param("w1@outer,w5@outer", 0.0024, id="rings that share a side"),
        pytest.param("w1@outer,w6@outer", 0.0018, id="rings that share a corner"),
        pytest.param("w7@outer", "BROKEN_RELATION", id="a ring without an area"),
        pytest.param("w1@outer,w7@inner", "BROKEN_RELATION", id="a hole without an area"),
        pytest.param("w8@outer", "BROKEN_RELATION", id="there and back again"),
        pytest.param("w9@outer", "BROKEN_RELATION", id="an open way"),
        pytest.param("w10@outer", "BROKEN_RELATION", id="a way without nodes"),
        pytest.param("w1@outer,w99@inner", "BROKEN_RELATION", id="a member that is not there"),
        pytest.param("r50@outer", "BROKEN_RELATION", id="only itself"),
        pytest.param("w1@outer,r50@outer", 0.0016, id="itself and a ring"),
        pytest.param("n501@label", "BROKEN_RELATION", id="only a node"),
        pytest.param("w1@outer,n501@label", 0.0016, id="a label"),
        pytest.param(",".join(["w1@outer"] * 3000), 0.0016, id="one member 3000 times"),
        pytest.param(
            ",".join(f"w{n}@outer" for n in range(1000, 4000)), "BROKEN_RELATION", id="nothing there"
        ),
    ],
)
def test_a_relation_of(both: Callable[[str], Outcome], members: str, expected: float | str) -> None:
    outcome = both(RULED + f"\nr50 {WATER} M{members}")
    assert facts(outcome) == {"relation/50": expected}


def test_relations_that_contain_each_other(both: Callable[[str], Outcome]) -> None:
    outcome = both(RULED + f"\nr50 {WATER} Mr51@outer,w1@outer\nr51 {WATER} Mr50@outer,w3@outer")
    assert facts(outcome) == {"relation/50": 0.0016, "relation/51": 0.0004}


def star(corners: int, step: int, tags: str) -> str:
    """A ring in which every `step`-th corner of a circle follows the one before."""
    angles = [2 * 3.141592653589793 * n / corners for n in range(corners)]
    points = [shapely.Point(-100, 40).buffer(0.05, quad_segs=1)]
    turn = [shapely.affinity.rotate(points[0], angle, use_radians=True) for angle in angles]
    places = [next(iter(shape.exterior.coords)) for shape in turn]
    nodes = [f"n{n} x{x:.7f} y{y:.7f}" for n, (x, y) in enumerate(places, 1)]
    refs = ",".join(f"n{n * step % corners + 1}" for n in range(corners + 1))
    return "\n".join([*nodes, f"w1 T{tags} N{refs}"])


def test_a_star_is_repaired_by_the_even_odd_rule(both: Callable[[str], Outcome]) -> None:
    outcome = both(star(5, 2, "natural=water"))
    assert 0 < facts(outcome)["way/1"] < 0.05**2 * 3.15 / 2  # five points, and no middle


@pytest.mark.parametrize("corners", [101, 1999])
def test_a_ring_that_crosses_itself_thousands_of_times_is_not_repaired(
    both: Callable[[str], Outcome], corners: int
) -> None:
    outcome = both(star(corners, corners // 2, "natural=water"))
    assert outcome.dropped.select(["subject", "reason", "detail"]).to_pylist() == [
        {
            "subject": "way/1",
            "reason": "INVALID_GEOMETRY",
            "detail": "more than 300 pairs of its edges cross or touch",
        }
    ]


@pytest.mark.parametrize(("corners", "expected"), [(1999, 0.00785), (2000, "INVALID_GEOMETRY")])
def test_a_ring_has_two_thousand_nodes_at_most(
    both: Callable[[str], Outcome], corners: int, expected: float | str
) -> None:
    (fact,) = facts(both(star(corners, 1, "natural=water"))).values()
    assert fact == (expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-3))


def test_a_ring_that_goes_round_and_round(both: Callable[[str], Outcome]) -> None:
    refs = ",".join(["n1,n2,n3"] * 600 + ["n1"])
    outcome = both(f"n1 x10 y40\nn2 x10.01 y40\nn3 x10 y40.01\nw1 Tnatural=water N{refs}")
    assert facts(outcome) == {"way/1": "INVALID_GEOMETRY"}


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        pytest.param([(179.9, 50), (-179.9, 50), (-179.9, 50.1), (179.9, 50.1)], "OFF_THE_MAP", id="across"),
        pytest.param([(179.98, 50), (180, 50), (180, 50.1), (179.98, 50.1)], "OFF_THE_MAP", id="at 180 east"),
        pytest.param([(-180, 50), (-179.9, 50), (-179.9, 50.1)], "OFF_THE_MAP", id="at 180 west"),
        pytest.param([(0, 89.9), (90, 89.8), (180, 89.9), (-90, 89.8)], "OFF_THE_MAP", id="about the pole"),
        pytest.param([(10, -90), (20, -90), (20, -80)], "OFF_THE_MAP", id="on the south pole"),
        pytest.param([(-180, -90), (180, -90), (180, 90), (-180, 90)], "OFF_THE_MAP", id="the whole world"),
        pytest.param([(10, 95), (20, 95), (20, 80)], "INVALID_GEOMETRY", id="north of north"),
        pytest.param([(200, 10), (210, 10), (210, 20)], "INVALID_GEOMETRY", id="beyond 180 degrees"),
        pytest.param([(10, 40), (10.0000001, 40), (10, 40.0000001)], 0.0, id="one centimetre"),
        pytest.param([(10, 40), (10, 40), (10, 40)], "INVALID_GEOMETRY", id="one place"),
        pytest.param([(-170, 0), (170, 0), (170, 1), (-170, 1)], "OFF_THE_MAP", id="the long way round"),
    ],
)
def test_a_ring_at(
    both: Callable[[str], Outcome], corners: list[tuple[float, float]], expected: float | str
) -> None:
    nodes = [f"n{n} x{x} y{y}" for n, (x, y) in enumerate(corners, 1)]
    refs = ",".join(f"n{n}" for n in [*range(1, len(corners) + 1), 1])
    outcome = both("\n".join([*nodes, f"w1 Tnatural=water N{refs}"]))
    assert facts(outcome) == {"way/1": expected}


@pytest.mark.parametrize("number", [2**31, 2**34 + 1, 2**40])
def test_a_large_id_is_kept_to_the_last_digit(both: Callable[[str], Outcome], number: int) -> None:
    world = square(7, 10, 40, 0.01, "natural=water").replace("w7 ", f"w{number} ")
    world = world.replace("n74", f"n{number}")
    outcome = both(f"{world}\nr{number} {WATER} Mw{number}@outer")
    assert facts(outcome) == {f"way/{number}": 0.0001, f"relation/{number}": 0.0001}


@pytest.mark.parametrize("number", [2**40 + 1, 2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("name", ["huge.opl", "huge.osm.pbf"])
def test_an_id_beyond_all_ids_is_refused(tmp_path: Path, class_map: ClassMap, name: str, number: int) -> None:
    world = square(7, 10, 40, 0.01, "natural=water").replace("w7 ", f"w{number} ")
    write = pbf if name.endswith("pbf") else lambda folder, text, name: write_world(folder / name, text)
    with pytest.raises(OsmFileError, match=rf"{name} holds an object with the id {number}: .* renumber"):
        read_polygons(write(tmp_path, world, name), "CA", class_map)


@pytest.mark.parametrize("number", [-5, 0, 2**40 + 1, 2**53 + 1, 2**63 - 1])
def test_a_member_beyond_all_ids_is_not_in_the_file(both: Callable[[str], Outcome], number: int) -> None:
    outcome = both(RULED + f"\nr50 {WATER} Mw1@outer,w{number}@outer")
    assert facts(outcome) == {"relation/50": "BROKEN_RELATION"}


@pytest.mark.parametrize("kind", ["n", "w", "r"])
def test_a_negative_id_is_an_editors(osm_world: World, class_map: ClassMap, kind: str) -> None:
    world = square(7, 10, 40, 0.01, "natural=water") + f"\nr7 {WATER} Mw7@outer"
    world = {
        "n": world.replace("n7", "n-7"),
        "w": world.replace("w7", "w-7"),
        "r": world.replace("r7", "r-7"),
    }[kind]
    with pytest.raises(OsmFileError, match="osmium renumber"):
        read_polygons(osm_world(world), "CA", class_map)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "0x10", "", " 1", "1,5", "181", "1e-400"])
def test_coordinates_that_are_no_places(tmp_path: Path, class_map: ClassMap, value: str) -> None:
    path = tmp_path / "odd.osm"
    nodes = "".join(
        f'<node id="{n}" version="1" lat="4{n}" lon="{x}"/>' for n, x in ((1, "1"), (2, value), (3, "2"))
    )
    refs = "".join(f'<nd ref="{n}"/>' for n in (1, 2, 3, 1))
    way = f'<way id="1" version="1">{refs}<tag k="natural" v="water"/></way>'
    path.write_text(f'<?xml version="1.0"?><osm version="0.6">{nodes}{way}</osm>')
    try:
        outcome = read_polygons(path, "CA", class_map)
    except OsmFileError as error:
        assert "odd.osm" in str(error)  # noqa: PT017 - one of two good ends
    else:
        (fact,) = facts(outcome).values()
        assert fact == "INVALID_GEOMETRY" or 0 < fact < 10


@st.composite
def worlds(draw: st.DrawFn) -> str:
    """Rings and open ways over a few nodes, and relations of any of them, of each other and of none."""
    nodes = draw(st.integers(3, 12))
    place = st.tuples(st.integers(0, 3), st.integers(0, 3))
    lines = [
        f"n{n} x{10 + x / 100} y{40 + y / 100}"
        for n, (x, y) in enumerate([draw(place) for _ in range(nodes)], 1)
    ]
    ways = draw(st.integers(1, 6))
    for number in range(1, ways + 1):
        refs = draw(st.lists(st.integers(1, nodes + 1), max_size=7))
        refs += refs[:1] if draw(st.booleans()) else []
        tags = draw(st.sampled_from(["", "natural=water", "landuse=forest,area=no", "highway=primary"]))
        lines.append(f"w{number} T{tags} N{','.join(f'n{n}' for n in refs)}")
    member = st.tuples(
        st.sampled_from("wwwwrn"), st.integers(1, ways + 1), st.sampled_from(["outer", "inner", ""])
    )
    for number in range(1, draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["multipolygon", "boundary", "route"]))
        members = ",".join(f"{a}{b}@{c}" for a, b, c in draw(st.lists(member, max_size=6)))
        lines.append(f"r{number} Ttype={kind},natural=wood M{members}")
    return "\n".join(lines)


@settings(max_examples=40)
@given(worlds())
def test_any_world_gives_the_same_by_both_readers_and_adds_up(
    tmp_path_factory: pytest.TempPathFactory, class_map: ClassMap, world: str
) -> None:
    folder = tmp_path_factory.mktemp("world")
    text = read_polygons(write_world(folder / "world.opl", world), "CA", class_map)
    quick = read_polygons(pbf(folder, world), "CA", class_map)
    assert quick.kept.equals(text.kept)
    assert quick.dropped.equals(text.dropped)
    assert shapely.is_valid(shapely.from_wkb(quick.kept["geometry"].to_numpy())).all()
    assert set(quick.dropped["reason"].to_pylist()) <= {reason.value for reason in Reason}
