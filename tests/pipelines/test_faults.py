"""Whole builds over a bad network: whatever happens on the way, the same bytes or an honest failure."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gl10m.cli import EXIT_FAILURES
from gl10m.manifest import parquet
from gl10m.manifest.schema import REJECTIONS, SCENES
from pipelines.fetch import SourcesDownError, Watch
from scripts.fault_proxy import KINDS
from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.town import Town, contents

ROOT = Path(__file__).parents[2]
UNSIGNED = sorted(set(KINDS) - {"expired token"})
QUICK = "stall_seconds = 1\nwait_initial = 0.05\nwait_max = 0.5\njitter = 0.1\n"
"""Patience with a network whose stalls last 2 seconds."""


@dataclass(frozen=True)
class Network:
    address: str

    def tally(self) -> dict[str, Any]:
        """Requests, faults, and faults by kind."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{self.address}/faults", timeout=5) as answer:
            return dict(json.load(answer))


@contextlib.contextmanager
def bad_network(rate: float, seed: int, *more: str) -> Iterator[Network]:
    """The proxy as its users start it."""
    asked = ["--rate", str(rate), "--seed", str(seed), "--stall", "2", *more]
    command = [sys.executable, "-m", "scripts.fault_proxy", *asked]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield Network(proxy.stdout.readline().strip())
        finally:
            proxy.terminate()
            proxy.communicate(timeout=10)


def patience(folder: Path, more: str = "attempts = 12") -> str:
    (folder / "build.toml").write_text(f"[network]\n{QUICK}{more}\n")
    return str(folder / "build.toml")


def survived(town: Town, built: Path, config: str, rate: float, seed: int) -> dict[str, Any]:
    """Build over a bad network; gives what was done to it."""
    root = Path(config).with_name("root")
    with bad_network(rate, seed) as network:
        ended = town.build(root, "--config", config, http_proxy=network.address)
        tally = network.tally()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert contents(root) == contents(built)
    retried = re.findall(r"^asking again.* for (?:http://\S+|a range).*: .+$", ended.stderr, re.MULTILINE)
    said = re.search(r"network: ([\d,]+) failed attempts? \((.*)\)", ended.stdout)
    if tally["faults"]:
        assert said is not None
        assert len(retried) >= int(said[1].replace(",", "")) > 0
    lost = parquet.read(root / "manifests" / "rejections.parquet", REJECTIONS).to_pylist()
    failed = [row for row in lost if row["outcome"] == "failed"]
    kinds = said[2] if said else "nothing"
    print(f"\n{rate:.0%}: {tally}; log lines {len(retried)}; survived: {kinds}; rows lost {len(failed)}")  # noqa: T201
    assert not failed
    return tally


def test_a_tenth_of_all_requests_spoiled_changes_no_byte(town: Town, built: Path, tmp_path: Path) -> None:
    tally = survived(town, built, patience(tmp_path), 0.1, seed=1)
    assert set(tally["by_kind"]) <= set(UNSIGNED)
    assert len(tally["by_kind"]) >= 8  # every kind in its turn, as far as the faults go
    assert 0.04 < tally["faults"] / tally["requests"] < 0.15


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
def test_no_rate_of_faults_changes_a_byte(
    town: Town, built: Path, tmp_path: Path, rate: float, seed: int
) -> None:
    config = patience(tmp_path, "attempts = 120\ncircuit_failures = 10")
    tally = survived(town, built, config, rate, seed)
    assert rate < 0.3 or sorted(tally["by_kind"]) == UNSIGNED
    assert tally["faults"] > 0 or rate < 0.1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_twice_on_a_bad_network_it_gives_the_same_bytes(
    town: Town, built: Path, tmp_path: Path
) -> None:
    root, kills = tmp_path / "root", 0
    with bad_network(0.1, 4) as network:
        for fragments in (1, 2):
            command = town.command(root, "--config", patience(tmp_path), "--workers", "1")
            with subprocess.Popen(
                command,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "http_proxy": network.address},
            ) as building:
                while building.poll() is None:
                    if len(list(root.glob(".gl10m/fragments/[!.]*.parquet"))) >= fragments:
                        os.killpg(building.pid, signal.SIGKILL)
                        kills += 1
                        break
                    time.sleep(0.02)
        ended = town.build(root, "--config", patience(tmp_path), http_proxy=network.address)
    assert kills >= 1
    assert ended.returncode == 0, ended.stderr
    assert contents(root) == contents(built)


