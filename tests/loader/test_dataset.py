"""The data set as PyTorch sees it."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gl10m import GL10MDataset
from gl10m.loader import SelectionError, collate
from gl10m.loader.choice import TileChoiceError
from gl10m.manifest import seal
from gl10m.manifest.parquet import ManifestNotFoundError
from gl10m.store import byte_source
from gl10m.store.layout import SHARDS, StoreError, index_path
from gl10m.store.reader import DamagedImageError, SceneNotFoundError, SceneReader, ShardNotFoundError
from gl10m.store.region_index import DataSetNotFoundError, open_index
from tests.store.small_scenes import CLASSES, build, numbers, tile_jpeg

SPLITS = {"CA": "train", "TX": "train", "WA": "val"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("world"), SPLITS, CA=5, TX=3, WA=2)


def seen(tiles: torch.Tensor) -> list[int]:
    """The tiles' numbers as their pixels tell them."""
    return [numbers(tile.numpy())[0] for tile in tiles]


def odd_tiles(index: int, generator: np.random.Generator) -> Sequence[int]:
    """As many tiles as the scene's place in the data set."""
    del generator
    return range(1, 2 * index, 2)


def test_an_item_is_a_dict_of_tensors(root: Path) -> None:
    sample = GL10MDataset(root, "train", tiles=[7, 3])[6]
    shapes = {
        name: (value.dtype, tuple(value.shape)) for name, value in sample.items() if torch.is_tensor(value)
    }
    assert shapes == {
        "image": (torch.uint8, (3, 268, 268)),
        "hr": (torch.uint8, (2, 3, 268, 268)),
        "tiles": (torch.int64, (2,)),
        "label": (torch.bool, (3,)),
        "bounds": (torch.float64, (4,)),
    }
    assert (sample["index"], sample["scene_id"], sample["state"]) == (6, "TX-w1001", "TX")
    assert sample["tiles"].tolist() == seen(sample["hr"]) == [7, 3]
    assert sample["label"].tolist() == [False, True, False]
    assert numbers(sample["hr"][0].numpy()) == (7, 1)
    assert sample["image"].float().mean(dim=(1, 2)).sub(torch.tensor([1, 200, 100])).abs().max() < 2


def test_a_split_is_read_alone(root: Path) -> None:
    assert GL10MDataset(root, "val").scene_ids == ["WA-w1000", "WA-w1001"]
    assert len(GL10MDataset(root, "train")) == 8
    assert len(GL10MDataset(root)) == 10


def test_states_and_classes_choose_scenes(root: Path) -> None:
    dataset = GL10MDataset(root, states=["WA", "CA"], classes=["Lake"])
    assert dataset.scene_ids == ["CA-w1002"]
    assert dataset.class_names == CLASSES
    assert dataset[-1]["label"].tolist() == [False, False, True]
    assert GL10MDataset(root, states=["CA"]).labels.argmax(axis=1).tolist() == [0, 1, 2, 0, 1]


def test_manifest_columns_join_the_sample(root: Path) -> None:
    sample = GL10MDataset(root, "val", columns=["naip_date", "cloud_cover", "class_ids"])[1]
    assert (sample["naip_date"], sample["cloud_cover"], sample["class_ids"]) == ("2022-06-01", 1.0, [1])


@pytest.mark.parametrize(
    ("tiles", "expected"),
    [
        (None, []),
        (0, []),
        ("all", list(range(100))),
        ([99, 0], [99, 0]),
        (np.array([5]), [5]),
        (odd_tiles, [1, 3]),
        (torch.arange(100) % 40 == 7, [7, 47, 87]),
        (np.arange(100) > 97, [98, 99]),
        (lambda *_: torch.arange(100) == 5, [5]),
    ],
)
def test_tiles_are_read_as_asked(root: Path, tiles: Any, expected: list[int]) -> None:  # noqa: ANN401 - of any kind
    sample = GL10MDataset(root, tiles=tiles)[2]
    assert sample["tiles"].tolist() == seen(sample["hr"]) == expected


def test_drawn_tiles_depend_on_seed_epoch_and_scene_alone(root: Path) -> None:
    dataset = GL10MDataset(root, tiles=12)
    drawn = dataset[9]["tiles"].tolist()
    assert len(set(drawn)) == 12
    assert drawn == sorted(drawn) == GL10MDataset(root, "val", tiles=12)[1]["tiles"].tolist()
    assert drawn != dataset[8]["tiles"].tolist()
    assert drawn != GL10MDataset(root, tiles=12, seed=1)[9]["tiles"].tolist()
    dataset.set_epoch(1)
    assert drawn != dataset[9]["tiles"].tolist()


