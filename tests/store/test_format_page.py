"""docs/store-format.md tells the truth: its programs run, and other readers see what ours sees."""

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gl10m import GL10MDataset
from tests.store.small_scenes import build, numbers

PAGE = Path(__file__).parents[2] / "docs/store-format.md"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    build(tmp_path, {"CA": "train"}, CA=3)
    return tmp_path


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_programs_of_the_page_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    tile, seal = programs()
    names: dict[str, object] = {}
    exec(tile, names)  # noqa: S102 - the program of our own page
    image = names["image"]
    assert isinstance(image, Image.Image)
    assert numbers(np.asarray(image).transpose(2, 0, 1)) == (42, 0)
    exec(seal, names)  # noqa: S102
    assert os.listdir(root / "index") == ["CA.arrow"]  # noqa: PTH208


def test_every_image_stands_behind_its_length_in_the_bytes_of_the_shard(root: Path) -> None:
    """Nothing but struct, Pillow and the table of byte ranges."""
    dataset = GL10MDataset(root, tiles="all")
    content = (root / "data/CA-00000-of-00001.parquet").read_bytes()
    for scene in range(3):
        reader = dataset.scene(scene).reader
        position = int(reader.index.column("hr_offset")[scene])
        for tile in range(100):
            (length,) = struct.unpack("<I", content[position - 4 : position])
            assert length == reader.index.column("hr_length")[scene, tile]
            image = Image.open(io.BytesIO(content[position : position + length]))
            assert numbers(np.asarray(image).transpose(2, 0, 1)) == (tile, scene)
            position += length + 4


def test_a_reader_of_parquet_sees_the_same_images(root: Path) -> None:
    rows = pq.read_table(root / "data/CA-00000-of-00001.parquet").to_pylist()
    for scene, row in enumerate(rows):
        for tile in (0, 57, 99):
            image = Image.open(io.BytesIO(row["hr"][tile]["bytes"]))
            assert numbers(np.asarray(image).transpose(2, 0, 1)) == (tile, scene)


def test_duckdb_counts_scenes_and_measures_images(root: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(
        "select scene_id, len(hr), octet_length(lr.bytes) from read_parquet($files) order by 1",
        params={"files": f"{root}/data/*.parquet"},
    ).fetchall()
    index = GL10MDataset(root).scene(0).reader.index
    assert found == [
        (name, 100, int(length))
        for name, length in zip(index.scene_ids, index.column("lr_length"), strict=True)
    ]
