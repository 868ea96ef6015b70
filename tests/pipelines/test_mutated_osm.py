"""Thousands of damaged OSM files, read as a build reads them: an error that helps, or a full account.

The damage is seeded, so a failure comes back; its number stands in the file's name.
"""

import bz2
import gzip
import logging
import random
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import osmium
import pytest
import shapely

from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import Reason
from pipelines.sources.isolated import MEMORY_A_BYTE, MEMORY_BYTES
from pipelines.sources.osm_areas import FoundAreas, Interest, found_areas
from pipelines.sources.osm_file import OsmFileError, readable, sorted_osm_file
from pipelines.sources.pbf_blobs import blob_file
from pipelines.sources.pbf_fields import delimited, encoded_one
from pipelines.stages.polygons import read_polygons
from tests.pipelines.memory import grown, peaks
from tests.pipelines.test_quick_areas import TRAPS, pbf
from tests.worlds import REAL_OSM, square, world_of

SECONDS = 60
"""No file of a test takes longer, on a machine however busy."""

Chance = random.Random
Blobs = list[tuple[bytes, bytes]]
"""Kind and inflated content of each blob."""


def blobs_of(path: Path) -> Blobs:
    with blob_file(path) as blobs:
        kinds = [b"OSMHeader"] + [b"OSMData"] * (len(blobs) - 1)
        return [(kind, blobs.inflated(number)) for number, kind in enumerate(kinds)]


def written(blobs: Blobs, *, lie: int = 0) -> bytes:
    """A PBF of deflated blobs.

    Args:
        blobs: what they hold.
        lie: bytes by which each claims to be larger than it is.
    """
    parts = []
    for kind, content in blobs:
        size = encoded_one(max(0, len(content) + lie))
        blob = b"\x10" + size + delimited(3, zlib.compress(content, 1))
        header = delimited(1, kind) + b"\x18" + encoded_one(len(blob))
        parts.append(len(header).to_bytes(4, "big") + header + blob)
    return b"".join(parts)


def flipped(content: bytes, chance: Chance) -> bytes:
    """One to four bits the other way."""
    some = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        some[chance.randrange(len(some))] ^= 1 << chance.randrange(8)
    return bytes(some)


def truncated(content: bytes, chance: Chance) -> bytes:
    return content[: chance.randrange(1, len(content))]


def overwritten(content: bytes, chance: Chance) -> bytes:
    """A run of zeros, of 0xff or of noise."""
    place, length = chance.randrange(len(content)), chance.choice([1, 2, 4, 8, 30])
    run = chance.choice([bytes(length), b"\xff" * length, chance.randbytes(length)])
    return content[:place] + run + content[place + length :]


def shifted(content: bytes, chance: Chance) -> bytes:
    """Some bytes more or fewer, so that lengths before them no longer hold."""
    place, length = chance.randrange(len(content)), chance.randint(1, 5)
    if chance.random() < 0.5:
        return content[:place] + content[place + length :]
    return content[:place] + chance.randbytes(length) + content[place:]


OF_BYTES = (flipped, truncated, overwritten, shifted)


def mutated_text(content: bytes, chance: Chance) -> bytes:
    return chance.choice(OF_BYTES)(content, chance)


def mutated_pbf(blobs: Blobs, chance: Chance) -> bytes:
    """One kind of damage of a dozen, three in five of them inside of blobs that are packed again."""
    some = list(blobs)
    first, other = chance.randrange(len(some)), chance.randrange(len(some))
    kind = chance.randrange(20)
    if kind < 12:
        name, content = some[first]
        some[first] = (name, chance.choice(OF_BYTES)(content, chance))
    elif kind < 15:
        return chance.choice(OF_BYTES)(written(some), chance)
    elif kind == 15:
        some[first], some[other] = some[other], some[first]
    elif kind == 16:
        some.insert(other, some[first])
    elif kind == 17:
        del some[first]
    elif kind == 18:
        return written(some, lie=chance.choice([-1, 1, 10**6, 2**31, 2**40]))
    else:  # a length of a frame
        content = written(some)
        place = chance.choice([3, 1, 2, 0, 17, 18, 19])
        return content[:place] + chance.randbytes(1) + content[place + 1 :]
    return written(some)


def account(path: Path, class_map: ClassMap) -> str:
    """Read a file as a build does, and say what came of it."""
    begun = time.monotonic()
    try:
        outcome = read_polygons(path, "CA", class_map)
    except OsmFileError as error:
        words = str(error)
    else:
        words = ""
    assert time.monotonic() - begun < SECONDS
    if words:
        assert path.name in words
        return "child lost" if "is no more" in words else "refused"
    assert outcome.read == outcome.kept.num_rows + outcome.dropped.num_rows
    assert set(outcome.dropped["reason"].to_pylist()) <= {reason.value for reason in Reason}
    shapes = shapely.from_wkb(outcome.kept["geometry"].to_numpy())
    assert shapely.is_valid(shapes).all()
    assert not shapely.is_empty(shapes).any()
    return "read"


def by_libosmium(path: Path | str, interest: Interest) -> Iterator[FoundAreas]:
    with sorted_osm_file(path) as file, readable(Path(path)):
        yield found_areas(file, interest)


