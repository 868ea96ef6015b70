"""Splits as a person makes and reads them."""

from pathlib import Path

import pyarrow as pa
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import SCENES
from gl10m.report import splitting
from gl10m.report.split_request import SplitRequest


def scene(name: str, longitude: float) -> dict[str, object]:
    bounds = [longitude - 0.012, 45.0 - 0.012, longitude + 0.012, 45.0 + 0.012]
    return {
        "scene_id": name,
        "state": name[:2],
        "longitude": longitude,
        "latitude": 45.0,
        "bounds": bounds,
        "naip_items": [f"quad {name}"],
        "sentinel2_items": [f"granule {name}"],
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    scenes = [scene("AZ-w1", -112.0), scene("CA-w2", -112.01), scene("ME-w3", -69.0), scene("WA-w4", -120.0)]
    table = pa.Table.from_pylist(scenes, schema=SCENES.schema)
    parquet.write(tmp_path / "manifests" / "scenes.parquet", table, SCENES, {})
    return tmp_path


def test_the_paper_splits_by_state(root: Path) -> None:
    text = splitting.split_root(root, SplitRequest()).text
    counts = [line.split()[:2] for line in text.splitlines()[2:]]
    assert counts == [["train", "1"], ["val", "1"], ["test", "2"]]


def test_ground_shared_across_a_state_border_is_found(root: Path) -> None:
    splitting.split_root(root, SplitRequest())
    found = splitting.check_root(root)
    assert not found.apart
    assert "1 pairs of scenes of different splits overlap" in found.text
    assert "AZ-w1" in found.text


def test_groups_keep_shared_ground_together(root: Path) -> None:
    splitting.split_root(root, SplitRequest(by="group", seed=3))
    assert splitting.check_root(root).apart


def test_a_split_file_that_forgets_a_scene_is_refused(root: Path) -> None:
    table = root / "mine.csv"
    table.write_text("scene_id,split\nAZ-w1,train\n")
    with pytest.raises(ValueError, match="names no split for 3"):
        splitting.split_root(root, SplitRequest(by=str(table)))


def test_a_folder_without_a_data_set_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gl10m build"):
        splitting.split_root(tmp_path, SplitRequest())
