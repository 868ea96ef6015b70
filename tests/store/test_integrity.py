"""`verify` finds what is wrong and says where, and says nothing of a data set that is whole."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.columns import where_not
from gl10m.manifest.schema import CANDIDATES, ITEMS, REJECTIONS, SCENES, Table
from gl10m.store.index import index_shard, write_index
from gl10m.store.integrity import verify
from gl10m.store.layout import index_path
from gl10m.store.region_index import DataSetNotFoundError, open_index
from gl10m.store.shard import write_shard
from tests.store.small_scenes import CLASSES, METADATA, build, fetched

SHARD = "data/CA-00000-of-00001.parquet"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return build(tmp_path, CA=3, WA=2)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_data_set_has_no_problem(root: Path, *, deep: bool) -> None:
    assert verify(root, deep=deep) == []


def test_there_must_be_a_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataSetNotFoundError, match="gl10m build"):
        verify(tmp_path)


def cut(root: Path) -> None:
    path = root / SHARD
    path.write_bytes(path.read_bytes()[:-10])


def delete(root: Path) -> None:
    (root / SHARD).unlink()


def flip_index(root: Path) -> None:
    path = index_path(root, "CA")
    flip(path, path.read_bytes().index(b"CA-w1001"))


def swap_scenes_in_manifest(root: Path) -> None:
    path = root / "manifests/scenes.parquet"
    rows = parquet.read(path, SCENES)
    parquet.write(path, rows.take([1, 2, 3, 4, 4]), SCENES, METADATA)


def foreign_file(root: Path) -> None:
    (root / "data/notes.txt").write_text("hello")


def other_table(root: Path) -> None:
    """A manifest in the place of another, whose columns it has too."""
    shutil.copy(root / "manifests/scenes.parquet", root / "manifests/candidates.parquet")


def lost_index(root: Path) -> None:
    index_path(root, "CA").unlink()


def rewrite(root: Path, declared: Table, rows: pa.Table) -> None:
    parquet.write(root / "manifests" / f"{declared.name}.parquet", rows, declared, METADATA)


def lost_candidate(root: Path) -> None:
    rewrite(root, CANDIDATES, parquet.read(root / "manifests/candidates.parquet", CANDIDATES).slice(1))


def lost_item(root: Path) -> None:
    rows = parquet.read(root / "manifests/items.parquet", ITEMS)
    rewrite(root, ITEMS, where_not(rows, "item_id", {"naip-1"}))


def lost_coverage(root: Path) -> None:
    (root / "manifests/coverage.parquet").unlink()


def odd_account(root: Path) -> None:
    row = {"stage": "lr", "state": "CA", "subject": "CA-w9", "outcome": "rejected", "reason": "BLACK_LR"}
    rewrite(root, REJECTIONS, pa.Table.from_pylist([row], schema=REJECTIONS.schema))


def other_shard(root: Path) -> None:
    """Another shard under the name of this one, of the same length."""
    path = root / SHARD
    write_shard(path, fetched([7, 8, 9]), CLASSES, METADATA)
    indexed = index_shard(path)
    rows = indexed.rows.set_column(0, "scene_id", open_index(index_path(root, "CA")).rows["scene_id"])
    write_index(index_path(root, "CA"), [replace(indexed, rows=rows)])


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (cut, [f"{SHARD}: it has "]),
        (delete, [f"{SHARD}: it is missing. `gl10m repair`"]),
        (flip_index, ["its bytes have the checksum"]),
        (
            swap_scenes_in_manifest,
            ["WA-w1001: the scene is listed twice", "1 scenes of the index, as CA-w1000, are missing"],
        ),
        (other_table, ["manifests/candidates.parquet: ", "is the table scenes; here stands candidates"]),
        (lost_index, ["index/CA.arrow: it is missing. `gl10m repair` makes it anew from the shards"]),
        (lost_candidate, ["candidates.parquet: 1 scenes, as CA-w1000, are no candidates"]),
        (lost_item, ["items.parquet: 1 items of scenes, as naip-1, are missing"]),
        (lost_coverage, ["coverage.parquet: it is missing. `gl10m repair` makes it anew"]),
        (odd_account, ["rejections.parquet: it has other rows than the funnel counts"]),
        (other_shard, [f"{SHARD}: it holds other scenes than the index says"]),
        (foreign_file, ["data/notes.txt: no index names it"]),
    ],
)
def test_fast_verification_names_the_file(
    root: Path, damage: Callable[[Path], None], messages: list[str]
) -> None:
    damage(root)
    found = [str(problem) for problem in verify(root)]
    for message in messages:
        assert any(message in problem for problem in found), found
    assert all("gl10m build" in problem for problem in found)


def test_a_flipped_pixel_is_found_deep_and_named_by_scene_and_tile(root: Path) -> None:
    index = open_index(index_path(root, "CA"))
    flip(root / SHARD, int(index.column("hr_offset")[1]) + 650)
    assert verify(root) == []
    problems = verify(root, deep=True)
    assert problems[0].scene == "CA-w1001"
    assert "HR tile 0" in problems[0].what
    assert problems[0].file == SHARD


def test_any_flipped_bit_of_a_shard_is_found_deep(root: Path) -> None:
    path = root / SHARD
    whole = path.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(whole), 12).tolist():
        flip(path, position)
        assert verify(root, deep=True), position
        path.write_bytes(whole)


def test_an_index_with_other_labels_is_found_deep(root: Path) -> None:
    indexed = index_shard(root / SHARD)
    labels = indexed.rows["label"].to_pylist()[::-1]
    place = indexed.rows.schema.get_field_index("label")
    field = indexed.rows.schema.field("label")
    rows = indexed.rows.set_column(place, field, pa.array(labels, field.type))
    write_index(index_path(root, "CA"), [replace(indexed, rows=rows)])
    assert verify(root) == []
    assert [problem.what for problem in verify(root, deep=True)] == [
        "the index tells other byte ranges or labels than the file."
    ]
