"""The example trains on a built data set and ends in a metric."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gl10m import GL10MDataset
from gl10m.report.split_request import SplitRequest
from gl10m.report.splitting import split_root

EXAMPLE = Path(__file__).parents[2] / "examples" / "classifier.py"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_data_set_without_val_is_one_line_with_the_remedy(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns(".gl10m"))
    split_root(root, SplitRequest(by="state"))
    ended = run(root)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "split 'val' has no scenes" in line
    assert f"`gl10m split --root {root} --by random`" in line


@pytest.mark.parametrize(("arguments", "code", "told"), [(["--help"], 0, "usage:"), ([], 2, "root")])
def test_its_arguments_are_told(arguments: list[str], code: int, told: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == code
    assert told in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_classifier_ends_in_a_metric(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns(".gl10m"))
    names = GL10MDataset(root).scene_ids
    rows = [f"{name},{'val' if place % 3 == 0 else 'train'}" for place, name in enumerate(names)]
    (tmp_path / "splits.csv").write_text("\n".join(["scene_id,split", *rows]))
    split_root(root, SplitRequest(by=str(tmp_path / "splits.csv")))
    example = runpy.run_path(str(EXAMPLE))
    assert 0 < example["main"](str(root), epochs=2) <= 1
