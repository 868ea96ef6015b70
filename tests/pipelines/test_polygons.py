import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import osmium
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import POLYGONS
from gl10m.scene.class_map import ClassMap
from pipelines.sources.osm_file import OsmFileError
from pipelines.stages.polygons import areas_m2, read_polygons
from tests.worlds import square, world_of

World = Callable[..., Path]
GOLF = """
    n1 x-121.000 y37.000
    n2 x-121.000 y37.001
    n3 x-120.999 y37.001
    w9 Tleisure=golf_course,name=Old%20%Course Nn1,n2,n3,n1
"""


def names(outcome: Outcome) -> list[Any]:
    return outcome.kept["osm_id"].to_pylist()


def dropped(outcome: Outcome) -> dict[Any, Any]:
    subjects, reasons = outcome.dropped["subject"].to_pylist(), outcome.dropped["reason"].to_pylist()
    return dict(zip(subjects, reasons, strict=True))


def shape(outcome: Outcome, row: int = 0) -> Any:  # noqa: ANN401 - a geometry of any kind
    return shapely.from_wkb(outcome.kept["geometry"].to_pylist())[row]


def test_a_closed_way_becomes_a_polygon(osm_world: World, class_map: ClassMap) -> None:
    outcome = read_polygons(osm_world(GOLF), "CA", class_map)
    assert outcome.kept.schema.equals(POLYGONS.schema)
    (row,) = outcome.kept.to_pylist()
    assert (row["state"], row["osm_id"], row["closed_way"]) == ("CA", "way/9", True)
    assert row["tags"] == [("leisure", "golf_course"), ("name", "Old Course")]
    triangle = shapely.Polygon([(-121, 37), (-121, 37.001), (-120.999, 37.001)])
    assert shape(outcome).equals(triangle)
    assert row["area_m2"] == pytest.approx(abs(Geod(ellps="WGS84").geometry_area_perimeter(triangle)[0]))
    assert (row["longitude"], row["latitude"]) == (-120.9996667, 37.0006667)


def test_a_relation_keeps_its_hole(osm_world: World, class_map: ClassMap) -> None:
    world = world_of(
        square(1, -100, 40, 0.01, "source=survey"),
        square(2, -100, 40, 0.004, "natural=wood"),
        "r7 Ttype=multipolygon,natural=water Mw1@outer,w2@inner",
    )
    outcome = read_polygons(osm_world(world), "CO", class_map)
    assert names(outcome) == ["way/2", "relation/7"]
    lake = shape(outcome, 1)
    assert lake.area == pytest.approx(0.01**2 - 0.004**2)
    anchor = shapely.Point(outcome.kept["longitude"][1].as_py(), outcome.kept["latitude"][1].as_py())
    assert lake.contains(anchor)  # the centroid is in the hole
    assert outcome.kept["closed_way"].to_pylist() == [True, False]


@pytest.mark.parametrize("kind", ["boundary", "multipolygon"])
def test_a_relation_is_stitched_from_open_ways(osm_world: World, class_map: ClassMap, kind: str) -> None:
    outcome = read_polygons(
        osm_world(f"""
            n1 x-100 y40
            n2 x-99.9 y40
            n3 x-99.9 y40.1
            w1 T Nn1,n2
            w2 T Nn2,n3,n1
            r3 Ttype={kind},boundary=national_park Mw1@outer,w2@
        """),
        "CO",
        class_map,
    )
    assert names(outcome) == ["relation/3"]
    assert shape(outcome).area == pytest.approx(0.005)


