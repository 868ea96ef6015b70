"""Whole builds over a bad network: whatever happens on the way, the same bytes or an honest failure."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gl10m.cli import EXIT_FAILURES
from gl10m.manifest import parquet
from gl10m.manifest.schema import REJECTIONS, SCENES
from pipelines.fetch import SourcesDownError, Watch
from tests.faults.account import failures
from tests.faults.archive import SignedTown, archive
from tests.faults.network import OPEN, ROOT, bad_network, patience
from tests.pipelines.town import Town, contents
from tests.torture.arena import served


def test_a_tenth_of_all_requests_spoiled_changes_no_byte(town: Town, built: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with bad_network(0.1, 1) as network:
        ended = town.build(root, "--config", patience(tmp_path), http_proxy=network.address)
        tally = network.tally()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert contents(root) == contents(built)
    retried = re.findall(r"^asking again.* for (?:http://\S+|a range).*: .+$", ended.stderr, re.MULTILINE)
    said = re.search(r"network: ([\d,]+) failed attempts? \(.*\)", ended.stdout)
    assert said is not None
    assert len(retried) >= int(said[1].replace(",", "")) > 0
    assert failures(root).total() == 0
    assert set(tally["by_kind"]) <= set(OPEN)
    assert len(tally["by_kind"]) >= 8  # every kind in its turn, as far as the faults go
    assert 0.04 < tally["faults"] / tally["requests"] < 0.15


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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_neither_key_nor_signature_is_written_down(town: Town, built: Path, tmp_path: Path) -> None:
    """Every process logs all that its libraries have to say."""
    (tmp_path / "loud").mkdir()
    (tmp_path / "loud" / "sitecustomize.py").write_text(
        # numba, which never sees an address, would tell of each step of its compiler for ten minutes.
        "import logging\nlogging.basicConfig(level='DEBUG')\nlogging.getLogger('numba').setLevel('INFO')\n",
        encoding="utf-8",
    )
    root = tmp_path / "root"
    with archive(served(town.world)) as signed, bad_network(0.2, 6, *signed.host) as network:
        signed.key = "CANARYKEY"
        ended = SignedTown(town.osm, signed.world.url).build(
            root,
            "--config",
            patience(tmp_path),
            **signed.environment(network.address),
            PC_SDK_SUBSCRIPTION_KEY=signed.key,
            PYTHONPATH=f"{tmp_path / 'loud'}{os.pathsep}{ROOT}",
        )
        tally = network.tally()
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert tally["by_kind"]["expired token"] > 0
    assert signed.granted > 2  # one a worker, and another after each that expired
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
