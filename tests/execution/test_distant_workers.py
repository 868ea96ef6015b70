"""A worker needs the package and the network: here it sees neither the data set nor the OSM file."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.execution.recipes import environment, run, running_scheduler, started, wait_until, worker
from tests.pipelines.town import Town, contents


def _can_hide() -> bool:
    """Whether this user may have mounts of their own."""
    unshare = shutil.which("unshare")
    asked = [unshare or "false", "--mount", "true"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_hide(), reason="no `unshare --mount` for this user: run as root on Linux")
def test_files_that_only_the_build_sees(town: Town, built: Path, tmp_path: Path) -> None:
    """The worker is in a mount namespace where both folders are empty, and works in another folder."""
    for name in ("root", "elsewhere"):
        (tmp_path / name).mkdir()
    hide = f"mount -t tmpfs none '{tmp_path}/root' && mount -t tmpfs none '{town.osm.parent}'"
    look = f"ls '{tmp_path}/root' '{town.osm.parent}' > seen.txt"
    env = environment()
    with running_scheduler(tmp_path, env) as file:
        shutil.copy(file, tmp_path / "elsewhere" / "scheduler.json")
        command = " ".join(worker(Path("scheduler.json")))
        hidden = ["unshare", "--mount", "sh", "-c", f"{hide} && {look} && exec {command}"]
        with started(hidden, tmp_path / "elsewhere", env, "worker") as said:
            wait_until(lambda: "Registered to" in said.read_text())  # dask's words
            options = [
                "--states",
                "CA",
                "--osm",
                str(town.osm),
                "--source",
                "stac",
                "--stac-url",
                town.address,
            ]
            asked = ["gl10m", "build", *options, "--root", str(tmp_path / "root"), "--scheduler", str(file)]
            ended = run(asked, tmp_path, env)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "elsewhere" / "seen.txt").read_text().split() == [
        f"{tmp_path}/root:",
        f"{town.osm.parent}:",
    ]
    assert contents(tmp_path / "root") == contents(built)
