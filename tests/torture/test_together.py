"""Builds beside each other, and builds that go on under other circumstances than they began."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.torture.arena import LIMIT, Arena, finish, gone, workers_of
from tests.torture.kills import stage_of
from tests.torture.running_cluster import running_cluster

pytestmark = pytest.mark.slow


def until(stage: str, root: Path) -> None:
    patience = time.monotonic() + 120
    while stage_of(root) != stage:
        assert time.monotonic() < patience, stage_of(root)
        time.sleep(0.02)


def test_a_second_build_is_refused_and_one_begun_after_a_kill_is_not(ready: Arena) -> None:
    trial = ready.place()
    first = ready.start(trial, "--workers", "1")
    until("in the images", trial / "root")
    began = time.monotonic()
    second = ready.run(trial)
    took = time.monotonic() - began
    assert second.code == 4
    assert f"process {first.pid}" in second.said
    print(f"refused after {took:.2f} s")
    os.kill(first.pid, signal.SIGKILL)
    third = ready.start(trial, "--workers", "1")  # at once: what is left of the first may still be dying
    finish(first)
    assert finish(third).code == 0
    assert gone(first.pid)
    assert ready.fault(trial) is None


def test_two_builds_at_once_on_one_cluster(ready: Arena) -> None:
    with running_cluster(ready.place()) as cluster:
        one, other = ready.place(), ready.place()
        builds = [ready.start(trial, *cluster.arguments) for trial in (one, other)]
        until("in the images", one / "root")
        refused = ready.run(one, *cluster.arguments)
        assert refused.code == 4
        assert [finish(build).code for build in builds] == [0, 0]
        assert [ready.fault(trial) for trial in (one, other)] == [None, None]


PARTITIONED = """
import pipelines.fetch
pipelines.fetch.BATCH = int(sys.argv.pop(1))
from gl10m.cli import main
main()
"""


@pytest.mark.parametrize(("before", "after"), [((1, 2), (2, 3)), ((3, 1), (4, 2))])
def test_other_partitions_and_another_number_of_workers_go_on_where_the_first_stopped(
    ready: Arena, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """Scenes a batch, and workers."""
    trial = ready.place()
    building = ready.start(trial, "--workers", str(before[1]), program=(PARTITIONED, str(before[0])))
    while not any((trial / "root").glob(".gl10m/fragments/[!.]*.parquet")) and building.poll() is None:
        time.sleep(0.02)
    os.kill(building.pid, signal.SIGKILL)
    finish(building)
    assert gone(building.pid)
    done = ready.committed(trial)
    assert 0 < len(done) < LIMIT
    asked = len(ready.world.requests)
    program = (PARTITIONED, str(after[0]))
    ended = finish(ready.start(trial, "--workers", str(after[1]), program=program))
    assert ended.code == 0, ended.said
    assert f"imagery: {LIMIT - len(done)} scenes to fetch" in ended.said
    assert ready.fault(trial) is None
    assert ready.fetched_again(done, ready.world.requests[asked:]) is None


def test_a_worker_that_is_killed_over_and_over_delays_a_build_and_no_more(ready: Arena) -> None:
    trial = ready.place()
    building = ready.start(trial, "--workers", "2")
    killed, until_then = 0, time.monotonic() + 30
    while building.poll() is None and time.monotonic() < until_then:
        for worker in workers_of(building.pid)[:1]:
            os.kill(worker, signal.SIGKILL)
            killed += 1
        time.sleep(5)
    ended = finish(building)
    if ended.code == 0:
        assert ready.fault(trial) is None
    else:
        assert ended.code in {1, 2}, ended.said
        assert "same command again" in ended.said.lower()
        assert ready.rerun(trial, "--workers", "1") is None
    assert killed >= 3


CLOCKS = {
    "two hours behind": {"FAKETIME": "-2h"},
    "ten years ahead, of another zone": {"FAKETIME": "+10y", "TZ": "Asia/Kathmandu"},
}
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_is_wrong_changes_nothing(ready: Arena, clock: str) -> None:
    if not FAKETIME.exists():
        pytest.skip("libfaketime is not here")
    trial = ready.place()
    ended = ready.run(trial, "--workers", "1", LD_PRELOAD=str(FAKETIME), **FAKED, **CLOCKS[clock])
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None


def test_a_clock_that_is_set_back_in_the_middle_changes_nothing(ready: Arena) -> None:
    if not FAKETIME.exists():
        pytest.skip("libfaketime is not here")
    trial = ready.place()
    trial.mkdir()
    clock = trial / "clock"
    clock.write_text("+0\n")
    faked = {**FAKED, "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock)}
    building = ready.start(trial, "--workers", "1", **faked, FAKETIME_NO_CACHE="1")
    until("in the images", trial / "root")
    clock.write_text("-2h\n")
    ended = finish(building)
    assert ended.code == 0, ended.said
    assert ready.fault(trial) is None


FAKED = {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
"""A clock that is set does not move the one that only counts."""
