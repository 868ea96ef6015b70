"""The funnel and the splits as a person reads them."""

from pathlib import Path

import pyarrow as pa
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, REJECTIONS, SCENES
from gl10m.report import funnel, splitting
from gl10m.scene.rejection import STAGES


def account(stage: str, state: str, read: int, kept: int) -> dict[str, object]:
    return {"stage": stage, "state": state, "read": read, "kept": kept, "rejected": read - kept, "failed": 0}


def test_states_are_summed_and_the_paper_stands_beside() -> None:
    rows = [account("footprints", "CA", 10, 7), account("footprints", "TX", 5, 4)]
    lost = [
        {
            "stage": "footprints",
            "state": "CA",
            "subject": f"way/{n}",
            "outcome": "rejected",
            "reason": "THINNED",
        }
        for n in range(4)
    ]
    text = funnel.describe(
        pa.Table.from_pylist(rows, schema=FUNNEL.schema), pa.Table.from_pylist(lost, schema=REJECTIONS.schema)
    )
    line = next(line for line in text.splitlines() if line.startswith("footprints"))
    assert line.split() == ["footprints", "15", "11", "4", "0", "319,060", "THINNED", "4"]
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(STAGES)


def test_the_papers_counts_add_up() -> None:
    counts = funnel.published()
    assert sum(counts["splits"].values()) == counts["complete"]
    assert counts["hr_tiles"] == 100 * counts["complete"]
    assert round(counts["for_download"] / counts["indexed"], 3) == 0.856


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
    text = splitting.split_root(root, "state", 0)
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["test", "2", "scenes"],
        ["train", "1", "scenes"],
        ["val", "1", "scenes"],
    ]


def test_ground_shared_across_a_state_border_is_found(root: Path) -> None:
    splitting.split_root(root, "state", 0)
    text, apart = splitting.check_root(root)
    assert not apart
    assert "1 pairs" in text
    assert "AZ-w1" in text


def test_groups_keep_shared_ground_together(root: Path) -> None:
    splitting.split_root(root, "group", 3)
    _, apart = splitting.check_root(root)
    assert apart


def test_a_split_file_that_forgets_a_scene_is_refused(root: Path) -> None:
    table = root / "mine.csv"
    table.write_text("scene_id,split\nAZ-w1,train\n")
    with pytest.raises(ValueError, match="names no split for 3"):
        splitting.split_root(root, str(table), 0)


def test_a_folder_without_a_data_set_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gl10m build"):
        splitting.split_root(tmp_path, "state", 0)
