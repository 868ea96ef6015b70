"""Small OSM files that unfold into something large: bounded memory and time, and words that help."""

import bz2
import gzip
import logging
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gl10m.scene.class_map import ClassMap
from pipelines.sources import isolated
from pipelines.sources.osm_file import OsmFileError
from pipelines.sources.pbf_fields import delimited, encoded_one
from pipelines.stages.polygons import read_polygons
from tests.pipelines.memory import grown, peaks
from tests.pipelines.test_mutated_osm import Blobs, blobs_of, written
from tests.pipelines.test_quick_areas import pbf
from tests.worlds import square

HEAD = b'<?xml version="1.0"?><osm version="0.6">'
NODE = b'<node id="7" version="1" lat="1" lon="1"/>'
MIB = 1 << 20
LAKE = square(1, 10, 40, 0.01, "natural=water")


@pytest.fixture
def read(
    tmp_path: Path, class_map: ClassMap, caplog: pytest.LogCaptureFixture
) -> Callable[..., dict[str, str]]:
    """Read a file in bounded memory: what was kept, and what was not and why."""

    def reading(
        name: str, content: bytes, *, ours: int = 300 * MIB, childs: int = 300 * MIB
    ) -> dict[str, str]:
        path = tmp_path / name
        path.write_bytes(content)
        with caplog.at_level(logging.DEBUG, "gl10m"), grown() as growth:
            try:
                outcome = read_polygons(path, "CA", class_map)
            finally:
                assert growth() < ours
                assert max(peaks(caplog), default=0) < childs
        found = dict.fromkeys(map(str, outcome.kept["osm_id"].to_pylist()), "kept")
        subjects, reasons = outcome.dropped["subject"].to_pylist(), outcome.dropped["reason"].to_pylist()
        return found | dict(zip(map(str, subjects), map(str, reasons), strict=True))

    return reading


Read = Callable[..., dict[str, str]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("blanks.osm.gz", gzip.compress(HEAD + b" " * (256 * MIB), 1), "no element found"),
        ("nodes.osm.gz", gzip.compress(HEAD + NODE * 500_000), "no element found"),
        ("nodes.osm.bz2", bz2.compress(HEAD + NODE * 500_000), "no element found"),
        (
            "blanks.opl.gz",
            gzip.compress(b"n1 x1 y1\n" + b" " * (256 * MIB), 1),
            "told by the end of its name",
        ),
    ],
)
def test_what_inflates_a_thousandfold(read: Read, name: str, content: bytes, words: str) -> None:
    assert len(content) < 3 * MIB
    with pytest.raises(OsmFileError, match=words):
        read(name, content)


def test_one_word_of_a_gigabyte_meets_the_limit_of_memory(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "MEMORY_BYTES", 400 * MIB)
    packer = bz2.BZ2Compressor()
    head = packer.compress(HEAD + b'<node id="1" x="')
    word = b"".join(packer.compress(b"a" * MIB) for _ in range(400))
    with pytest.raises(
        OsmFileError, match=r"word\.osm\.bz2 .* more than the 400 MiB of memory .*hostile-input"
    ):
        read("word.osm.bz2", head + word + packer.flush(), childs=410 * MIB)


@pytest.mark.parametrize(
    "declared",
    [
        b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10 if n else b"lol") for n in range(10)),
        b'<!ENTITY l9 SYSTEM "file:///etc/hostname">',
    ],
    ids=["laughs", "a file"],
)
def test_entities_of_xml(read: Read, declared: bytes) -> None:
    node = b'<node id="1" lat="1" lon="1"><tag k="natural" v="&l9;"/></node></osm>'
    content = b'<?xml version="1.0"?><!DOCTYPE osm [' + declared + b']><osm version="0.6">' + node
    with pytest.raises(OsmFileError, match="XML entities are not supported"):
        read("laughs.osm", content)


def lake(folder: Path) -> Blobs:
    return blobs_of(pbf(folder, LAKE))


def block(strings: bytes, group: bytes) -> tuple[bytes, bytes]:
    return b"OSMData", delimited(1, strings) + delimited(2, group)


