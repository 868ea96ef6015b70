"""The whole chain on a small world: one town, one quarter quad, real rasters over HTTP."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import geopandas
import numpy as np
import pytest
from distributed import KilledWorker

from gl10m import GL10MDataset
from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.parquet import metadata_of
from gl10m.manifest.schema import CANDIDATES, COVERAGE, FUNNEL, ITEMS, REJECTIONS, SCENES
from gl10m.scene.rejection import STAGES
from gl10m.store.integrity import verify
from pipelines.build import WorkerLostError, _told
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from tests.pipelines.town import Town, contents, start, wait_for
from tests.worlds import write_world


def test_every_row_is_accounted_for_at_every_stage(built: Path) -> None:
    funnel = parquet.read(built / "manifests" / "funnel.parquet", FUNNEL).to_pylist()
    assert [row["stage"] for row in funnel] == list(STAGES)
    for row in funnel:
        assert row["read"] == row["kept"] + row["rejected"] + row["failed"]
    for earlier, later in pairwise(funnel):
        assert later["read"] == earlier["kept"]
    rejections = parquet.read(built / "manifests" / "rejections.parquet", REJECTIONS)
    assert rejections.num_rows == sum(row["rejected"] + row["failed"] for row in funnel)


def test_the_manifests_agree_with_each_other(built: Path) -> None:
    scenes = parquet.read(built / "manifests" / "scenes.parquet", SCENES)
    candidates = parquet.read(built / "manifests" / "candidates.parquet", CANDIDATES)
    items = set(parquet.read(built / "manifests" / "items.parquet", ITEMS)["item_id"].to_pylist())
    assert scenes.num_rows > 0
    assert set(scenes["scene_id"].to_pylist()) <= set(candidates["scene_id"].to_pylist())
    for row in scenes.to_pylist():
        assert set(row["naip_items"]) | set(row["sentinel2_items"]) <= items
        assert row["days_between"] == (row["sentinel2_date"] - row["naip_date"]).days


def test_nothing_signed_and_no_path_of_this_machine_is_written_down(built: Path, town: Town) -> None:
    about = parquet.metadata_of(built / "manifests" / "scenes.parquet")
    text = "".join(about.values())
    assert str(town.osm.parent) not in text
    assert str(built.parent) not in text
    assert "ODbL" in about["gl10m.licences"]


def test_the_data_set_is_whole_and_loads(built: Path) -> None:
    assert verify(built, deep=True) == []
    scenes = GL10MDataset(built, tiles=[0, 99])
    sample = scenes[0]
    assert sample["image"].shape == (3, 268, 268)
    assert sample["hr"].shape == (2, 3, 268, 268)
    names = np.array(scenes.class_names)[np.asarray(sample["label"], bool)]
    assert len(names) >= 1


def test_pixels_and_labels_agree(built: Path) -> None:
    """A tile wholly inside the lake looks like no tile wholly inside the forest."""
    scenes = GL10MDataset(built, tiles="all")
    seen: dict[str, list[float]] = {"Lake": [], "Forest": []}
    for index in range(len(scenes)):
        labels = scenes.scene(index).tile_labels().numpy()
        hr = scenes[index]["hr"].float()
        for name, means in seen.items():
            own = labels[:, scenes.class_names.index(name)]
            alone = own & (labels.sum(axis=1) == 1)
            means.extend(float(hr[tile].mean()) for tile in np.flatnonzero(alone))
    assert seen["Lake"]
    assert seen["Forest"]
    assert abs(np.median(seen["Lake"]) - np.median(seen["Forest"])) > 5


def test_a_second_run_writes_nothing(built: Path, town: Town) -> None:
    before = {path: path.stat().st_mtime_ns for path in (built / "data").iterdir()}
    assert town.build(built).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (built / "data").iterdir()} == before


def test_another_class_map_changes_the_labels_and_fetches_no_image_again(
    built: Path, town: Town, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    mine = tmp_path / "mine.toml"
    bundled = (Path(__file__).parents[2] / "class_maps" / "gl10m-66.toml").read_text()
    mine.write_text(bundled.replace('"golf_course"', '"golf_links"'))
    ended = town.build(root, "--class-map", str(mine))
    assert ended.returncode == 0, ended.stderr
    before, after = GL10MDataset(built, tiles="all"), GL10MDataset(root, tiles="all")
    golf = before.class_names.index("Golf course")
    places = {name: index for index, name in enumerate(before.scene_ids)}
    assert any(before[index]["label"][golf] for index in range(len(before)))
    for index, name in enumerate(after.scene_ids):
        sample = after[index]
        assert not sample["label"][golf]
        assert bool((sample["hr"] == before[places[name]]["hr"]).all())
    keys = [
        dict(zip(values(table, "scene_id"), values(table, "scene_key"), strict=True))
        for table in (Receipts(Journal(built)).load(), Receipts(Journal(root)).load())
    ]
    assert keys[1].items() <= keys[0].items()
    assert verify(root, deep=True) == []


JPEG = b"\xff\xd8\xff"
"""How every image begins."""


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a shard cut short": lambda root: cut_short(root / "data" / "CA-00000-of-00001.parquet"),
    "a shard deleted": lambda root: (root / "data" / "CA-00000-of-00001.parquet").unlink(),
    "an index cut short": lambda root: cut_short(root / "index" / "CA.arrow"),
    "a manifest cut short": lambda root: cut_short(root / "manifests" / "scenes.parquet"),
    "all manifests deleted": lambda root: shutil.rmtree(root / "manifests"),
    "the journal deleted": lambda root: shutil.rmtree(root / ".gl10m"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_same_command_mends_a_damaged_data_set(
    built: Path, town: Town, tmp_path: Path, damage: str
) -> None:
    root = tmp_path / "root"
    shutil.copytree(built, root)
    DAMAGES[damage](root)
    ended = town.build(root)
    assert ended.returncode == 0, ended.stderr
    assert contents(root) == contents(built)


@pytest.mark.slow
def test_a_damaged_fragment_is_removed_and_its_scenes_fetched_again(
    built: Path, town: Town, tmp_path: Path
) -> None:
    root = tmp_path / "root"

    def with_an_image() -> list[Path]:
        written = root.glob(".gl10m/fragments/[!.]*.parquet")  # not what is still being written
        return [path for path in written if JPEG in path.read_bytes()]

    with start(town, root, "--workers", "1") as building:
        wait_for(lambda: bool(with_an_image()), building)
        os.killpg(building.pid, signal.SIGKILL)
    (fragment, *_) = with_an_image()
    content = bytearray(fragment.read_bytes())
    content[content.index(JPEG) + 5000] ^= 1
    fragment.write_bytes(content)
    ended = town.build(root)
    assert ended.returncode == 2
    assert "Run the same command again" in ended.stderr.replace("\n", " ")
    assert town.build(root).returncode == 0
    assert contents(root) == contents(built)


def test_two_files_for_one_state_are_refused(town: Town, tmp_path: Path) -> None:
    ended = town.build(tmp_path / "root", "--osm", str(town.osm))
    assert ended.returncode == 2
    assert "two files" in ended.stderr


def test_one_worker_gives_the_same_bytes_as_two(built: Path, town: Town, tmp_path: Path) -> None:
    assert town.build(tmp_path / "root", "--workers", "1").returncode == 0
    assert contents(tmp_path / "root") == contents(built)


POINTS = {
    "in the journal": lambda root: any(root.glob(".gl10m/stages/CA/items-*")),
    "in the images": lambda root: any(root.glob(".gl10m/fragments/*.parquet")),
    "in the publication": lambda root: any(root.glob(".gl10m/staging/**/*.parquet")),
}


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=[] if point == "in the images" else pytest.mark.slow, id=point)
        for point in POINTS
    ],
)
def test_killed_and_started_again_it_gives_the_same_bytes(
    built: Path, town: Town, tmp_path: Path, point: str
) -> None:
    root = tmp_path / "root"
    with start(town, root, "--workers", "1") as building:
        wait_for(lambda: POINTS[point](root), building)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(building.pid, signal.SIGKILL)
    ended = town.build(root, "--workers", "2")
    assert ended.returncode == 0, ended.stderr
    assert contents(root) == contents(built)
    assert not list(root.rglob(".tmp-*"))


def test_ctrl_c_keeps_what_was_under_way_and_says_how_to_go_on(
    built: Path, town: Town, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with start(town, root, "--workers", "1") as building:
        wait_for(lambda: POINTS["in the images"](root), building)
        os.killpg(building.pid, signal.SIGINT)
        said, _ = building.communicate(timeout=200)
    assert building.returncode == 130
    assert "Run the same command again" in said
    assert town.build(root).returncode == 0
    assert contents(root) == contents(built)


@pytest.mark.slow
def test_with_other_parameters_what_was_fetched_is_kept_too_and_told(
    built: Path, town: Town, tmp_path: Path
) -> None:
    root, config = tmp_path / "root", tmp_path / "build.toml"
    shutil.copytree(built, root)
    config.write_text("[hr]\nmost_black = 0.3\n")
    with start(town, root, "--workers", "1", "--config", str(config)) as building:
        wait_for(lambda: POINTS["in the images"](root), building)
        os.killpg(building.pid, signal.SIGINT)
        building.communicate(timeout=200)
    finished = Receipts(Journal(root)).finished("CA")
    asked = parquet.read(root / "manifests" / "funnel.parquet", FUNNEL).to_pylist()[STAGES.index("lr")][
        "read"
    ]
    assert finished is not None
    assert 0 < finished.total() <= asked
    status = [sys.executable, "-m", "gl10m", "status", "--root", str(root)]
    said = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    assert f"CA: {finished['kept'] + finished['rejected']} finished of {asked}" in said
    left = asked - finished["kept"] - finished["rejected"]
    rest = town.build(root, "--dry-run", "--config", str(config))
    assert rest.stdout.splitlines()[1].split()[:2] == ["CA", str(left)]
    ended = town.build(root, "--config", str(config))
    assert ended.returncode == 0, ended.stderr
    assert f"imagery: {left} scenes to fetch" in ended.stderr


@pytest.mark.slow
def test_another_region_joins_the_data_set(built: Path, town: Town, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = [part.replace("CA", "NV") for part in town.command(root)]
    assert subprocess.run(first, capture_output=True, check=False).returncode == 0
    assert town.build(root).returncode == 0
    states = set(values(parquet.read(root / "manifests" / "scenes.parquet", SCENES), "state"))
    assert states == {"CA", "NV"}
    own = contents(built)
    assert {name: own[name] for name in own if name.startswith(("data/", "index/"))}.items() <= contents(
        root
    ).items()
    assert verify(root, deep=True) == []


def test_coverage_is_written_by_a_build_and_made_without_one(built: Path, town: Town, tmp_path: Path) -> None:
    of_build = parquet.read(built / "manifests" / "coverage.parquet", COVERAGE)
    assert values(of_build, "state") == ["CA", "CA"]
    assert geopandas.read_parquet(built / "manifests" / "coverage.parquet").area_km2.min() > 0
    alone = [part if part != "build" else "coverage" for part in town.command(tmp_path / "root")]
    made = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    # The bounds of the file reach as far as those of its candidates here: the same items are found.
    assert parquet.read(tmp_path / "root" / "manifests" / "coverage.parquet", COVERAGE).equals(of_build)
    printed = [part if part != "build" else "coverage" for part in town.command(built)]
    read = subprocess.run(printed, capture_output=True, text=True, check=False)
    assert read.stdout == made.stdout
    assert "sentinel-2" in read.stdout
    (tmp_path / "cloudy.toml").write_text("[coverage]\nmost_cloud_percent = 50.0\n")
    other = subprocess.run(
        [*printed, "--config", str(tmp_path / "cloudy.toml")], capture_output=True, text=True, check=False
    )
    assert other.stdout.startswith(read.stdout)
    assert "CA sentinel-2 was made from" in other.stdout
    assert "below 2 % cloud, not from" in other.stdout


def test_day_source_and_digest_of_the_extract_travel_in_the_manifests(built: Path, town: Town) -> None:
    digest = hashlib.sha256(town.osm.read_bytes()).hexdigest()
    for name in ("scenes", "candidates", "coverage"):
        inputs = json.loads(metadata_of(built / "manifests" / f"{name}.parquet")["gl10m.inputs"])
        assert inputs["CA.osm"] == f"town-230601.osm.opl sha256 {digest}"
        assert inputs["CA.osm_date"] == "2023-06-01"


def test_a_dry_run_counts_and_fetches_nothing(town: Town, tmp_path: Path) -> None:
    ended = town.build(tmp_path / "root", "--dry-run")
    assert ended.returncode == 0
    assert "unit costs" in ended.stdout
    assert "the paper's mean" not in ended.stdout  # the candidates are counted
    planned = subprocess.run(
        [sys.executable, "-m", "gl10m", "plan", "--states", "CA", "--root", str(tmp_path / "root")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert planned.stdout == ended.stdout
    assert not (tmp_path / "root" / "data").exists()


def test_an_unreachable_catalogue_is_one_line_and_leaves_no_data_set(town: Town, tmp_path: Path) -> None:
    nowhere = Town(town.osm, "http://127.0.0.1:9/stac")
    ended = nowhere.build(tmp_path / "root")
    assert ended.returncode == 2
    said = [line for line in ended.stderr.splitlines() if line.startswith("gl10m:")]
    assert len(said) == 1
    assert "127.0.0.1:9" in said[0]
    assert not (tmp_path / "root" / "manifests").exists()


def test_a_file_that_is_no_osm_is_named(town: Town, tmp_path: Path) -> None:
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(b"not a PBF")
    ended = Town(broken, town.address).build(tmp_path / "root")
    assert ended.returncode == 2
    assert "broken.osm.pbf" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_empty_extract_is_told_and_leaves_no_data_set(town: Town, tmp_path: Path) -> None:
    empty = write_world(tmp_path / "empty.opl", "n1 x-121.0 y38.0")
    ended = Town(empty, town.address).build(tmp_path / "root")
    assert ended.returncode == 2
    assert "empty.opl holds no area that can anchor a scene" in ended.stderr
    assert not (tmp_path / "root" / "manifests").exists()


def test_a_folder_that_cannot_be_written_is_named(town: Town, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = town.build(tmp_path / "file" / "root")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert str(tmp_path / "file") in ended.stderr


def test_a_worker_that_dies_of_its_task_is_told_in_words() -> None:
    told = _told(KilledWorker("task", cast("Any", None), 3), "OSM to matched candidates")
    assert isinstance(told, WorkerLostError)
    assert "OSM to matched candidates: the process at work died" in str(told)
