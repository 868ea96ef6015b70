"""How the work is cut decides no byte: workers, batches, their order, the order of regions and of the catalogue."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.town import contents
from tests.torture.arena import Arena, finish, gone, kill_session
from tests.torture.test_together import until

pytestmark = pytest.mark.slow

CUT = """
import sys
import pipelines.fetch
import pipelines.fetch_all
size, step = int(sys.argv.pop(1)), int(sys.argv.pop(1))
pipelines.fetch.SMALLEST = pipelines.fetch.LARGEST = size
cut = pipelines.fetch_all.batches
pipelines.fetch_all.batches = lambda *asked: cut(*asked)[::step]
sys.argv[0] = "gl10m"
from gl10m.cli import main
sys.exit(main())
"""
"""`gl10m` with batches of a given size, forwards (1) or from the last to the first (-1)."""


def start(arena: Arena, trial: Path, workers: int, size: int, step: int = 1) -> "subprocess.Popen[str]":
    """A build with so many workers and scenes a batch."""
    return arena.start(trial, "--workers", str(workers), program=(CUT, str(size), str(step)))


@pytest.mark.parametrize(("workers", "size", "step"), [(1, 1, -1), (2, 5, 1), (4, 2, -1)])
def test_workers_and_batches(ready: Arena, workers: int, size: int, step: int) -> None:
    trial = ready.place()
    ended = finish(start(ready, trial, workers, size, step))
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None


def test_a_catalogue_that_answers_in_another_order(ready: Arena) -> None:
    trial = ready.place()
    ready.world.items.reverse()
    try:
        ended = ready.run(trial, "--workers", "2")
    finally:
        ready.world.items.reverse()
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None


def test_begun_by_four_workers_gone_on_by_one_ended_by_two(ready: Arena) -> None:
    """Each but the last is killed: the first with all its processes, the second alone."""
    trial = ready.place()
    first = start(ready, trial, 4, 1)
    until_fragments(trial / "root", 1)
    kill_session(first.pid)
    finish(first)
    done = ready.committed(trial)
    assert done
    second = start(ready, trial, 1, 5, -1)
    until("in the publication", trial / "root")
    os.kill(second.pid, signal.SIGKILL)
    finish(second)
    assert gone(second.pid)
    asked = len(ready.world.requests)
    ended = finish(start(ready, trial, 2, 2))
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None
    assert ready.fetched_again(set(ready.ranges), ready.world.requests[asked:]) is None


def until_fragments(root: Path, number: int) -> None:
    """Until so many batches are committed."""
    patience = time.monotonic() + 120
    while len(list(root.glob(".gl10m/fragments/[!.]*.parquet"))) < number:
        assert time.monotonic() < patience, "no image is fetched"
        time.sleep(0.01)


def test_regions_in_another_order_and_one_after_the_other(ready: Arena) -> None:
    """The town twice, as two regions: by one build, and each by a build of its own."""
    source = ["--source", "stac", "--stac-url", ready.town.address, "--limit", "1", "--workers", "1"]

    def build(trial: Path, *regions: str) -> None:
        towns = itertools.chain.from_iterable(("--osm", f"{code}={ready.town.osm}") for code in regions)
        place = ["--states", ",".join(regions), *towns, "--root", str(trial / "root")]
        for name in ("tmp", "cache"):
            (trial / name).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "gl10m", "build", *place, *source]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=ready.environment(trial)
        )
        assert ended.returncode == 0, ended.stderr

    one, other = ready.place(), ready.place()
    build(one, "NV", "CA")
    build(other, "CA")
    build(other, "NV")
    assert contents(other / "root") == contents(one / "root")