def test_a_scene_is_read_piece_by_piece(root: Path) -> None:
    scene = GL10MDataset(root, "train").scene(4)
    assert scene.lr().shape == (3, 268, 268)
    assert seen(scene.hr([42])) == seen(scene.hr(torch.tensor([42]))) == [42]
    labels = scene.tile_labels()
    assert labels.shape == (100, 3)
    assert labels.nonzero().tolist() == [[4, 1]]
    assert scene.bounds == pytest.approx((-119.892, 36.988, -119.868, 37.012))


def test_no_byte_of_another_tile_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    preadv = os.preadv

    def watched(file: int, spaces: list[memoryview], start: int) -> int:
        read.extend(map(len, spaces))
        return preadv(file, spaces, start)

    monkeypatch.setattr(os, "preadv", watched)
    dataset = GL10MDataset(root, "train")
    dataset.scene(1).hr([90, 4, 50])
    assert sorted(read) == sorted(len(tile_jpeg(1, tile)) for tile in (90, 4, 50))
    read.clear()
    dataset.scene(1).hr([6, 4, 5])
    assert read == [sum(len(tile_jpeg(1, tile)) for tile in (4, 5, 6)) + 2 * 4]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(root: Path, context: str) -> None:
    dataset = GL10MDataset(root, tiles=3)
    dataset[0]  # files are open before the fork
    alone = list(DataLoader(dataset, batch_size=4))
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context=context, persistent_workers=True
    )
    for _ in range(2):
        for one, other in zip(alone, loader, strict=True):
            assert one.keys() == other.keys()
            assert all(
                torch.equal(one[name], other[name]) for name in ("image", "hr", "tiles", "label", "index")
            )
            assert one["scene_id"] == other["scene_id"]
    dataset.set_epoch(5)
    living = torch.cat([batch["tiles"] for batch in loader])
    assert torch.equal(living, torch.stack([dataset[place]["tiles"] for place in range(len(dataset))]))


def test_unequal_tiles_are_packed(root: Path) -> None:
    dataset = GL10MDataset(root, "train", tiles=odd_tiles, columns=["naip_gsd", "naip_items"])
    (batch,) = DataLoader(dataset, batch_size=8, collate_fn=collate)
    assert batch["image"].shape == (8, 3, 268, 268)
    assert batch["hr"].shape == (28, 3, 268, 268)
    assert batch["offsets"].tolist() == [0, 0, 1, 3, 6, 10, 15, 21, 28]
    assert batch["scene"].tolist() == [scene for scene in range(8) for _ in range(scene)]
    assert batch["tiles"][batch["offsets"][3] : batch["offsets"][4]].tolist() == [1, 3, 5]
    assert seen(batch["hr"]) == batch["tiles"].tolist()
    assert batch["index"].tolist() == list(range(8))
    assert batch["naip_gsd"].dtype == torch.float32
    assert batch["naip_items"][2] == ["naip-2"]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        collate([])


def test_a_pickled_data_set_is_small_and_the_same(root: Path) -> None:
    dataset = GL10MDataset(root, "train", tiles=2)
    dataset[0]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 4000
    assert torch.equal(pickle.loads(pickled)[3]["hr"], dataset[3]["hr"])  # noqa: S301 - our own bytes


def test_many_shards_need_few_open_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_source, "OPEN_FILES", 1)
    dataset = GL10MDataset(root, tiles=[1])
    assert [seen(sample["hr"]) for sample in (dataset[0], dataset[5], dataset[9], dataset[0])] == [[1]] * 4


def test_the_transform_has_the_last_word(root: Path) -> None:
    dataset = GL10MDataset(root, transform=lambda sample: sample["label"].float().sum())
    assert dataset[0] == 1


def test_scenes_are_read_by_name_too(root: Path) -> None:
    with SceneReader(root) as reader:
        assert reader.lr("TX-w1002").shape == (3, 268, 268)
        assert seen(torch.from_numpy(reader.hr("WA-w1001", [3, 9]))) == [3, 9]
        with pytest.raises(SceneNotFoundError, match="no scene WA-w9"):
            reader.lr("WA-w9")


def test_errors_say_what_there_is(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetNotFoundError, match="gl10m build"):
        GL10MDataset(tmp_path)
    with pytest.raises(SelectionError, match=r"its splits are train \(8\), val \(2\)"):
        GL10MDataset(root, "valid")
    with pytest.raises(SelectionError, match="no state OR; it has CA, TX, WA"):
        GL10MDataset(root, states=["OR"])
    with pytest.raises(SelectionError, match=r"no scene of .* split 'val' and states CA"):
        GL10MDataset(root, "val", states=["CA"])
    with pytest.raises(SelectionError, match="no class 'Sea'; its classes are Airport"):
        GL10MDataset(root, classes=["Sea"])
    with pytest.raises(SelectionError, match="no manifest column clouds"):
        GL10MDataset(root, columns=["clouds"])
    with pytest.raises(IndexError, match=r"scenes 0\.\.9; asked for 10"):
        GL10MDataset(root)[10]
    with pytest.raises(IndexError, match=r"tiles 0\.\.99; asked for 100"):
        GL10MDataset(root, tiles=[100])


