"""The example of a trained model runs as it stands."""

import subprocess
import sys
from pathlib import Path

from tests.reference_model.trained import trained
from tests.store.small_scenes import build

EXAMPLE = Path(__file__).parents[2] / "examples" / "observe.py"


def test_the_example_buys_tiles_and_finds_scenes(tmp_path: Path) -> None:
    root = build(tmp_path / "data", CA=16)
    assert isinstance(root, Path)
    run = trained(root, tmp_path / "run")
    ended = subprocess.run([sys.executable, EXAMPLE, root, run], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "98 of 800 tiles bought" in ended.stdout
    assert "Golf course: CA-w10" in ended.stdout
    nowhere = tmp_path / "nowhere"
    ended = subprocess.run(
        [sys.executable, EXAMPLE, root, nowhere], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "nowhere" in line
    ended = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