def test_string_tables_of_31_megabytes(read: Read, tmp_path: Path) -> None:
    header, nodes, ways = lake(tmp_path)
    words = b"".join(delimited(1, text) for text in (b"", b"natural", b"water"))
    padding = delimited(1, b"a" * 1000) * (31 * MIB // 1003)
    way = b"\x08\x05" + delimited(2, b"\x01") + delimited(3, b"\x02")
    large = [block(words + padding, delimited(3, bytes([8, number]) + way[2:])) for number in range(2, 12)]
    content = written([header, nodes, ways, *large])
    assert len(content) < 2 * MIB
    assert read("strings.osm.pbf", content, childs=1200 * MIB) == {"way/1": "kept"}


def ring(corners: int) -> bytes:
    """Packed refs of a ring that goes to and fro between two nodes: 11, 12, 11, 12 ... 11."""
    return encoded_one(22) + b"\x02\x01" * ((corners - 1) // 2)


def ways_of(corners: int, number: int, first: int) -> tuple[bytes, bytes]:
    """A block of lakes that are such rings."""
    words = b"".join(delimited(1, text) for text in (b"", b"natural", b"water"))
    rest = delimited(2, b"\x01") + delimited(3, b"\x02") + delimited(8, ring(corners))
    ids = [b"\x08" + encoded_one(n) for n in range(first, first + number)]
    return block(words, b"".join(delimited(3, one + rest) for one in ids))


def test_ways_of_millions_of_corners(read: Read, tmp_path: Path) -> None:
    """A few KB of file that say 24 million corners."""
    header, nodes, _ = lake(tmp_path)
    content = written([header, nodes, *(ways_of(4_000_001, 1, n) for n in range(1, 7))])
    assert len(content) < MIB // 8
    found = read("corners.osm.pbf", content, ours=800 * MIB)
    assert found == {f"way/{n}": "INVALID_GEOMETRY" for n in range(1, 7)}


def test_millions_of_corners_in_ways_of_ordinary_size(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolated, "CPU_SECONDS", 3)
    monkeypatch.setattr(isolated, "CPU_SECONDS_A_MEGABYTE", 0)
    header, nodes, _ = lake(tmp_path)
    content = written([header, nodes, *(ways_of(1999, 2000, 1 + 2000 * n) for n in range(4))])
    assert len(content) < MIB // 8
    with pytest.raises(OsmFileError, match=r"rings\.osm\.pbf .* took the 3 s of CPU time"):
        read("rings.osm.pbf", content, ours=800 * MIB, childs=700 * MIB)


def test_a_hundred_thousand_blobs(read: Read, tmp_path: Path) -> None:
    header, nodes, ways = lake(tmp_path)
    empty = block(b"", delimited(2, b""))
    assert read("empty.osm.pbf", written([header, nodes, ways, *[empty] * 100_000])) == {"way/1": "kept"}


@pytest.mark.parametrize("claim", [1, 10**9, 2**31, 2**63])
def test_blobs_that_claim_other_sizes(read: Read, tmp_path: Path, claim: int) -> None:
    header, nodes, ways = lake(tmp_path)
    blob = b"\x10" + encoded_one(claim) + delimited(3, zlib.compress(ways[1]))
    head = delimited(1, b"OSMData") + b"\x18" + encoded_one(len(blob))
    content = written([header, nodes]) + len(head).to_bytes(4, "big") + head + blob
    with pytest.raises(OsmFileError, match="claims"):
        read("claim.osm.pbf", content)


@pytest.mark.parametrize("name", ["round.opl", "round.osm.pbf"])
@pytest.mark.parametrize("tags", ["natural=water", "source=survey"])
def test_a_way_of_two_million_corners(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tags: str
) -> None:
    """By itself it is not looked at; as a member, libosmium compares each edge with those that overlap it."""
    monkeypatch.setattr(isolated, "CPU_SECONDS", 3)
    monkeypatch.setattr(isolated, "CPU_SECONDS_A_MEGABYTE", 0)
    refs = ",".join(["n1,n2,n3"] * 666_666 + ["n1"])
    world = f"n1 x10 y40\nn2 x10.01 y40\nn3 x10 y40.01\nw1 T{tags} N{refs}"
    if tags == "source=survey":
        world += "\nr1 Ttype=multipolygon,natural=water Mw1@outer"
    content = world.encode() + b"\n" if name.endswith("opl") else pbf(tmp_path, world).read_bytes()
    if tags == "natural=water":
        assert read(name, content, ours=800 * MIB) == {"way/1": "INVALID_GEOMETRY"}
    else:
        with pytest.raises(OsmFileError, match=rf"{name} .* took the 3 s of CPU time"):
            read(name, content, ours=800 * MIB, childs=700 * MIB)


def test_a_relation_of_a_million_members(read: Read) -> None:
    members = ",".join(f"w{number}@outer" for number in range(1, 1_000_000))
    world = f"{LAKE}\nr1 Ttype=multipolygon,natural=wood M{members}\n"
    assert read("many.opl", world.encode()) == {"way/1": "kept", "relation/1": "BROKEN_RELATION"}
