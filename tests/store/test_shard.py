"""Shards: ordinary Parquet files whose images stand in the bytes as they were encoded."""

import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest.schema import FETCHED
from gl10m.store.index import index_shard
from gl10m.store.layout import StoreError
from gl10m.store.shard import read_rows, write_shard
from tests.store.small_scenes import CLASSES, METADATA, fetched, lr_jpeg, row, tile_jpeg

NAME = "CA-00000-of-00001.parquet"


def write(folder: Path, *batches: pa.Table) -> Path:
    path = folder / NAME
    write_shard(path, batches, CLASSES, METADATA)
    return path


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = fetched(range(20))
    path = write(tmp_path, rows)
    assert pa.concat_tables(read_rows(path)).equals(rows)


def test_chosen_scenes_come_back_alone(tmp_path: Path) -> None:
    path = write(tmp_path, fetched(range(20)))
    read = pa.concat_tables(read_rows(path, {"CA-w1003", "CA-w1018", "CA-w9"}))
    assert read.equals(fetched([3, 18]))
    assert not list(read_rows(path, []))


def test_the_same_rows_give_the_same_bytes_however_they_come(tmp_path: Path) -> None:
    rows = fetched(range(20))
    at_once = write(tmp_path / "a", rows).read_bytes()
    one_by_one = write(tmp_path / "b", *(rows.slice(i, 1) for i in range(20))).read_bytes()
    unequal = write(tmp_path / "c", rows.slice(0, 7), rows.slice(7, 13)).read_bytes()
    assert at_once == one_by_one == unequal


def test_the_index_points_at_every_image(tmp_path: Path) -> None:
    path = write(tmp_path, fetched(range(18)))
    content = path.read_bytes()
    index = index_shard(path).rows.to_pylist()
    assert [found["scene_id"] for found in index] == [f"CA-w{1000 + i}" for i in range(18)]
    for scene, found in enumerate(index):
        start, length = found["lr_offset"], found["lr_length"]
        assert content[start : start + length] == lr_jpeg(scene)
        start = found["hr_offset"]
        for tile, length in enumerate(found["hr_length"]):
            assert content[start - 4 : start] == length.to_bytes(4, "little")
            assert content[start : start + 2] == b"\xff\xd8"  # start of image
            assert content[start : start + length] == tile_jpeg(scene, tile)
            start += length + 4


def test_lr_images_of_a_row_group_lie_together(tmp_path: Path) -> None:
    index = index_shard(write(tmp_path, fetched(range(16)))).rows.to_pylist()
    first, last = index[0]["lr_offset"], index[-1]["lr_offset"] + index[-1]["lr_length"]
    images = sum(found["lr_length"] for found in index)
    assert last - first < images + 16 * 100
    assert last < index[0]["hr_offset"]


def test_identical_images_are_told_apart_by_their_place(tmp_path: Path) -> None:
    same = [row(0, scene_id=f"CA-w{i}", hr=[tile_jpeg(0, 0)] * 100) for i in range(1, 4)]
    index = index_shard(write(tmp_path, pa.Table.from_pylist(same, schema=FETCHED.schema))).rows
    assert len(set(index["lr_offset"].to_pylist())) == len(set(index["hr_offset"].to_pylist())) == 3


def test_plain_pyarrow_reads_a_shard(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path, fetched()))
    assert table["hr"][2].as_py()[99] == {"bytes": tile_jpeg(2, 99), "path": None}
    assert table["lr"][1].as_py()["bytes"] == lr_jpeg(1)
    about = table.schema.field("cloud_cover").metadata or {}
    assert about[b"unit"] == b"percent of the granule"
    features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
    assert set(features) == set(table.column_names)


def test_a_shard_is_hardly_larger_than_its_images(tmp_path: Path) -> None:
    rows = fetched(range(16))
    path = write(tmp_path, rows)
    images = sum(len(lr_jpeg(i)) + sum(len(tile_jpeg(i, tile)) for tile in range(100)) for i in range(16))
    # A row has 4 bytes before each image, 400 of black_hr and some 50 for each page header.
    assert path.stat().st_size - images < 16 * 2200 + 50_000


def test_hugging_face_datasets_reads_a_shard(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = write(tmp_path, fetched())
    loaded = datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path), split="train")
    assert loaded[2]["lr"].size == (268, 268)
    assert len(loaded[2]["hr"]) == 100
    assert loaded[2]["class_ids"] == [2]
    assert loaded[2]["naip_date"] == date(2022, 6, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1), row(0)], "sorted by id; got CA-w1000 after CA-w1001"),
        ([row(0), row(0)], "sorted by id"),
        ([row(0, hr=[None] * 100)], "some are missing in hr"),
        ([row(0, lr=None)], "some are missing in lr"),
        ([row(0, scene_id="../../x")], "named like CA-w123"),
        ([], "at least one scene"),
    ],
)
def test_rows_that_are_no_scenes_are_refused(
    tmp_path: Path, rows: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        write(tmp_path, pa.Table.from_pylist(rows, schema=FETCHED.schema))
    assert not list(tmp_path.iterdir())


def test_a_shard_is_named_after_its_region(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="named after its region"):
        write_shard(tmp_path / "CA-00003-of-00003.parquet", fetched(), CLASSES, METADATA)


def test_a_compressed_copy_is_refused_by_the_index(tmp_path: Path) -> None:
    path = write(tmp_path, fetched())
    pq.write_table(pq.read_table(path), path, compression="zstd")
    with pytest.raises(StoreError, match="rewritten by another program"):
        index_shard(path)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_shard_is_refused(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path, fetched())
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-1000:]
    else:
        content[index_shard(path).rows["hr_offset"][1].as_py() + 700] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=NAME):
        index_shard(path)
    with pytest.raises(StoreError, match="gl10m build"):
        list(read_rows(path))


def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from gl10m.store.shard import write_shard
from tests.store.small_scenes import *
def batches():
    yield fetched(range(16))
    yield fetched(range(16, 18))
    print("writing", flush=True)
    time.sleep(60)
write_shard(Path({str(tmp_path)!r}) / {NAME!r}, batches(), CLASSES, METADATA)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, env=os.environ
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writer.send_signal(signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".tmp-")] == []
