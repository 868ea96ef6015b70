"""Disks that are full, fail or refuse: a clear stop, nothing published, and the same command completes."""

import shutil

import pytest

from tests.pipelines.town import contents
from tests.torture.arena import Arena, Ended
from tests.torture.disks import ENOUGH, SIZES, remount, small_disk

pytestmark = pytest.mark.slow


def assert_clear_stop(ended: Ended, *words: str) -> None:
    """One line that names the place and the remedy."""
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    (line,) = [line for line in ended.said.splitlines() if line.startswith("gl10m:")]
    for word in words:
        assert word in line


@pytest.mark.parametrize("short", SIZES)
def test_a_full_disk_stops_the_build_clearly_and_with_more_room_it_completes(
    ready: Arena, short: str
) -> None:
    trial = ready.place()
    with small_disk(trial / "root", str(SIZES[short](ready.undisturbed))):
        ended = ready.run(trial, "--workers", "1")
        assert_clear_stop(ended, str(trial / "root"), "No space left", "same command again")
        assert contents(trial / "root") == {}
        remount(trial / "root", f"size={ENOUGH}")
        assert ready.rerun(trial, "--workers", "1") is None


@pytest.mark.parametrize(("call", "turn"), [("fsync", 1), ("fsync", 3), ("fsync", 22), ("rename", 2)])
def test_a_disk_that_fails_stops_the_build_clearly_and_the_rerun_completes(
    ready: Arena, call: str, turn: int
) -> None:
    """Every process of the build gets EIO at its n-th call."""
    if shutil.which("strace") is None:
        pytest.skip("strace injects the faults, and is not here")
    trial = ready.place()
    failing = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        f"-einject={call}:error=EIO:when={turn}",
    ]
    ended = ready.run(trial, "--workers", "1", before=failing)
    assert_clear_stop(ended, str(trial / "root"), "Input/output error", "same command again")
    assert contents(trial / "root") == {}
    assert ready.rerun(trial, "--workers", "1") is None


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(ready: Arena) -> None:
    trial = ready.place()
    with small_disk(trial / "root", ENOUGH):
        remount(trial / "root", "ro")
        asked = len(ready.world.requests)
        ended = ready.run(trial)
        assert_clear_stop(ended, str(trial / "root"), "Read-only file system", "--root")
        assert len(ready.world.requests) == asked


def test_a_data_set_that_turned_read_only_stays_as_it_is(ready: Arena) -> None:
    trial = ready.place()
    with small_disk(trial / "root", ENOUGH):
        assert ready.run(trial).code == 0
        remount(trial / "root", "ro")
        ended = ready.run(trial)
        assert_clear_stop(ended, str(trial / "root"), "Read-only file system", "--root")
        assert contents(trial / "root") == ready.reference
