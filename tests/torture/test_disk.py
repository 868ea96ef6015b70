"""Disks that are full, fail or refuse: a clear stop, nothing published, and the same command completes."""

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pipelines.town import contents
from tests.torture.arena import Arena, Ended

pytestmark = pytest.mark.slow

ENOUGH = "200m"


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system in memory on a folder, which only root can mount."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "gl10m-test", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def assert_clear_stop(ended: Ended, *words: str) -> None:
    """One line that names the place and the remedy."""
    assert ended.code == 2, ended.said
    assert "Traceback" not in ended.said
    (line,) = [line for line in ended.said.splitlines() if line.startswith("gl10m:")]
    for word in words:
        assert word in line


SIZES: dict[str, Callable[[Path], int]] = {
    "for the log": lambda _: 4 << 10,
    "for the mark": lambda _: 8 << 10,
    "for the first stage": lambda _: 16 << 10,
    "for the catalogue": lambda root: room(root / ".gl10m") * 2 // 3,
    "for the first fragment": lambda root: room(root / ".gl10m") + room(root / "data") // 3,
    "for the second fragment": lambda root: room(root / ".gl10m") + room(root / "data") - (64 << 10),
    "for the shard": lambda root: room(root / ".gl10m") + room(root / "data") * 3 // 2,
    "for the manifests": lambda root: room(root / ".gl10m") + 2 * room(root / "data") + (96 << 10),
}
"""What there is no room for: bytes of the disk, where an undisturbed data set lies in a folder."""


def room(folder: Path) -> int:
    """Bytes that the files of a folder take in pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


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