def test_objects_that_are_no_areas_are_told_by_reason(osm_world: World, class_map: ClassMap) -> None:
    nodes = "\n".join(f"n{n} x{-100 + n * 0.001} y{40 + n % 2 * 0.001}" for n in range(1, 6))
    outcome = read_polygons(
        osm_world(
            world_of(
                nodes,
                "w1 Thighway=primary Nn1,n2,n3,n1",
                "w2 Tlanduse=forest,area=no Nn1,n2,n3,n1",
                "w3 Tlanduse=forest Nn1,n2,n1",
                "w4 Tlanduse=forest Nn1,n2,n99,n1",
                "w5 Tlanduse=forest Nn1,n3,n5,n1",
                "w6 Tlanduse=forest Nn1,n2,n3",
                "w7 Tbuilding=yes Nn1,n2,n3,n1",
                "w8 Tlanduse=forest Nn1,n2,n3,n1",
                "r1 Ttype=multipolygon,natural=water Mw99@outer",
                "r2 Ttype=multipolygon,natural=water Mw6@outer",
                "r3 Ttype=route,natural=water Mw8@",
                "r4 Ttype=multipolygon,natural=water Mn1@label",
            )
        ),
        "CO",
        class_map,
    )
    assert names(outcome) == ["way/8"]
    assert dropped(outcome) == {
        "way/1": "NOT_AN_AREA",
        "way/2": "NOT_AN_AREA",
        "way/3": "INVALID_GEOMETRY",
        "way/4": "INVALID_GEOMETRY",
        "way/5": "INVALID_GEOMETRY",  # three nodes in a line
        "relation/1": "BROKEN_RELATION",
        "relation/2": "BROKEN_RELATION",
        "relation/4": "BROKEN_RELATION",
    }
    assert outcome.read == 9


def test_a_ring_that_crosses_itself_is_repaired_once(osm_world: World, class_map: ClassMap) -> None:
    outcome = read_polygons(
        osm_world("""
            n1 x-100 y40
            n2 x-99.99 y40.01
            n3 x-99.99 y40
            n4 x-100 y40.01
            w1 Tlanduse=forest Nn1,n2,n3,n4,n1
        """),
        "CO",
        class_map,
    )
    assert names(outcome) == ["way/1"]
    assert outcome.kept["tags"].to_pylist() == [[("landuse", "forest")]]
    repaired = shape(outcome)
    assert repaired.geom_type == "MultiPolygon"
    assert repaired.is_valid
    assert repaired.area == pytest.approx(0.01**2 / 2)


@pytest.mark.parametrize(("longitude", "latitude"), [(179.995, 50), (-179.999, 50), (20, 86), (20, -89.9)])
def test_no_scene_can_stand_at_the_edge_of_the_map(
    osm_world: World, class_map: ClassMap, longitude: float, latitude: float
) -> None:
    world = square(1, longitude, latitude, 0.001, "landuse=forest")
    assert dropped(read_polygons(osm_world(world), "CA", class_map)) == {"way/1": "OFF_THE_MAP"}


def test_a_ring_around_the_antimeridian_is_off_the_map(osm_world: World, class_map: ClassMap) -> None:
    world = "n1 x179.9 y50\nn2 x-179.9 y50\nn3 x-179.9 y51\nw1 Tlanduse=forest Nn1,n2,n3,n1"
    assert dropped(read_polygons(osm_world(world), "AK", class_map)) == {"way/1": "OFF_THE_MAP"}


def test_several_values_in_one_tag_are_found(osm_world: World, class_map: ClassMap) -> None:
    world = square(1, -100, 40, 0.001, "landuse=forest;meadow")
    assert names(read_polygons(osm_world(world), "CO", class_map)) == ["way/1"]


MANY = world_of(
    *(square(n, -100 + n * 0.01, 40, 0.004, "landuse=forest") for n in (1, 2, 3, 12)),
    "r2 Ttype=multipolygon,natural=water Mw1@outer,w2@outer",
    "r1 Ttype=boundary,boundary=national_park Mw3@outer",
)


@settings(max_examples=30)
@given(st.permutations(MANY.splitlines()))
def test_the_order_of_the_file_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, class_map: ClassMap, lines: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("shuffled")
    (folder / "world.opl").write_text("\n".join(lines) + "\n")
    outcome = read_polygons(folder / "world.opl", "CO", class_map)
    (folder / "sorted.opl").write_text(MANY + "\n")
    assert outcome.kept.equals(read_polygons(folder / "sorted.opl", "CO", class_map).kept)
    assert names(outcome) == ["way/1", "way/2", "way/3", "way/12", "relation/1", "relation/2"]


