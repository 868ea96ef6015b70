"""The quick reader of .osm.pbf files against libosmium alone, which gives the same to the byte."""

import random
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import osmium
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gl10m.scene.class_map import ClassMap
from pipelines.sources.osm_areas import FoundAreas, found_areas
from pipelines.sources.osm_file import OsmFileError, readable, sorted_osm_file
from pipelines.sources.pbf_areas import quick_areas
from pipelines.sources.pbf_blobs import NODES, RELATIONS, WAYS, UnusualFileError, blob_file, frame
from pipelines.sources.pbf_fields import MalformedError, decoded, delimited, encoded, fields, unzigzag, zigzag
from pipelines.sources.pbf_ways import strings_of
from pipelines.stages.polygons import interest_of, read_areas, read_polygons
from tests.worlds import REAL_OSM, square, world_of, write_world

QUICK = (
    "bangor_maine.osm.pbf",  # nodes, ways and relations in one block
    "felton_california.osm.pbf",
    "liechtenstein.osm.pbf",
)
BY_LIBOSMIUM = (
    "columbus_ohio.unsorted.osm.pbf",
    "harrisburg_pennsylvania.osm.pbf",
    "roosevelt_seattle_washington.osm",
)


def pbf(folder: Path, world: str, name: str = "world.osm.pbf") -> Path:
    """A world as a sorted PBF that libosmium writes."""
    header = osmium.io.Header()
    header.set("sorting", "Type_then_ID")
    source = write_world(folder / "source.opl", world)
    with osmium.SimpleWriter(str(folder / name), header=header) as writer:
        for entity in osmium.FileProcessor(str(source)):
            writer.add(entity)
    return folder / name


def by_libosmium(path: Path, class_map: ClassMap) -> FoundAreas:
    with sorted_osm_file(path) as file, readable(path):
        return found_areas(file, interest_of(class_map))


def whole(parts: Iterable[FoundAreas]) -> FoundAreas:
    """All parts as one."""
    found = list(parts)

    def joined(name: str) -> list[int]:
        return [number for part in found for number in getattr(part, name)]

    return FoundAreas(
        np.concatenate([part.ways for part in found]),
        np.concatenate([part.relations for part in found]),
        pa.concat_arrays([part.tags for part in found]),
        np.concatenate([part.geometry for part in found]),
        np.concatenate([part.valid for part in found]),
        joined("incomplete"),
        joined("unfit"),
        joined("lines"),
        joined("degenerate"),
    )


def assert_same(one: FoundAreas, other: FoundAreas) -> None:
    assert one.ways.tolist() == other.ways.tolist()
    assert one.relations.tolist() == other.relations.tolist()
    missing = [geometry is None for geometry in other.geometry]
    assert [geometry is None for geometry in one.geometry] == missing
    for ours, theirs, absent in zip(one.tags.to_pylist(), other.tags.to_pylist(), missing, strict=True):
        assert absent or ours == theirs
    for name in ("incomplete", "unfit", "lines", "degenerate"):
        assert getattr(one, name) == getattr(other, name), name


