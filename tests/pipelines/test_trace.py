"""Every scene and every rejection of a build can be asked about, and the answer is the manifest's."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gl10m import GL10MDataset
from gl10m.manifest.parquet import ManifestError
from gl10m.report.split_request import SplitRequest
from gl10m.report.splitting import split_root
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import tile_bounds
from gl10m.scene.rejection import STAGES
from gl10m.scene.states import scene_id
from gl10m.store import codec
from pipelines.stages.thinning import KEPT, THINNED, gave_way_to, thin
from pipelines.trace.scene import UnknownSceneError, trace_scene
from pipelines.trace.spot import read_spot, trace_spot
from tests.store.test_integrity import flip


def rows(root: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(root / "manifests" / f"{name}.parquet").to_pylist()


def trace(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gl10m", "trace", *arguments, "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_kept_scene_tells_its_items_limits_and_bytes(built: Path) -> None:
    for scene in rows(built, "scenes"):
        (found,) = trace_scene(built, scene["scene_id"])
        assert found.status == "kept"
        assert [step.stage for step in found.steps] == list(STAGES)
        assert {step.outcome for step in found.steps} == {"kept"}
        taken = [item.item for item in found.items if item.verdict.startswith("taken")]
        assert taken == [*scene["naip_items"], *scene["sentinel2_items"]]
        assert found.whole_catalogue
        store = found.store or {}
        content = (built / "data" / store["shard"]).read_bytes()
        assert codec.decode(content[slice(*store["lr_bytes"])]).shape == (3, 268, 268)
        assert content[store["hr_bytes"][1] - 2 : store["hr_bytes"][1]] == b"\xff\xd9"  # a JPEG's end


def test_every_rejection_tells_its_stage_reason_and_numbers(built: Path) -> None:
    for row in rows(built, "rejections"):
        name = row["subject"] if "-" in row["subject"] else scene_id(row["state"], row["subject"])
        (found,) = trace_scene(built, name)
        assert found.status == row["outcome"]
        assert (found.steps[-1].stage, found.steps[-1].reason) == (row["stage"], row["reason"])
        assert row["detail"] in found.text
        assert ("gave way to" in found.text) == (row["reason"] == "THINNED")
        json.dumps(found.record)


def test_an_object_is_found_by_its_osm_id(built: Path) -> None:
    first = rows(built, "scenes")[0]
    assert [found.scene for found in trace_scene(built, first["osm_id"])] == [first["scene_id"]]


def test_an_unknown_scene_names_its_neighbours(built: Path) -> None:
    known = rows(built, "candidates")[0]["scene_id"]
    with pytest.raises(UnknownSceneError, match=f"Nearest names: .*{known}"):
        trace_scene(built, f"ZZ{known[2:]}")


def test_a_place_names_the_tile_that_shows_it(built: Path) -> None:
    scene = rows(built, "scenes")[0]
    tiles = tile_bounds(Footprint(scene["longitude"], scene["latitude"]))
    for tile in (0, 9, 37, 99):
        longitude, latitude = tiles[tile].reshape(2, 2).mean(axis=0)
        found = trace_spot(built, float(longitude), float(latitude))
        assert {one["scene"]: one["tile"] for one in found.scenes}[scene["scene_id"]] == tile


def test_the_other_rejections_at_a_place_are_told(built: Path) -> None:
    scene = rows(built, "scenes")[0]
    found = trace_spot(built, scene["longitude"], scene["latitude"])
    assert all(one["outcome"] in {"rejected", "pending", "failed"} for one in found.others)
    assert not {one["scene"] for one in found.others} & {one["scene_id"] for one in rows(built, "scenes")}


def test_far_away_is_outside_of_the_built_states(built: Path) -> None:
    found = trace_spot(built, 10.0, 50.0)
    assert "outside of the built states: the data set has CA" in found.text
    assert "nearest scene: CA-" in found.text


def test_an_order_that_makes_sense_the_other_way_round_is_hinted() -> None:
    with pytest.raises(ValueError, match="Is the order swapped"):
        read_spot("37.7,-122.4")


def test_without_the_journal_the_manifests_still_answer(built: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(built, alone, ignore=shutil.ignore_patterns(".gl10m"))
    (found,) = trace_scene(alone, rows(alone, "scenes")[0]["scene_id"])
    assert found.status == "kept"
    assert not found.whole_catalogue
    assert "journal" in found.steps[0].words


@pytest.mark.parametrize("table", ["polygons-*.kept", "items-*"])
def test_a_journal_of_which_a_byte_has_changed_is_not_believed(
    built: Path, tmp_path: Path, table: str
) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    (path,) = (root / ".gl10m" / "stages" / "CA").glob(f"{table}.parquet")
    flip(path, path.stat().st_size // 2)
    with pytest.raises(ManifestError, match=r"is damaged .* `gl10m build`"):
        trace_scene(root, rows(root, "scenes")[0]["scene_id"])


def test_a_journal_of_another_class_map_is_told_and_not_taken_for_that_of_the_data_set(tried: Path) -> None:
    (found,) = trace_scene(tried, rows(tried, "scenes")[0]["scene_id"])
    assert "of another build or dry run, of another class map or OSM file" in found.steps[0].words
    assert found.steps[1].words == ""
    rejected = next(row for row in rows(tried, "rejections") if row["stage"] not in {"polygons", "classes"})
    (let_go,) = trace_scene(tried, rejected["subject"])
    assert "of another build or dry run" in let_go.steps[0].words


def test_an_object_that_the_journal_does_not_hold_is_of_another_build(built: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    for path in (root / ".gl10m" / "stages" / "CA").glob("polygons-*.kept.parquet"):
        path.unlink()
    (found,) = trace_scene(root, rows(root, "scenes")[0]["scene_id"])
    assert "does not hold the object, so that it is of another build" in found.steps[0].words


def test_a_match_whose_manifests_are_not_there_yet_is_pending(built: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(built / ".gl10m", begun / ".gl10m")
    (found,) = trace_scene(begun, rows(built, "scenes")[0]["scene_id"])
    assert found.status.startswith("pending: fetched")


def test_the_command_prints_json_and_takes_a_longitude_for_no_option(built: Path) -> None:
    scene = rows(built, "scenes")[0]
    ended = trace(f"{scene['longitude']},{scene['latitude']}", "--json", root=built)
    assert ended.returncode == 0, ended.stderr
    assert scene["scene_id"] in {one["scene"] for one in json.loads(ended.stdout)[0]["scenes"]}
    assert trace("CA-w999999", root=built).returncode == 2


@pytest.mark.parametrize("kind", ["state", "group", "random", "block", "concept"])
def test_the_loader_reads_the_splits_of_every_kind(built: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    made = split_root(root, SplitRequest(by=kind))
    assert sum(part.scenes for part in made.parts) == made.scenes
    for part in made.parts:
        if part.scenes:
            assert len(GL10MDataset(root, part.name)) == part.scenes


def test_the_winner_is_the_best_ranked_kept_point_too_near() -> None:
    draw = np.random.default_rng(0)
    longitude, latitude = draw.uniform(0, 0.1, (2, 300))
    rank = draw.permutation(300)
    fate = thin(longitude, latitude, rank, 0.012, lambda some: np.ones(len(some), np.bool_))
    winner = gave_way_to(longitude, latitude, rank, 0.012, fate)
    for point in range(300):
        near = (abs(longitude - longitude[point]) < 0.012) & (abs(latitude - latitude[point]) < 0.012)
        kept = np.flatnonzero(near & (fate == KEPT))
        expected = kept[np.argmin(rank[kept])] if fate[point] == THINNED else -1
        assert winner[point] == expected
