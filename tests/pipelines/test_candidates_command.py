"""`gl10m candidates`: one OSM file of any kind, from a disk or a server, to candidate scenes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import osmium
import pyarrow as pa
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.parquet import metadata_of
from gl10m.manifest.schema import CANDIDATES
from pipelines import config
from pipelines.stages.footprints import PRESETS
from tests.pipelines.unruly_server import Act, Unruly, unruly_server
from tests.worlds import REAL_OSM, square, world_of, write_world

TOWN = world_of(
    square(1, -100.0, 40, 0.01, "landuse=forest"),
    square(2, -100.1, 40, 0.01, "landuse=forest"),
    square(3, -100.1, 40, 0.002, "amenity=school"),
    square(4, -100.2, 40, 0.001, "leisure=golf_course"),
    "r7 Ttype=multipolygon,natural=water Mw1@outer",
)


@pytest.fixture
def server() -> Iterator[Unruly]:
    with unruly_server() as world:
        yield world


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "gl10m", "candidates", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def converted(text: str, target: Path) -> Path:
    """The same objects in the same order in another format."""
    source = write_world(target.with_name("source.opl"), text)
    with osmium.SimpleWriter(str(target)) as writer:
        for entity in osmium.FileProcessor(str(source)):
            writer.add(entity)
    return target


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Candidates of the town from a sorted PBF file."""
    folder = tmp_path_factory.mktemp("sorted")
    ended = run(folder, "--osm", converted(TOWN, folder / "t.osm.pbf"))
    assert ended.returncode == 0, ended.stderr
    return parquet.read(folder / "t.osm.pbf.candidates.parquet", CANDIDATES)


@pytest.mark.parametrize("name", ["t.osm.pbf", "t.osm", "t.osm.gz", "t.osm.bz2"])
def test_unsorted_files_of_every_format_give_the_same_candidates(
    expected: pa.Table, tmp_path: Path, name: str
) -> None:
    backwards = converted("\n".join(reversed(TOWN.splitlines())), tmp_path / name)
    ended = run(tmp_path, "--osm", backwards)
    assert ended.returncode == 0, ended.stderr
    assert parquet.read(tmp_path / f"{name}.candidates.parquet", CANDIDATES).equals(expected)
    assert expected.num_rows == 3


def test_an_address_is_downloaded_checked_and_told_in_the_file(server: Unruly, tmp_path: Path) -> None:
    content = converted(TOWN, tmp_path / "town-250101.osm.pbf").read_bytes()
    address = server.offer("/us/town-250101.osm.pbf", content)
    server.acts = [Act(stop_after=50)]  # cut once, gone on with
    ended = run(tmp_path, "--osm", address, "--state", "CO")
    assert ended.returncode == 0, ended.stderr
    assert "asking again in" in ended.stderr
    written = tmp_path / "town-250101.osm.pbf.candidates.parquet"
    assert parquet.read(written, CANDIDATES)["scene_id"].to_pylist() == ["CO-r7", "CO-w3", "CO-w4"]
    inputs = metadata_of(written)["gl10m.inputs"]
    assert f"{address} md5 " in inputs
    assert '"osm_date": "2025-01-01"' in inputs
    assert server.sent("/us/town-250101.osm.pbf") == [(None, 200), ("bytes=50-", 206)]


def test_a_wrong_checksum_is_one_line_and_writes_nothing(server: Unruly, tmp_path: Path) -> None:
    address = server.offer("/town.osm.pbf", b"not what was promised", md5="0" * 32)
    ended = run(tmp_path, "--osm", address)
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "promises 00000000000000000000000000000000" in line
    assert "Or give a file at hand with --osm FILE" in line
    assert not list(tmp_path.rglob("*.parquet"))


def test_reasons_and_presets_are_printed(tmp_path: Path) -> None:
    ended = run(tmp_path, "--osm", write_world(tmp_path / "town.opl", TOWN), "--compare-presets")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert ["footprints", "5", "3", "2", "2", "THINNED"] in lines
    assert ["default", "5", "3", "2", "2", "THINNED"] in lines
    assert ["sar", "5", "2", "3", "2", "THINNED,", "1", "FEW_CLASSES"] in lines


def test_a_preset_is_taken_from_the_configuration_and_can_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "sar.toml").write_text('[footprints]\npreset = "sar"\nthinning_degrees = 0.5\n')
    chosen = config.load(tmp_path / "sar.toml").footprints
    assert (chosen.minimum_seed_classes, chosen.minimum_seed_share) == (2, 0.7)
    assert (chosen.thinning_degrees, PRESETS["sar"].thinning_degrees) == (0.5, 0.012)
    ended = run(tmp_path, "--osm", write_world(tmp_path / "town.opl", TOWN), "--config", "sar.toml")
    assert "wrote 1 candidates" in ended.stdout
    (tmp_path / "sar.toml").write_text('[footprints]\npreset = "mine"\n')
    refused = run(tmp_path, "--osm", tmp_path / "town.opl", "--config", "sar.toml")
    assert refused.returncode == 2
    assert "no preset 'mine' in [footprints]; there are default, sar" in refused.stderr


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    world = write_world(tmp_path / "town.opl", TOWN)
    ended = run(tmp_path, "--osm", world, "--out", world / "below_a_file.parquet")
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "Name another place with --out" in line


@pytest.mark.parametrize("name", ["columbus_ohio.unsorted.osm.pbf", "roosevelt_seattle_washington.osm"])
def test_real_files_that_are_not_sorted_pbf(tmp_path: Path, name: str) -> None:
    if not (REAL_OSM / name).is_file():
        pytest.skip(f"the real extract {name} is not here")
    ended = run(tmp_path, "--osm", REAL_OSM / name, "--out", tmp_path / "out.parquet")
    assert ended.returncode == 0, ended.stderr
    assert parquet.read(tmp_path / "out.parquet", CANDIDATES).num_rows > 0


def test_a_pipe_is_no_place_for_candidates(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    ended = run(tmp_path, "--osm", converted(TOWN, tmp_path / "t.osm.pbf"), "--out", "pipe")
    assert ended.returncode == 2
    assert ended.stderr.startswith("gl10m: TargetError: pipe cannot be written")
    assert (tmp_path / "pipe").is_fifo()


def test_the_network_is_asked_as_the_configuration_says(tmp_path: Path) -> None:
    (tmp_path / "build.toml").write_text("[network]\nattempts = 1\n")
    ended = run(tmp_path, "--osm", "http://127.0.0.1:9/t.osm.pbf", "--config", "build.toml")
    assert ended.returncode == 2
    assert "in 1 attempt:" in ended.stderr
