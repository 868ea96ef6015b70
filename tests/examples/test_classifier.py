"""The example trains on a built data set and ends in a metric."""

import runpy
import shutil
from pathlib import Path

from gl10m import GL10MDataset
from gl10m.report.split_request import SplitRequest
from gl10m.report.splitting import split_root

EXAMPLE = Path(__file__).parents[2] / "examples" / "classifier.py"


def test_the_classifier_ends_in_a_metric(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns(".gl10m"))
    names = GL10MDataset(root).scene_ids
    rows = [f"{name},{'val' if place % 3 == 0 else 'train'}" for place, name in enumerate(names)]
    (tmp_path / "splits.csv").write_text("\n".join(["scene_id,split", *rows]))
    split_root(root, SplitRequest(by=str(tmp_path / "splits.csv")))
    example = runpy.run_path(str(EXAMPLE))
    assert 0 < example["main"](str(root), epochs=2) <= 1
