"""A damaged data set is made whole byte for byte, and what is whole is not touched."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from gl10m.report.card import LICENCES, README
from gl10m.scene.class_map import ClassMap
from gl10m.store.integrity import verify
from gl10m.store.layout import index_path
from gl10m.store.region_index import open_index
from pipelines.execution.fragments import RECEIPTS
from pipelines.fetch_all import why_again
from pipelines.repair import WITH_OPTIONS, repair
from tests.pipelines.town import Town, contents
from tests.store.mutations import mutation
from tests.store.test_integrity import flip

SHARD = "data/CA-00000-of-00001.parquet"


@pytest.fixture
def root(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "root")
    return tmp_path / "root"


def flip_tile(root: Path) -> None:
    flip(root / SHARD, int(open_index(index_path(root, "CA")).column("hr_offset")[1]) + 5000)


def flip_middle(name: str) -> Callable[[Path], None]:
    return lambda root: flip(root / name, (root / name).stat().st_size // 2)


def delete(*names: str) -> Callable[[Path], None]:
    def gone(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return gone


def flip_tile_without_index(root: Path) -> None:
    flip_tile(root)
    delete("index/CA.arrow")(root)


MANIFESTS = ("scenes", "candidates", "rejections", "items", "coverage", "funnel")

WITHOUT_FETCHING: dict[str, Callable[[Path], None]] = {
    "a bit of the index": flip_middle("index/CA.arrow"),
    "the index gone": delete("index/CA.arrow"),
    **{f"a bit of {name}": flip_middle(f"manifests/{name}.parquet") for name in MANIFESTS},
    "five of six manifests gone": delete(*(f"manifests/{name}.parquet" for name in MANIFESTS[1:])),
    "index and manifest gone": delete("index/CA.arrow", "manifests/scenes.parquet"),
}


@pytest.mark.parametrize("damage", WITHOUT_FETCHING)
def test_indexes_and_manifests_are_made_anew_without_fetching(
    root: Path, built: Path, class_map: ClassMap, damage: str
) -> None:
    before = (root / SHARD).stat().st_mtime_ns
    WITHOUT_FETCHING[damage](root)
    assert verify(root)
    planned = repair(root, class_map, dry_run=True)
    assert "to be made anew" in str(planned)
    assert "does not suffice" not in str(planned)
    assert "are lost" not in str(planned)
    assert verify(root)
    report = repair(root, class_map)
    assert "nothing was fetched" in str(report)
    assert report.left == []
    assert contents(root) == contents(built)
    assert (root / SHARD).stat().st_mtime_ns == before
    assert "nothing to repair" in str(repair(root, class_map))


@pytest.mark.parametrize("table", ["ground-*", "items-*", "matching-*.kept", "footprints-*.dropped"])
def test_a_damaged_table_of_the_journal_is_not_published(root: Path, class_map: ClassMap, table: str) -> None:
    (path,) = (root / ".gl10m" / "stages" / "CA").glob(f"{table}.parquet")
    flip(path, path.stat().st_size // 2)
    delete("manifests/coverage.parquet")(root)
    report = repair(root, class_map)
    assert f"the journal does not suffice: its table {path.name} is damaged" in str(report)
    assert not (root / "manifests" / "coverage.parquet").exists()


@pytest.mark.parametrize("gone", [".gl10m", ".gl10m/stages"])
def test_without_the_journal_nothing_is_told_as_made_and_the_options_are_asked_for(
    root: Path, class_map: ClassMap, gone: str
) -> None:
    shutil.rmtree(root / gone)
    delete("manifests/items.parquet")(root)
    planned = repair(root, class_map, dry_run=True).lines
    done = repair(root, class_map)
    assert planned == done.lines  # what was foreseen came
    assert planned[0].startswith("manifests/items.parquet: to be made anew")
    assert planned[1].startswith("the journal does not suffice: ")
    assert planned[2].endswith(
        "run `gl10m repair` or `gl10m build` with the options of the build, which fetches them"
    )
    assert [problem.remedy for problem in done.left] == [WITH_OPTIONS]
    assert "made anew" not in str(done).replace("to be made anew", "")


def test_labels_of_another_class_map_are_not_published_under_the_name_of_the_old_one(
    tried: Path, tmp_path: Path, class_map: ClassMap
) -> None:
    shutil.copytree(tried, tmp_path / "root")
    delete("manifests/scenes.parquet")(tmp_path / "root")
    report = repair(tmp_path / "root", class_map)
    assert "its polygons of CA are of another build than the published one" in str(report)


LOST: dict[str, tuple[Callable[[Path], None], int]] = {
    "a bit of a tile": (flip_tile, 1),
    "a bit of the footer": (lambda root: flip(root / SHARD, (root / SHARD).stat().st_size - 300), 0),
    "a shard gone": (delete(SHARD), 7),
    "a bit of a tile, and the index gone": (flip_tile_without_index, 7),
}


@pytest.mark.parametrize("damage", LOST)
def test_whole_scenes_of_a_damaged_shard_are_kept_and_the_others_fetched_again(
    root: Path, built: Path, town: Town, class_map: ClassMap, damage: str
) -> None:
    change, lost = LOST[damage]
    change(root)
    planned = str(repair(root, class_map, dry_run=True))
    assert ("are lost: run `gl10m repair` or `gl10m build` with the options" in planned) == bool(lost)
    alone = repair(root, class_map)
    if not lost:
        assert contents(root) == contents(built)
        return
    assert f"{lost} scenes are lost" in str(alone)
    assert alone.left
    command = [part if part != "build" else "repair" for part in town.command(root)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{lost} scenes fetched again" in ended.stdout
    assert f"imagery: {lost} scenes to fetch, {lost} of them lost from their shards" in ended.stderr
    assert contents(root) == contents(built)
    assert verify(root, deep=True) == []


def test_a_lost_scene_is_not_told_as_a_changed_one() -> None:
    rows = [("k1", "CA-w1", "kept"), ("k2", "CA-w2", "kept"), ("k3", "CA-w3", "failed")]
    came = [
        {"scene_key": key, "scene_id": name, "state": "CA", "outcome": outcome, "stage": "hr"}
        for key, name, outcome in rows
    ]
    receipts = pa.Table.from_pylist(came, schema=RECEIPTS.schema)
    assert why_again({"CA-w3": "k3", "CA-w4": "k4"}, receipts) == ""
    assert why_again({"CA-w1": "k1", "CA-w2": "other"}, receipts) == (
        ", 1 of them anew: parameters, items or software have changed, 1 of them lost from their shards"
    )


def test_the_command_says_what_it_would_do_and_changes_nothing(root: Path) -> None:
    flip_tile(root)
    damaged = contents(root)
    command = [sys.executable, "-m", "gl10m", "repair", "--root", str(root), "--dry-run"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"{SHARD}: to be written anew; scenes CA-" in ended.stdout
    assert contents(root) == damaged


@pytest.mark.slow
@pytest.mark.parametrize("score", range(10))
def test_two_hundred_changes_are_mended_or_the_lost_scenes_told(
    built: Path, town: Town, class_map: ClassMap, tmp_path: Path, score: int
) -> None:
    """Of those that lose a scene, the first of each twenty is fetched again. Cards are no rows."""
    files, root, fetched = contents(built), tmp_path / "root", False
    rows = {name: content for name, content in files.items() if name not in (README, LICENCES)}
    shutil.copytree(built, root)
    for number in range(20 * score, 20 * score + 20):
        done = mutation(rows, number)
        path = root / done.name
        path.unlink() if done.content is None else path.write_bytes(done.content)
        report = repair(root, class_map)
        if "scenes are lost" in str(report):
            assert done.name == SHARD, done
            if not fetched:
                command = [part if part != "build" else "repair" for part in town.command(root)]
                ended = subprocess.run(command, capture_output=True, text=True, check=False)
                assert ended.returncode == 0, f"{done}: {ended.stdout}{ended.stderr}"
                assert contents(root) == files, done
                fetched = True
            else:
                shutil.rmtree(root)
                shutil.copytree(built, root)
        else:
            assert report.left == [], f"{done}: {report}"
            assert contents(root) == files, f"{done}: {report}"