@contextlib.contextmanager
def gone(town: Town, name: str) -> Iterator[None]:
    """Rasters that their server does not have for a while."""
    files = sorted((town.world / "imagery").rglob(name))
    assert files
    for file in files:
        file.rename(file.with_suffix(".gone"))
    try:
        yield
    finally:
        for file in files:
            file.with_suffix(".gone").rename(file)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_fails_for_good_is_recorded_and_the_next_run_asks_for_nothing_else(
    town: Town, built: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    used = {
        name
        for row in parquet.read(built / "manifests" / "scenes.parquet", SCENES).to_pylist()
        for name in row["sentinel2_items"][:1]
    }
    with gone(town, f"{min(used)}_B03.tif"):
        ended = town.build(root, "--config", patience(tmp_path, "attempts = 2"))
    assert ended.returncode == EXIT_FAILURES
    rows = parquet.read(root / "manifests" / "rejections.parquet", REJECTIONS).to_pylist()
    failed = [row for row in rows if row["outcome"] == "failed"]
    assert len(failed) > 0
    for row in failed:
        assert row["reason"] == "SourceUnavailableError"
        assert re.search(r"^http://\S+_B03.tif could not be read in 2 attempts: status 404", row["detail"])
    assert f"{len(failed)} scenes could not be fetched" in ended.stdout
    again = town.build(root)
    assert again.returncode == 0, again.stderr
    assert f"imagery: {len(failed)} scenes to fetch" in again.stderr
    assert contents(root) == contents(built)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_store_that_is_down_is_left_alone_and_then_the_build_stops(
    town: Town, built: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    assert town.build(root, "--dry-run").returncode == 0  # the catalogue still answers
    down = "attempts = 3\ncircuit_failures = 1\ncircuit_seconds = 1\n"
    with bad_network(1.0, 5, "--kind", "503") as network:
        begun = network.tally()["requests"]
        ended = town.build(root, "--config", patience(tmp_path, down), http_proxy=network.address)
        asked = network.tally()["requests"] - begun
        stopped = town.build(
            root, "--config", patience(tmp_path, f"{down}hopeless_batches = 1"), http_proxy=network.address
        )
    assert ended.returncode == EXIT_FAILURES
    assert re.search(r"circuit of 127.0.0.1:\d+ opened \d+ times?: it was left alone", ended.stdout)
    assert "circuit open: 127.0.0.1:" in ended.stderr
    assert asked < 40  # 7 scenes of 5 rasters, 3 attempts each, would be 105 at least
    assert stopped.returncode == 2
    said = [line for line in stopped.stderr.splitlines() if line.startswith("gl10m:")]
    assert len(said) == 1
    assert "the last 1 batches of scenes failed altogether" in said[0]
    assert town.build(root).returncode == 0
    assert contents(root) == contents(built)


def test_only_batches_without_any_good_scene_stop_a_build() -> None:
    watch = Watch(hopeless_batches=3)
    for kept, failed in ((0, 4), (0, 1), (1, 3), (0, 4), (0, 0), (0, 4)):
        watch.note(kept, failed, "status 503")
    with pytest.raises(SourcesDownError, match=r"last 3 batches .*: status 503"):
        watch.note(0, 4, "status 503")


# Signatures.

STORE = "gl10m.blob.core.windows.net"
LIFE = timedelta(minutes=45)


@dataclass
class Archive:
    """A signed archive: a STAC API, a token server and a store that reads signatures, in one."""

    world: World
    granted: int = 0

    def answer(self, request: Request) -> Fault | None:
        if request.path.startswith("sas/"):
            if request.key != "CANARYKEY":
                return Fault(401)
            self.granted += 1
            end = (datetime.now(UTC) + LIFE).strftime("%Y-%m-%dT%H:%M:%SZ")
            return Fault(
                200, json.dumps({"msft:expiry": end, "token": f"sv=1&sig=CANARYSIG{self.granted}"}).encode()
            )
        if request.path.endswith(".tif") and "CANARYSIG" not in self.world.queries[-1]:
            return Fault(403)
        return None


@pytest.fixture(scope="module")
def archive(town: Town) -> Iterator[Archive]:
    """The town's world behind signatures."""
    lines = [path.read_text().splitlines() for path in town.world.glob("stac/*/items.ndjson")]
    items = [json.loads(line) for part in lines for line in part]
    files = {
        asset["href"]: (town.world / asset["href"]).read_bytes()
        for item in items
        for asset in item["assets"].values()
    }
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = f"http://{STORE}/{asset['href']}"
    with serving(World(files=files, items=items)) as world:
        signed = Archive(world)
        world.fault = signed.answer
        yield signed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_neither_key_nor_signature_is_written_down(
    town: Town, archive: Archive, built: Path, tmp_path: Path
) -> None:
    """Every process logs all that its libraries have to say."""
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "sitecustomize.py").write_text(
        # numba, which never sees an address, would tell of each step of its compiler for ten minutes.
        "import logging\nlogging.basicConfig(level='DEBUG')\nlogging.getLogger('numba').setLevel('INFO')\n",
        encoding="utf-8",
    )
    root, here = tmp_path / "root", archive.world.url.removeprefix("http://")
    command = ["--states", "CA", "--osm", str(town.osm), "--root", str(root)]
    with bad_network(0.2, 6, "--host", f"{STORE}={here}") as network:
        ended = subprocess.run(
            [sys.executable, "-m", "gl10m", "build", *command, "--config", patience(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={
                **os.environ,
                "http_proxy": network.address,
                "GL10M_PLANETARY_COMPUTER": archive.world.url,
                "PC_SDK_SAS_URL": f"{archive.world.url}/sas",
                "PC_SDK_SUBSCRIPTION_KEY": "CANARYKEY",
                "PYTHONPATH": str(tmp_path / "loud"),
            },
        )
        tally = network.tally()
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert tally["by_kind"]["expired token"] > 0
    assert archive.granted > 2  # one a worker, and another after each that expired
    assert "DEBUG:" in ended.stderr
    assert "asking again" in ended.stderr
    written = [path for path in root.rglob("*") if path.is_file()]
    assert len(written) > 10
    for told in [ended.stderr.encode(), ended.stdout.encode(), *(path.read_bytes() for path in written)]:
        assert b"CANARY" not in told
    assert images(root) == images(built)


def images(root: Path) -> list[Any]:
    """What a data set shows, whatever its source is called."""
    (shard,) = (root / "data").glob("*.parquet")
    return pq.read_table(shard, columns=["scene_id", "lr", "hr"]).to_pylist()
