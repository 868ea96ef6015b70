"""One build at a time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.execution.lock import BuildLockedError, check_free, is_locked, locked

HOLD = """
import sys
from pathlib import Path
from pipelines.execution.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_build_is_told_who_holds_the_folder_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(tmp_path)
        with pytest.raises(BuildLockedError, match=str(holder.pid)), locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(tmp_path):
        pass
    assert not is_locked(tmp_path)


def test_the_command_is_refused_before_it_imports_an_engine(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "gl10m",
        "build",
        "--states",
        "CA",
        "--root",
        str(tmp_path),
    ]
    with locked(tmp_path):
        refused = subprocess.run(build, capture_output=True, text=True, check=False)
    assert refused.returncode == 4
    assert "gl10m: BuildLockedError: another build (process " in refused.stderr
    imported = {line.rpartition("|")[2].strip() for line in refused.stderr.splitlines()}
    assert "pipelines.execution.lock" in imported
    assert not imported & {"distributed", "numpy", "pyarrow", "rasterio"}


def test_to_look_makes_nothing(tmp_path: Path) -> None:
    check_free(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
