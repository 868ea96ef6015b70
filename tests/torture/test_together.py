"""Builds beside each other, and builds that go on under other circumstances than they began."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.torture.arena import Arena, finish, gone
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