@pytest.mark.parametrize("tiles", ["some", 101, -1, True, 1.5])
def test_what_chooses_no_tiles_is_refused(root: Path, tiles: Any) -> None:  # noqa: ANN401 - wrong on purpose
    with pytest.raises(TileChoiceError, match=r"all|draw"):
        GL10MDataset(root, tiles=tiles)


@pytest.mark.parametrize(
    ("tiles", "words"),
    [
        (torch.zeros(100, dtype=torch.uint8), r"0 is named 100 times.* call \.bool\(\)"),
        (np.ones(100, int), "1 is named 100 times"),
        (torch.zeros(99, dtype=torch.bool), r"shape \(100,\); got \(99,\)"),
        ([True, False], "True is no number of a tile"),
        (torch.zeros(100), "float"),
        ([3, 3], "3 is named 2 times"),
    ],
)
def test_a_mask_is_bool_and_a_tile_is_bought_once(root: Path, tiles: Any, words: str) -> None:  # noqa: ANN401
    scene = GL10MDataset(root).scene(0)
    with pytest.raises(TileChoiceError, match=words):
        scene.hr(tiles)
    with pytest.raises(TileChoiceError, match=words):
        GL10MDataset(root, tiles=tiles)
    with pytest.raises(TileChoiceError, match=words):
        GL10MDataset(root, tiles=lambda *_: tiles)[0]


def test_a_split_before_gl10m_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestNotFoundError, match="Run `gl10m split"):
        GL10MDataset(build(tmp_path, CA=1), "train")


def test_a_missing_or_cut_shard_is_named(tmp_path: Path) -> None:
    root = build(tmp_path, CA=1, TX=1)
    shard = root / SHARDS / "CA-00000-of-00001.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(StoreError, match=rf"{shard.name} has {len(content) - 1} bytes"):
        GL10MDataset(root)
    shard.unlink()
    with pytest.raises(ShardNotFoundError, match=shard.name):
        GL10MDataset(root)
    assert len(GL10MDataset(root, states=["TX"])) == 1


def test_a_shard_that_goes_while_it_is_read_is_named(tmp_path: Path) -> None:
    dataset = GL10MDataset(build(tmp_path, CA=1))
    (tmp_path / SHARDS / "CA-00000-of-00001.parquet").unlink()
    with pytest.raises(ShardNotFoundError, match="CA-00000-of-00001"):
        dataset[0]


def test_a_flipped_bit_is_caught_by_its_checksum(tmp_path: Path) -> None:
    root = build(tmp_path, CA=2)
    shard = root / SHARDS / "CA-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    index = open_index(index_path(root, "CA"))
    first = int(index.column("hr_offset")[1])
    content[first + int(index.column("hr_length")[1][0]) - 20] ^= 1  # in the picture, not in its header
    shard.write_bytes(content)
    dataset = GL10MDataset(root, tiles=[1, 0])
    dataset[0]
    with pytest.raises(DamagedImageError, match="HR tile 0 of scene CA-w1001 in CA-00000-of-00001"):
        dataset[1]


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_index_is_refused(tmp_path: Path, damage: str) -> None:
    path = index_path(build(tmp_path, CA=2), "CA")
    content = path.read_bytes()
    noise = np.random.default_rng(0).bytes(len(content))
    path.write_bytes({"cut": content[: len(content) // 2], "noise": noise, "empty": b""}[damage])
    with pytest.raises(StoreError, match=r"CA\.arrow is no index"):
        GL10MDataset(tmp_path)


def test_an_index_that_points_outside_its_shard_is_refused(tmp_path: Path) -> None:
    path = index_path(build(tmp_path, CA=2), "CA")
    index = open_index(path)
    offset = int(index.column("hr_offset")[0]).to_bytes(8, "little")
    content = path.read_bytes()
    assert content.count(offset) == 1
    path.write_bytes(content.replace(offset, (1 << 40).to_bytes(8, "little")))
    with pytest.raises(StoreError, match="its bytes have the checksum"):
        GL10MDataset(tmp_path)
    seal.seal(path)
    with pytest.raises(StoreError, match="images outside their shards"):
        GL10MDataset(tmp_path)
