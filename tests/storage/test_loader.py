"""The loader on a bucket: the same tensors, few requests, few bytes, in every kind of worker."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gl10m import GL10MDataset
from gl10m.loader import GL10MStream, collate
from gl10m.storage import client
from gl10m.storage.client import ObjectNotFoundError, StorageDeniedError, StorageUnavailableError
from gl10m.storage.contents import cached
from gl10m.storage.place import BucketPath, object_at, place_of
from gl10m.store import codec
from gl10m.store.layout import index_path
from gl10m.store.reader import ShardNotFoundError
from gl10m.store.region_index import DataSetNotFoundError, RegionIndex, open_index
from tests.storage.object_server import Proxy, publish
from tests.store.small_scenes import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("root"), {"CA": "train", "WA": "test"}, CA=3, WA=2)


@pytest.fixture
def both(root: BucketPath, folder: Path) -> tuple[Path, BucketPath]:
    """The same data set in a folder and in a bucket."""
    publish(folder, root)
    return folder, root


def samples(dataset: GL10MDataset) -> list[dict[str, Any]]:
    return [dataset[index] for index in range(len(dataset))]


def assert_equal(own: dict[str, Any], other: dict[str, Any]) -> None:
    assert own.keys() == other.keys()
    for name, value in own.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other[name]), name
        else:
            assert value == other[name], name


def test_samples_are_those_of_the_folder(both: tuple[Path, BucketPath]) -> None:
    local, remote = (
        GL10MDataset(root if isinstance(root, Path) else str(root), "train", tiles=12, verify=True)
        for root in both
    )
    assert remote.scene_ids == local.scene_ids
    assert np.array_equal(remote.labels, local.labels)
    for own, other in zip(samples(remote), samples(local), strict=True):
        assert_equal(own, other)
    assert torch.equal(remote.scene(1).tile_labels(), local.scene(1).tile_labels())
    everything = list(range(100))
    assert torch.equal(remote.scene(2).hr(everything), local.scene(2).hr(everything))


def index_of(dataset: GL10MDataset) -> RegionIndex:
    """The index of the first region."""
    return open_index(index_path(dataset.root, dataset.scene_ids[0][:2]))


def gets(s3: Proxy) -> list[tuple[str, int]]:
    return [(path, size) for path, size in s3.sent("GET") if "/data/" in path]


def test_the_lr_image_of_a_scene_is_one_request_of_its_own_bytes(
    s3: Proxy, both: tuple[Path, BucketPath]
) -> None:
    dataset = GL10MDataset(both[1])
    own = int(index_of(dataset).column("lr_length")[0])
    s3.forget()
    dataset.scene(0).lr()
    assert [size for _, size in s3.sent("GET")] == [own]
    assert len(s3.requests) == 1


def test_neighbouring_tiles_come_together_and_others_alone(s3: Proxy, both: tuple[Path, BucketPath]) -> None:
    dataset = GL10MDataset(both[1], gap=16)
    s3.forget()
    dataset.scene(0).hr([5, 6, 7, 50])
    assert len(s3.requests) == 2
    wide = GL10MDataset(both[1], gap=1 << 20)
    s3.forget()
    wide.scene(0).hr([5, 6, 7, 50])
    assert len(s3.requests) == 1


@pytest.fixture
def photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of about the size of real ones, 33.7 KB, instead of stripes."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 34, 34), np.uint8).repeat(8, 1).repeat(8, 2)
    fine = np.random.default_rng(1).integers(0, 24, (3, 268, 268), np.uint8)
    picture = codec.encode_tile((noise[:, :268, :268] // 2 + fine).astype(np.uint8))
    assert 25_000 < len(picture) < 45_000
    monkeypatch.setattr("tests.store.small_scenes.tile_jpeg", lambda *_: picture)


@pytest.mark.usefixtures("photographs")
def test_twelve_tiles_cost_little_more_than_their_own_bytes(s3: Proxy, root: BucketPath) -> None:
    build(root, CA=8)
    dataset = GL10MDataset(root, tiles=12)
    lengths, lr_lengths = index_of(dataset).column("hr_length"), index_of(dataset).column("lr_length")
    s3.forget()
    drawn = [sample["tiles"].numpy() for sample in samples(dataset)]
    own = sum(int(lengths[row][tiles].sum() + lr_lengths[row]) for row, tiles in enumerate(drawn))
    read = sum(size for _, size in gets(s3))
    assert read <= 1.2 * own
    assert len(gets(s3)) <= 13 * len(dataset)


def test_opening_a_data_set_asks_for_little_and_again_for_less(
    s3: Proxy, both: tuple[Path, BucketPath]
) -> None:
    s3.forget()
    GL10MDataset(str(both[1]))
    first = len(s3.requests)
    s3.forget()
    GL10MDataset(str(both[1]))
    assert first == 3, "the register and two indexes"
    assert [path.rpartition("/")[2] for path, _ in s3.sent("GET")] == ["gl10m.json"]
    assert len(s3.requests) == 1


def test_an_index_that_changed_is_fetched_anew(root: BucketPath) -> None:
    build(root, CA=2)
    assert len(GL10MDataset(str(root))) == 2
    build(root, CA=3)
    assert len(GL10MDataset(str(root))) == 3


@pytest.mark.parametrize(
    "method",
    ["fork", *(pytest.param(method, marks=pytest.mark.slow) for method in ("spawn", "forkserver"))],
)
def test_workers_of_every_kind_read_the_same(both: tuple[Path, BucketPath], method: str) -> None:
    """The parent has used the client before it forks: that alone would hang the child."""
    remote = GL10MDataset(both[1], tiles=[0, 99])
    expected = samples(GL10MDataset(both[0], tiles=[0, 99]))
    assert_equal(remote[0], expected[0])
    loader = DataLoader(remote, batch_size=None, num_workers=2, multiprocessing_context=method, timeout=60)
    for own, other in zip(loader, expected, strict=True):
        assert_equal(own, other)


def test_an_error_in_a_forked_worker_is_told(both: tuple[Path, BucketPath]) -> None:
    remote = GL10MDataset(both[1])
    for entry in both[1].root.files.values():
        client.delete(both[1].root.address, entry.key)
    with pytest.raises(ShardNotFoundError, match="CA-00000-of-00001"):
        next(iter(DataLoader(remote, batch_size=None, num_workers=1, multiprocessing_context="fork")))


def test_a_pickled_data_set_reads_what_it_read(both: tuple[Path, BucketPath]) -> None:
    dataset = GL10MDataset(both[1], tiles=3)
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert_equal(again[1], dataset[1])


def test_a_replaced_shard_is_told_to_one_who_still_reads_it(both: tuple[Path, BucketPath]) -> None:
    dataset = GL10MDataset(both[1])
    build(both[1], CA=4, WA=2)
    with pytest.raises(ShardNotFoundError, match="Open the data set anew"):
        dataset[0]


REFUSALS: dict[str, tuple[int, type[Exception], str]] = {
    "no right": (403, StorageDeniedError, "AWS_"),
    "down": (503, StorageUnavailableError, "503"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_is_told_with_what_to_do(
    s3: Proxy, both: tuple[Path, BucketPath], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    client.forget()
    status, error, word = REFUSALS[kind]
    s3.fault = lambda *_: status
    with pytest.raises(error, match=word) as told:
        GL10MDataset(str(both[1]))
    assert "canary" not in str(told.value)
    assert "Debug source" not in str(told.value)


def test_no_bucket_and_no_data_set_are_told_apart(root: BucketPath) -> None:
    with pytest.raises(DataSetNotFoundError, match="no data set in s3://"):
        GL10MDataset(str(root))
    with pytest.raises(ObjectNotFoundError, match="there is no bucket s3://no-such-bucket"):
        GL10MDataset("s3://no-such-bucket/x")


def test_without_credentials_it_says_which_are_looked_for(
    root: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(client, "RETRIES", 1)
    client.forget()
    with pytest.raises(StorageDeniedError, match="AWS_ACCESS_KEY_ID"):
        GL10MDataset(str(root))


def test_an_input_is_copied_once_and_again_when_it_changed(root: BucketPath, s3: Proxy) -> None:
    address = f"{root}/maps/mine.toml"
    client.put(root.root.address, "maps/mine.toml", b"first")
    assert cached(object_at(address)).read_bytes() == b"first"
    s3.forget()
    assert cached(object_at(address)).read_bytes() == b"first"
    assert s3.sent("GET") == []
    client.put(root.root.address, "maps/mine.toml", b"other")
    assert cached(object_at(address)).read_bytes() == b"other"
    assert isinstance(place_of(str(root)), BucketPath)


def test_a_batch_out_of_a_bucket_is_one_round_trip(
    s3: Proxy, both: tuple[Path, BucketPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    local, remote = (GL10MDataset(root, tiles=[1, 50, 99], gap=0) for root in both)
    asked: list[int] = []
    read = client.read_ranges
    monkeypatch.setattr(
        client,
        "read_ranges",
        lambda where, spans: (asked.append(len(spans)), read(where, spans))[1],  # type: ignore[func-returns-value]
    )
    s3.forget()
    found = remote.__getitems__([4, 0, 2])
    assert asked == [len(s3.requests)] == [3 * 4]
    for own, other in zip(found, local.__getitems__([4, 0, 2]), strict=True):
        assert_equal(own, other)


def test_a_wider_gap_trades_bytes_for_requests(s3: Proxy, both: tuple[Path, BucketPath]) -> None:
    spent = []
    for gap in (0, 4_000, 1 << 20):
        dataset = GL10MDataset(both[1], tiles=[1, 3, 50, 99], gap=gap)
        s3.forget()
        dataset.__getitems__([0, 1, 2])
        spent.append((len(s3.requests), sum(size for _, size in s3.sent("GET"))))
    requests, sizes = zip(*spent, strict=True)
    assert list(requests) == sorted(requests, reverse=True)
    assert list(sizes) == sorted(sizes)
    assert len(set(requests)) == 3


def test_lr_is_seen_and_tiles_are_bought_in_two_round_trips(s3: Proxy, both: tuple[Path, BucketPath]) -> None:
    dataset = GL10MDataset(both[1], gap=0)
    s3.forget()
    batch = collate(dataset.__getitems__([0, 3]))
    assert len(s3.requests) == 2
    observed = dataset.observe(batch, [[7, 70], [5]])
    assert len(s3.requests) == 2 + 3
    assert torch.equal(observed["hr"][1], GL10MDataset(both[0]).scene(0).hr([70])[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_out_of_a_bucket_gives_whole_scenes_with_two_requests_at_most(
    s3: Proxy, both: tuple[Path, BucketPath], workers: int
) -> None:
    stream = GL10MStream(GL10MDataset(both[1], tiles="all"))
    expected = list(GL10MStream(GL10MDataset(both[0], tiles="all")))
    s3.forget()
    found = list(DataLoader(stream, batch_size=None, num_workers=workers) if workers else stream)
    assert [sample["scene_id"] for sample in found] == [sample["scene_id"] for sample in expected]
    assert all(torch.equal(own["hr"], other["hr"]) for own, other in zip(found, expected, strict=True))
    assert len(gets(s3)) <= 2 * len(found)