@pytest.mark.parametrize("name", ["w.osm.pbf", "w.osm", "w.osm.gz", "w.osm.bz2", "w.pbf"])
def test_every_format_gives_the_same(
    osm_world: World, class_map: ClassMap, tmp_path: Path, name: str
) -> None:
    path = osm_world(MANY)
    with osmium.SimpleWriter(str(tmp_path / name)) as writer:
        for entity in osmium.FileProcessor(str(path)):
            writer.add(entity)
    assert read_polygons(tmp_path / name, "CO", class_map).kept.equals(
        read_polygons(path, "CO", class_map).kept
    )


def test_an_extract_without_anything_of_interest_gives_no_row(osm_world: World, class_map: ClassMap) -> None:
    outcome = read_polygons(osm_world(square(1, -100, 40, 0.001, "building=yes")), "CO", class_map)
    assert (outcome.read, outcome.kept.num_rows) == (0, 0)
    assert outcome.kept.schema.equals(POLYGONS.schema)


class TestFilesThatAreNoExtracts:
    @pytest.mark.parametrize("name", ["a.osm.pbf", "a.osm", "a.osm.gz", "a.osm.bz2", "a.opl"])
    @pytest.mark.parametrize("content", [b"", b"hello, world\n" * 100, bytes(range(256)) * 8])
    def test_garbage(self, tmp_path: Path, class_map: ClassMap, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OsmFileError, match=name):
            read_polygons(tmp_path / name, "CA", class_map)

    @pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
    def test_truncated(self, osm_world: World, tmp_path: Path, class_map: ClassMap, kept: float) -> None:
        whole = tmp_path / "whole.osm.pbf"
        with osmium.SimpleWriter(str(whole)) as writer:
            for entity in osmium.FileProcessor(str(osm_world(MANY))):
                writer.add(entity)
        cut = tmp_path / "cut.osm.pbf"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
        with pytest.raises(OsmFileError, match="cut short"):
            read_polygons(cut, "CA", class_map)

    def test_truncated_gzip(self, osm_world: World, tmp_path: Path, class_map: ClassMap) -> None:
        packed = gzip.compress(osm_world(MANY).read_bytes())
        (tmp_path / "cut.osm.gz").write_bytes(packed[: len(packed) // 2])
        with pytest.raises(OsmFileError, match="cut short"):
            read_polygons(tmp_path / "cut.osm.gz", "CA", class_map)

    def test_without_objects(self, tmp_path: Path, class_map: ClassMap) -> None:
        with osmium.SimpleWriter(str(tmp_path / "none.osm.pbf")):
            pass
        with pytest.raises(OsmFileError, match="holds no OSM object"):
            read_polygons(tmp_path / "none.osm.pbf", "CA", class_map)

    def test_unsaved_objects(self, osm_world: World, class_map: ClassMap) -> None:
        world = GOLF.replace("n1", "n-1").replace("w9", "w-9")
        with pytest.raises(OsmFileError, match="osmium renumber"):
            read_polygons(osm_world(world), "CA", class_map)

    def test_missing(self, tmp_path: Path, class_map: ClassMap) -> None:
        with pytest.raises(FileNotFoundError, match="give the path of an extract"):
            read_polygons(tmp_path / "no.osm.pbf", "CA", class_map)

    def test_of_another_kind(self, osm_world: World, class_map: ClassMap) -> None:
        with pytest.raises(OsmFileError, match="told by the end of its name"):
            read_polygons(osm_world(GOLF, "world.shp"), "CA", class_map)


def test_areas_are_geodesic_and_without_holes() -> None:
    ring = [(-100, 40), (-99, 40), (-99, 41), (-100, 41)]
    hole = [(-99.6, 40.4), (-99.4, 40.4), (-99.4, 40.6), (-99.6, 40.6)]
    shapes = [
        shapely.Polygon(ring, [hole]),
        shapely.MultiPolygon([shapely.Polygon(hole), shapely.box(0, 0, 1, 1)]),
    ]
    expected = [
        abs(Geod(ellps="WGS84").geometry_area_perimeter(one)[0])
        for one in map(shapely.orient_polygons, shapes)
    ]
    assert areas_m2(shapely.transform(shapes, lambda corners: corners)) == pytest.approx(expected, rel=1e-9)