def survives(
    folder: Path,
    contents: Iterator[tuple[str, bytes]],
    class_map: ClassMap,
    caplog: pytest.LogCaptureFixture,
) -> Counter[str]:
    """Read every file, alive and within bounds to the end, and count what came of them."""
    found: Counter[str] = Counter()
    largest = 0
    with caplog.at_level(logging.DEBUG, "gl10m"), grown() as ours:
        for name, content in contents:
            path = folder / name
            path.write_bytes(content)
            largest = max(largest, len(content))
            found[account(path, class_map)] += 1
            path.unlink()
    assert ours() < 1 << 30, "this process"
    assert max(peaks(caplog), default=0) < MEMORY_BYTES + MEMORY_A_BYTE * largest, "a child"
    return found


MANY = world_of(
    *(square(n, -100 + n * 0.01, 40, 0.004, f"landuse=forest,name=Wood%20%{n}") for n in range(1, 90)),
    *(square(n, -99 + n * 0.01, 41, 0.02, "source=survey") for n in range(101, 121)),
    *(square(n, -99 + n * 0.01, 41, 0.01, "natural=wood") for n in range(201, 221)),
    *(f"r{n} Ttype=multipolygon,natural=water Mw{n + 100}@outer,w{n + 200}@inner" for n in range(1, 21)),
    "r30 Ttype=boundary,boundary=national_park Mw1@outer,w2@outer,r1@subarea,n11@label",
)


def seeds(folder: Path, names: tuple[str, ...]) -> dict[str, Blobs]:
    """Small files to damage; the real ones where they are at hand."""
    found = {"traps": blobs_of(pbf(folder, TRAPS, "traps.osm.pbf"))}
    found["many"] = blobs_of(pbf(folder, MANY, "many.osm.pbf"))
    real = {name: REAL_OSM / f"{name}.osm.pbf" for name in names}
    return found | {name: blobs_of(path) for name, path in real.items() if path.is_file()}


def damaged_pbfs(seeds: dict[str, Blobs], count: int) -> Iterator[tuple[str, bytes]]:
    names = list(seeds)
    for number in range(count):
        name = names[number % len(names)]
        yield f"{name}-{number}.osm.pbf", mutated_pbf(seeds[name], random.Random(number))  # noqa: S311


def damaged_texts(folder: Path, count: int) -> Iterator[tuple[str, bytes]]:
    """XML, OPL, and both packed, damaged before or after packing."""
    path = pbf(folder, MANY)
    plain = {}
    for ending in ("osm", "opl"):
        with osmium.SimpleWriter(str(folder / f"seed.{ending}")) as writer:
            for entity in osmium.FileProcessor(str(path)):
                writer.add(entity)
        plain[ending] = (folder / f"seed.{ending}").read_bytes()
    packings: dict[str, Callable[[bytes], bytes]] = {"osm.gz": gzip.compress, "osm.bz2": bz2.compress}
    for number in range(count):
        chance = random.Random(number)  # noqa: S311
        ending = ("osm", "opl", "osm.gz", "osm.bz2")[number % 4]
        content = plain[ending.removesuffix(".gz").removesuffix(".bz2")]
        if ending not in packings:
            damaged = mutated_text(content, chance)
        elif chance.random() < 0.5:
            damaged = mutated_text(packings[ending](content), chance)
        else:
            damaged = packings[ending](mutated_text(content, chance))
        yield f"text-{number}.{ending}", damaged


@pytest.mark.parametrize(
    ("count", "names"),
    [
        pytest.param(200, ("felton_california",), id="some"),
        pytest.param(1500, ("felton_california",), id="many", marks=pytest.mark.slow),
        pytest.param(60, ("liechtenstein",), id="large", marks=pytest.mark.slow),
    ],
)
def test_damaged_pbfs(
    count: int,
    names: tuple[str, ...],
    tmp_path: Path,
    class_map: ClassMap,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = survives(tmp_path, damaged_pbfs(seeds(tmp_path, names), count), class_map, caplog)
    assert found.total() == count
    assert min(found["read"], found["refused"]) > count // 10, found


@pytest.mark.parametrize("count", [100, pytest.param(700, marks=pytest.mark.slow)])
def test_damaged_pbfs_by_libosmium_alone(
    count: int,
    tmp_path: Path,
    class_map: ClassMap,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipelines.stages.polygons.read_areas", by_libosmium)
    contents = damaged_pbfs(seeds(tmp_path, ("felton_california",)), count)
    found = survives(tmp_path, contents, class_map, caplog)
    assert found.total() == count
    assert min(found["read"], found["refused"] + found["child lost"]) > count // 10, found


@pytest.mark.parametrize("count", [80, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_texts(
    count: int, tmp_path: Path, class_map: ClassMap, caplog: pytest.LogCaptureFixture
) -> None:
    found = survives(tmp_path, damaged_texts(tmp_path, count), class_map, caplog)
    assert found.total() == count
    assert min(found["read"], found["refused"]) > count // 10, found


def test_nothing_is_left_behind(tmp_path: Path, class_map: ClassMap, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for name, content in damaged_pbfs(seeds(tmp_path, ()), 20):
        (tmp_path / name).write_bytes(content)
        account(tmp_path / name, class_map)
    assert not list(temporary.iterdir())
    shutil.rmtree(temporary)
