"""SIGKILL at random moments of a real build; the same command again gives the same bytes."""

import os

import pytest

from tests.torture.arena import Arena
from tests.torture.kills import embedded, on_a_cluster
from tests.torture.tally import Tally

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("GL10M_KILLS", "8"))
"""Builds that are hurt; `make torture` hurts a hundred."""

SEED = int(os.environ.get("GL10M_KILLS_SEED", "20260411"))


def test_builds_that_bring_their_own_cluster(ready: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally(SEED)
    embedded(ready, KILLS * 2 // 3, SEED, tally)
    with capsys.disabled():
        print(f"\n{tally}")
    assert tally.faults == []


def test_builds_on_a_running_cluster(ready: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally(SEED + 1)
    on_a_cluster(ready, KILLS - KILLS * 2 // 3, SEED + 1, tally)
    with capsys.disabled():
        print(f"\n{tally}")
    assert tally.faults == []


def test_a_trial_that_leaves_something_is_a_fault(ready: Arena) -> None:
    """The check can fail: a stray file, a changed byte and a lost file are seen."""
    trial = ready.place()
    assert ready.run(trial, "--workers", "1").code == 0
    assert ready.fault(trial) is None
    stray = trial / "root" / ".gl10m" / "left-behind"
    stray.write_text("x")
    assert "journal" in str(ready.fault(trial))
    stray.unlink()
    scenes = trial / "root" / "manifests" / "scenes.parquet"
    content = scenes.read_bytes()
    scenes.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "differs" in str(ready.fault(trial))