def assert_equal_stages(path: Path, class_map: ClassMap, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = read_polygons(path, "CA", class_map)
    monkeypatch.setattr(
        "pipelines.stages.polygons.read_areas", lambda path, _: iter([by_libosmium(Path(path), class_map)])
    )
    theirs = read_polygons(path, "CA", class_map)
    assert ours.read == theirs.read
    assert ours.kept.equals(theirs.kept)
    assert ours.dropped.equals(theirs.dropped)


@pytest.mark.parametrize("name", [*QUICK, *BY_LIBOSMIUM])
def test_real_extracts_give_the_same(name: str, class_map: ClassMap, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (REAL_OSM / name).is_file():
        pytest.skip(f"the real extract {name} is not here")
    assert_equal_stages(REAL_OSM / name, class_map, monkeypatch)


@pytest.mark.parametrize("name", QUICK)
def test_sorted_extracts_are_read_quickly(name: str, class_map: ClassMap) -> None:
    if not (REAL_OSM / name).is_file():
        pytest.skip(f"the real extract {name} is not here")
    assert sum(len(part.ways) for part in quick_areas(REAL_OSM / name, interest_of(class_map)))


TRAPS = world_of(
    *(square(n, -100 + n * 0.01, 40, 0.004, "landuse=forest") for n in (1, 2, 3, 12)),
    square(4, -99, 40, 0.02, "source=survey"),
    square(5, -99, 40, 0.01, "natural=wood,name=Höhe"),
    square(6, 179.999, 40, 0.01, "natural=wood"),
    "n900 x-98 y40\nn901 x-97.99 y40.01\nn902 x-97.99 y40\nn903 x-98 y40.01\nn904 x-98 y40",
    "w900 Tlanduse=forest Nn900,n901,n902,n903,n900",  # crosses itself
    "w901 Tlanduse=forest Nn900,n904,n902,n901,n900",  # stands still
    "w902 Tlanduse=forest Nn900,n902,n999,n900",  # lacks a node
    "w903 Tlanduse=forest Nn900,n902,n900",  # too short
    "w904 Tlanduse=forest,area=no Nn900,n901,n902,n900",
    "w905 Thighway=primary Nn900,n901,n902,n900",
    "w906 Tlanduse=forest;meadow Nn902,n901,n900,n902",
    "w907 Tlanduse=forest Nn900,n901,n902",
    "w908 Tlanduse=forest N",
    "w909 T Nn900,n902,n901",
    "w910 T Nn901,n903,n900",
    "r1 Ttype=multipolygon,natural=water Mw4@outer,w5@inner",
    "r2 Ttype=multipolygon,natural=water Mw909@outer,w910@outer",
    "r3 Ttype=multipolygon,natural=water Mw907@outer",
    "r4 Ttype=boundary,boundary=national_park Mw9999@outer",
    "r5 Ttype=route,natural=water Mw4@",
    "r6 Ttype=multipolygon,natural=water Mw902@outer",
)


def test_a_world_of_traps(tmp_path: Path, class_map: ClassMap, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pbf(tmp_path, TRAPS)
    quick = whole(quick_areas(path, interest_of(class_map)))
    assert_same(quick, by_libosmium(path, class_map))
    assert quick.lines == [904, 905]
    assert quick.degenerate == [903]
    assert quick.relations.tolist() == [1, 2]
    assert_equal_stages(path, class_map, monkeypatch)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_ring_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, class_map: ClassMap, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("rings")
    grid = st.tuples(st.integers(0, 4), st.integers(0, 4))
    corners = data.draw(st.lists(grid, min_size=3, max_size=40))
    lines = [f"n{n} x{10 + x / 100:.7f} y{40 + y / 100:.7f}" for n, (x, y) in enumerate(corners, 1)]
    for number in range(1, len(corners) // 4 + 2):
        ring = data.draw(st.lists(st.integers(1, len(corners)), min_size=3, max_size=9))
        nodes = ",".join(f"n{n}" for n in [*ring, ring[0]])
        lines.append(f"w{number} Tlanduse=forest N{nodes}")
    lines.append("r1 Ttype=multipolygon,natural=water Mw1@outer,w2@inner")
    path = pbf(folder, "\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        assert_equal_stages(path, class_map, patch)


@pytest.mark.parametrize(
    "world",
    [
        world_of(square(1, 10, 40, 0.01, "landuse=forest")).replace("w1 ", "w-1 "),
        world_of(square(1, 10, 40, 0.01, "landuse=forest")).replace("n11 ", "n99 "),
    ],
)
def test_what_is_not_in_order_is_left_to_libosmium(tmp_path: Path, class_map: ClassMap, world: str) -> None:
    with pytest.raises(UnusualFileError):
        quick_areas(pbf(tmp_path, world), interest_of(class_map))


class Pieces:
    """A world of one block of nodes, one of ways and one of relations, to be laid out anew."""

    def __init__(self, path: Path) -> None:
        with blob_file(path) as blobs:
            self.header = blobs.header
            blocks = [next(blobs.blocks(kind)) for kind in (NODES, WAYS, RELATIONS)]
        self.strings = [block.content[slice(*block.strings)] for block in blocks[1:]]
        groups = [b"".join(block.content[first:last] for first, last in block.groups) for block in blocks]
        shift = len(strings_of(blocks[1]))
        self.nodes, self.ways = delimited(2, groups[NODES]), delimited(2, groups[WAYS])
        self.relations = delimited(2, b"".join(shifted(*one, shift) for one in each(groups[RELATIONS])))

    def write(self, path: Path, *blocks: bytes) -> Path:
        """A file of blocks that share one string table."""
        table = delimited(1, b"".join(self.strings))
        path.write_bytes(self.header + b"".join(frame(table + block) for block in blocks))
        return path


def each(group: bytes) -> list[tuple[int, bytes]]:
    return [(key, group[first:last]) for key, first, last in fields(group, 0, len(group))]


def shifted(number: int, relation: bytes, shift: int) -> bytes:
    """A relation whose strings stand later in the table."""
    parts = []
    for key, first, last in fields(relation, 0, len(relation)):
        if last < 0:
            parts.append(encoded(np.array([key << 3, first])))
        elif key in {2, 3, 8}:  # keys, values, roles
            places = decoded(np.frombuffer(relation[first:last], np.uint8)) + shift
            parts.append(delimited(key, encoded(places)))
        else:
            parts.append(delimited(key, relation[first:last]))
    return delimited(number, b"".join(parts))


class TestBlocksOfSeveralKinds:
    @pytest.mark.parametrize("borders", ["nwr", "nw r", "n wr", "n w r"])
    def test_they_are_read_quickly(
        self, tmp_path: Path, class_map: ClassMap, monkeypatch: pytest.MonkeyPatch, borders: str
    ) -> None:
        world = pbf(tmp_path, TRAPS)
        pieces = Pieces(world)
        of = {"n": pieces.nodes, "w": pieces.ways, "r": pieces.relations}
        blocks = [b"".join(of[kind] for kind in block) for block in borders.split()]
        path = pieces.write(tmp_path / "mixed.osm.pbf", *blocks)
        quick = whole(quick_areas(path, interest_of(class_map)))
        assert_same(quick, whole(quick_areas(world, interest_of(class_map))))
        assert_equal_stages(path, class_map, monkeypatch)

    @pytest.mark.parametrize("borders", ["wn r", "nr w", "w n r", "nr nw", "n wr w"])
    def test_nothing_is_lost_where_they_are_out_of_order(
        self, tmp_path: Path, class_map: ClassMap, borders: str
    ) -> None:
        pieces = Pieces(pbf(tmp_path, TRAPS))
        of = {"n": pieces.nodes, "w": pieces.ways, "r": pieces.relations}
        blocks = [b"".join(of[kind] for kind in block) for block in borders.split()]
        path = pieces.write(tmp_path / "mixed.osm.pbf", *blocks)
        with pytest.raises(UnusualFileError):
            quick_areas(path, interest_of(class_map))


@pytest.mark.parametrize("corners", [100, 3000])
def test_the_parts_do_not_matter(class_map: ClassMap, monkeypatch: pytest.MonkeyPatch, corners: int) -> None:
    path = REAL_OSM / "liechtenstein.osm.pbf"
    if not path.is_file():
        pytest.skip("the real extract liechtenstein.osm.pbf is not here")
    expected = read_polygons(path, "CA", class_map)
    monkeypatch.setattr("pipelines.sources.pbf_areas.CORNERS_AT_ONCE", corners)
    monkeypatch.setattr("pipelines.sources.pbf_areas.CORNERS_BY_LIBOSMIUM", corners)
    parts = list(quick_areas(path, interest_of(class_map)))
    assert sum(len(part.ways) > 0 for part in parts) > 3
    assert sum(len(part.relations) > 0 for part in parts) > 1
    outcome = read_polygons(path, "CA", class_map)
    assert outcome.kept.equals(expected.kept)
    assert outcome.dropped.equals(expected.dropped)


def framed(blob: bytes, kind: bytes = b"OSMData") -> bytes:
    header = delimited(1, kind) + bytes([24]) + encoded(np.array([len(blob)]))
    return struct.pack(">I", len(header)) + header + blob


class TestHostileFiles:
    @pytest.mark.parametrize(
        "tail",
        [
            b"\xff\xff\xff\xff",
            struct.pack(">I", 12) + b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01" + bytes(2),
            framed(b"\x10\x05" + delimited(3, zlib.compress(bytes(50_000_000)))),  # claims five bytes
            framed(b"\x10\x80\x80\x80\x80\x04" + delimited(3, zlib.compress(bytes(5)))),  # claims a GiB
            framed(b"\x10\x05" + delimited(3, b"not zlib")),
            framed(delimited(1, b"\x0a\xff\xff\x7f")),
        ],
        ids=["header", "data", "bomb", "claim", "zlib", "block"],
    )
    def test_false_claims(self, tmp_path: Path, class_map: ClassMap, tail: bytes) -> None:
        path = pbf(tmp_path, TRAPS)
        path.write_bytes(path.read_bytes() + tail)
        with pytest.raises(OsmFileError, match=r"world\.osm\.pbf cannot be read"):
            list(read_areas(path, interest_of(class_map)))

    def test_a_string_that_would_end_early(self, tmp_path: Path, class_map: ClassMap) -> None:
        path = pbf(tmp_path, TRAPS)
        path.write_bytes(unpacked(path).replace(b"multipolygon", b"multi\0olygon"))
        with pytest.raises(OsmFileError, match="a zero byte within a string"):
            list(read_areas(path, interest_of(class_map)))

    def test_flipped_bytes(self, tmp_path: Path, class_map: ClassMap) -> None:
        intact, chance = unpacked(pbf(tmp_path, TRAPS)), random.Random(0)  # noqa: S311 - a seed for a test
        path = tmp_path / "flipped.osm.pbf"
        for _ in range(200):
            content = bytearray(intact)
            for _ in range(chance.randint(1, 3)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            path.write_bytes(content)
            try:
                with readable(path):
                    whole(quick_areas(path, interest_of(class_map)))
            except (OsmFileError, UnusualFileError):
                continue


def unpacked(path: Path) -> bytes:
    """The same file with its blobs unpacked, so that a flipped byte reaches the decoder."""
    with blob_file(path) as blobs, path.with_suffix(".raw").open("w+b") as out:
        out.write(blobs.header)
        for number in range(1, len(blobs)):
            out.write(frame(blobs.inflated(number)))
        out.seek(0)
        return out.read()


@given(st.lists(st.integers(-(2**61), 2**61)))
def test_varints_come_back(values: list[int]) -> None:
    numbers = np.array(values, np.int64)
    assert unzigzag(decoded(np.frombuffer(encoded(zigzag(numbers)), np.uint8))).tolist() == values


@pytest.mark.parametrize("packed", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01"])
def test_a_varint_has_an_end(packed: bytes) -> None:
    with pytest.raises(MalformedError):
        decoded(np.frombuffer(packed, np.uint8))
