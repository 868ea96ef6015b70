"""Splits as a person makes and reads them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
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


def test_what_a_killed_split_left_is_swept_by_the_next(root: Path) -> None:
    left = root / "manifests" / f"{parquet.TEMPORARY}0123-splits.parquet"
    left.write_bytes(b"half a file")
    splitting.split_root(root, SplitRequest())
    assert {path.name for path in left.parent.iterdir()} == {"scenes.parquet", "splits.parquet"}


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


def test_an_option_that_the_kind_does_not_heed_is_refused() -> None:
    with pytest.raises(ValueError, match="--block is for --by block; got --by random"):
        SplitRequest(by="random", block=0.1)


@pytest.mark.parametrize("kind", ["state", "group", "random", "block"])
def test_the_same_request_gives_the_same_bytes_and_touches_no_other_file(root: Path, kind: str) -> None:
    scenes = (root / "manifests/scenes.parquet").read_bytes()
    splitting.split_root(root, SplitRequest(by=kind))
    once = (root / "manifests/splits.parquet").read_bytes()
    splitting.split_root(root, SplitRequest(by=kind))
    assert (root / "manifests/splits.parquet").read_bytes() == once
    assert (root / "manifests/scenes.parquet").read_bytes() == scenes
    assert {path.name for path in root.rglob("*.parquet")} == {"scenes.parquet", "splits.parquet"}


def test_the_manifest_says_how_it_was_split(root: Path) -> None:
    splitting.split_root(root, SplitRequest(by="block", seed=7, fractions={"train": 0.5, "test": 0.5}))
    about = parquet.metadata_of(root / "manifests/splits.parquet")
    assert (about["gl10m.split"], about["gl10m.split_seed"]) == ("block", "7")
    assert json.loads(about["gl10m.split_parameters"]) == {
        "apart": True,
        "block": 0.5,
        "fractions": {"test": 0.5, "train": 0.5},
        "seed": 7,
    }
    assert json.loads(about["gl10m.split_aside"]) == ["border"]


def test_a_users_split_called_novel_is_compared_as_any_other(root: Path) -> None:
    (root / "mine.csv").write_text("scene_id,split\nAZ-w1,novel\nCA-w2,train\nME-w3,train\nWA-w4,train\n")
    splitting.split_root(root, SplitRequest(by=str(root / "mine.csv")))
    assert not splitting.check_root(root).apart


def test_near_neighbours_are_told_by_distance(root: Path) -> None:
    table = parquet.read(root / "manifests/scenes.parquet", SCENES).slice(0, 3).to_pylist()
    table[1]["bounds"] = [-112.05, 44.988, -112.026, 45.012]
    moved = pa.Table.from_pylist(table, schema=SCENES.schema)
    parquet.write(root / "manifests/scenes.parquet", moved, SCENES, {})
    splitting.split_root(root, SplitRequest())
    found = splitting.check_root(root, pixels=True)
    assert found.apart
    assert [str(pair) for pair in found.nearest] == ["CA-w2 (train) and AZ-w1 (test): 1.101 km"]
    assert found.record["distances"][0]["within_km"] == {"1": 0, "5": 1, "10": 1, "25": 1, "100": 1}


def test_an_empty_data_set_says_where_its_rows_went(tmp_path: Path) -> None:
    parquet.write(tmp_path / "manifests/scenes.parquet", SCENES.empty(), SCENES, {})
    with pytest.raises(ValueError, match=r"no scene to split; manifests/rejections\.parquet says why"):
        splitting.split_root(tmp_path, SplitRequest())


def test_a_missing_column_is_named(root: Path) -> None:
    path = root / "manifests/scenes.parquet"
    whole = pq.read_table(path)
    pq.write_table(whole.drop_columns(["bounds"]).replace_schema_metadata(whole.schema.metadata), path)
    with pytest.raises(parquet.ManifestError, match="lacks the columns bounds"):
        splitting.split_root(root, SplitRequest())


def test_a_name_that_a_terminal_would_obey_is_shown_and_not_obeyed(root: Path) -> None:
    rows = parquet.read(root / "manifests/scenes.parquet", SCENES).to_pylist()
    rows[0]["scene_id"] = "\x1b[2J<b>\u202ex"
    table = pa.Table.from_pylist(rows, schema=SCENES.schema)
    parquet.write(root / "manifests/scenes.parquet", table, SCENES, {})
    splitting.split_root(root, SplitRequest())
    assert r"\x1b[2J<b>\u202ex (test)" in splitting.check_root(root).text
