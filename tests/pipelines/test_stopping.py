"""Builds that are asked to stop, once or twice, by a terminal or by a batch system: real processes."""

import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from tests.pipelines.town import Town, contents, start, wait_for
from tests.torture.arena import gone


def fetching(root: Path) -> bool:
    return any(root.glob(".gl10m/fragments/[!.]*.parquet"))


ASKED = pytest.mark.parametrize(
    "asked", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["SIGINT", "SIGTERM"]
)
"""By a user; by a batch system whose time is up."""


@ASKED
def test_asked_once_a_build_commits_what_is_under_way_and_says_how_to_go_on(
    built: Path, town: Town, tmp_path: Path, asked: signal.Signals
) -> None:
    root = tmp_path / "root"
    with start(town, root, "--workers", "1") as building:
        wait_for(lambda: fetching(root), building)
        building.send_signal(asked)
        said, _ = building.communicate(timeout=200)
    assert building.returncode == 130
    assert "stopping: finishing" in said
    command = said.strip().splitlines()[-1].strip()
    assert shlex.split(command)[0] == "gl10m"
    assert shlex.split(command)[1:] == town.command(root, "--workers", "1")[3:]
    kept = Receipts(Journal(root)).load().num_rows
    again = subprocess.run(town.command(root, "--workers", "1"), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    total = Receipts(Journal(root)).load().num_rows
    assert f"imagery: {total - kept} scenes to fetch" in again.stderr
    assert contents(root) == contents(built)


def test_asked_before_the_images_a_build_stops_at_once(town: Town, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with start(town, root, "--workers", "1") as building:
        wait_for((root / ".gl10m" / "log.jsonl").exists, building)
        building.terminate()
        said, _ = building.communicate(timeout=60)
    assert building.returncode == 130
    assert "Run the same command again" in said
    assert "Traceback" not in said


@ASKED
def test_asked_twice_it_leaves_at_once_and_the_next_run_goes_on(
    built: Path, town: Town, tmp_path: Path, asked: signal.Signals
) -> None:
    root = tmp_path / "root"
    with start(town, root, "--workers", "1") as building:
        wait_for(lambda: fetching(root), building)
        building.send_signal(asked)
        time.sleep(0.5)
        begun = time.monotonic()
        if building.poll() is None:
            building.send_signal(asked)
        said, _ = building.communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert building.returncode == 130, said
    assert gone(building.pid), "workers are left behind"
    assert town.build(root).returncode == 0
    assert contents(root) == contents(built)
