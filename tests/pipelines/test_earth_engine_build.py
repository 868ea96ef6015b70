"""The whole chain on Earth Engine: one town, one quarter quad, the real client library in real workers."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gl10m import GL10MDataset
from gl10m.manifest import parquet
from gl10m.manifest.schema import COVERAGE, ITEMS, REJECTIONS, SCENES
from gl10m.scene.class_map import ClassMap
from gl10m.store.integrity import verify
from pipelines.world.server import serve
from pipelines.world.world import world_from_osm
from tests.pipelines.earth_engine_server import (
    NAIP,
    SENTINEL2,
    EarthEngine,
    assets_of_world,
    refusal,
    serving,
)
from tests.pipelines.imagery_server import Fault
from tests.pipelines.town import FLOWN, NORTH, WEST, contents
from tests.worlds import square, world_of, write_world

TOWN = world_of(
    square(1, WEST - 0.014, NORTH + 0.014, 0.004, "leisure=golf_course"),
    square(2, WEST + 0.014, NORTH + 0.014, 0.003, "amenity=school"),
    square(3, WEST, NORTH - 0.014, 0.001, "amenity=hospital"),
)


@dataclass(frozen=True)
class Town:
    osm: Path
    stac: str
    service: EarthEngine
    key: Path

    def build(self, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = ["build", "--states", "CA", "--osm", str(self.osm), "--root", str(root), *more]
        return subprocess.run(
            [sys.executable, "-m", "gl10m", *command],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | self.service.environment(self.key),
        )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    osm = write_world(folder / "town.opl", TOWN)
    world_from_osm(osm, folder / "world", "CA", ClassMap.bundled(), FLOWN)
    service = EarthEngine()
    service.add(*assets_of_world(folder / "world"))
    with serve(folder / "world") as stac, serving(service):
        yield Town(osm, stac, service, service.write_key(folder / "key.json"))


@pytest.fixture(scope="module")
def built(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "root"
    ended = town.build(root, "--source", "earth-engine", "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    return root


def test_a_data_set_is_built_from_earth_engine_alone(built: Path, town: Town) -> None:
    assert verify(built, deep=True) == []
    scenes = parquet.read(built / "manifests" / "scenes.parquet", SCENES)
    assert scenes.num_rows >= 2
    items = parquet.read(built / "manifests" / "items.parquet", ITEMS)
    assert set(items["collection"].to_pylist()) == {NAIP, SENTINEL2}
    ground = parquet.read(built / "manifests" / "coverage.parquet", COVERAGE)
    assert set(ground["source"].to_pylist()) == {"earth-engine"}
    about = parquet.metadata_of(built / "manifests" / "scenes.parquet")
    assert "Contains modified Copernicus Sentinel data" in about["gl10m.licences"]
    # One request a mosaic, and one for each Sentinel-2 image that was looked at.
    shown = [request for request in town.service.asked("computePixels") if request.grid.width > 1000]
    assert len(shown) == scenes.num_rows + rejected(built, "hr")


def rejected(root: Path, stage: str) -> int:
    return (
        parquet.read(root / "manifests" / "rejections.parquet", REJECTIONS)["stage"].to_pylist().count(stage)
    )


def test_no_credential_is_written_down(built: Path, town: Town) -> None:
    secrets = (b"ya29", b"SECRET", b"PRIVATE KEY", str(town.key).encode(), b"gl10m-test", b"Bearer")
    for path in built.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(secret in content for secret in secrets), path


@pytest.mark.slow
def test_one_worker_gives_the_same_bytes_as_two(built: Path, town: Town, tmp_path: Path) -> None:
    ended = town.build(tmp_path / "root", "--source", "earth-engine", "--workers", "1")
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "root") == contents(built)


@pytest.mark.slow
def test_each_sensor_may_come_from_another_source(built: Path, town: Town, tmp_path: Path) -> None:
    """Sentinel-2 from Earth Engine, NAIP from a STAC API: the same scenes, and nearly the same pixels."""
    root = tmp_path / "root"
    sources = ("--lr-source", "earth-engine", "--hr-source", "stac", "--stac-url", town.stac)
    ended = town.build(root, *sources, "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    mixed, alone = GL10MDataset(root, tiles="all"), GL10MDataset(built, tiles="all")
    assert mixed.scene_ids == alone.scene_ids
    for index in range(len(alone)):
        one, other = mixed[index], alone[index]
        assert bool((one["image"] == other["image"]).all())
        difference = np.abs(one["hr"].numpy().astype(int) - other["hr"].numpy())
        assert 0 < difference.mean() < 3  # of 255: kernels differ, places do not
    ground = parquet.read(root / "manifests" / "coverage.parquet", COVERAGE)
    assert dict(zip(ground["sensor"].to_pylist(), ground["source"].to_pylist(), strict=True)) == {
        "naip": town.stac,
        "sentinel-2": "earth-engine",
    }


def test_without_a_sign_in_a_build_ends_at_its_beginning(town: Town, tmp_path: Path) -> None:
    town.service.requests.clear()
    town.service.fault = lambda _: Fault(*refusal(403, "Not signed up for Earth Engine."))
    try:
        ended = town.build(tmp_path / "root", "--source", "earth-engine")
    finally:
        town.service.fault = lambda _: None
    assert ended.returncode == 2
    assert "earthengine authenticate" in ended.stderr.replace("\n", " ")
    assert "Traceback" not in ended.stderr
    assert "SECRET" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) <= 4
