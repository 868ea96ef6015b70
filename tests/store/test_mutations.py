"""Whatever happens to one file: `verify` finds it, and the loader gives the right pixels or a clear error."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gl10m import GL10MDataset
from gl10m.store.integrity import verify
from tests.store.mutations import Files, Mutation, mutation
from tests.store.small_scenes import build

FOUND_FAST = {"cut", "append", "replace", "delete"}
"""Changes of a shard that are found without reading all of it."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutated")
    build(folder, {"CA": "train", "WA": "train"}, CA=2, WA=1)
    return folder


@pytest.fixture(scope="module")
def files(root: Path) -> Files:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def expected(root: Path) -> list[dict[str, Any]]:
    return list(samples(root))


def samples(root: Path) -> Iterator[dict[str, Any]]:
    """Everything that the loader tells."""
    dataset = GL10MDataset(root, "train", tiles="all", columns=["naip_gsd", "naip_items", "class_shares"])
    for place in range(len(dataset)):
        yield {
            **dataset[place],
            "tile_labels": dataset.scene(place).tile_labels(),
            "names": dataset.class_names,
        }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name])
        if isinstance(one[name], torch.Tensor)
        else one[name] == other[name]
        for name in one
    )


def loaded_or_error(root: Path) -> list[dict[str, Any]] | Exception:
    try:
        return list(samples(root))
    except (OSError, ValueError) as error:
        return error


def check(root: Path, files: Files, expected: list[dict[str, Any]], done: Mutation) -> None:
    path = root / done.name
    path.unlink() if done.content is None else path.write_bytes(done.content)
    try:
        fast = verify(root)
        shard = done.name.startswith("data/")
        assert fast or (shard and done.change not in FOUND_FAST), f"{done} is not found fast"
        found = fast or verify(root, deep=True)
        assert found, f"{done} is not found"
        assert any(done.name in str(problem) for problem in found), f"{done}: {found}"
        assert all(problem.what and problem.remedy for problem in found)
        loaded = loaded_or_error(root)
        if isinstance(loaded, Exception):
            assert type(loaded).__module__.startswith("gl10m."), f"{done}: {loaded!r}"
            assert Path(done.name).name in str(loaded), f"{done}: {loaded}"
        else:
            assert len(loaded) == len(expected), f"{done} changes what is loaded"
            assert all(map(same, loaded, expected)), f"{done} changes what is loaded"
    finally:
        path.write_bytes(files[done.name])


def test_one_change_of_one_file(root: Path, files: Files, expected: list[dict[str, Any]]) -> None:
    for number in range(60):
        check(root, files, expected, mutation(files, number))


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(1, 13))
def test_twelve_hundred_changes(
    root: Path, files: Files, expected: list[dict[str, Any]], hundred: int
) -> None:
    for number in range(100 * hundred, 100 * hundred + 100):
        check(root, files, expected, mutation(files, number))
