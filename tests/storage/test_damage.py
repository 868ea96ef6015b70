"""Damage in a bucket: found in objects and in the register, mended, and never other pixels in silence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gl10m import GL10MDataset
from gl10m.scene.class_map import ClassMap
from gl10m.storage import client
from gl10m.storage.place import BucketPath, place_of
from gl10m.storage.register import REGISTER, RegisterError
from gl10m.store.integrity import verify
from gl10m.store.problem import Problem
from pipelines import compaction
from pipelines.repair import repair
from tests.pipelines.town import contents as files_in
from tests.storage.data_sets import contents, place
from tests.storage.test_publication import copy
from tests.store.mutations import Mutation, mutation
from tests.store.small_scenes import build


def change(root: BucketPath, key: str, content: bytes | None) -> None:
    if content is None:
        client.delete(root.root.address, key)
    else:
        client.put(root.root.address, key, content)


def found(root: BucketPath, *, deep: bool) -> list[Problem]:
    return verify(place(root), deep=deep)


def test_any_change_of_the_register_is_found_and_the_loader_says_so(root: BucketPath) -> None:
    build(root, CA=1)
    content, _ = client.read(root.root.address, REGISTER)
    for number in range(0, 120, 2):
        done = mutation({REGISTER: content}, number)
        if done.content is None:
            continue
        change(root, REGISTER, done.content)
        (problem,) = found(root, deep=False)
        assert problem.file == REGISTER, done
        assert "gl10m repair" in problem.remedy
        with pytest.raises(RegisterError, match=r"gl10m\.json"):
            GL10MDataset(str(root))
    change(root, REGISTER, content)
    assert found(root, deep=True) == []


@pytest.mark.slow
def test_changes_of_objects_are_found(root: BucketPath) -> None:
    build(root, {"CA": "train", "WA": "train"}, CA=1, WA=1)
    files, entries = contents(root), dict(place(root).root.files)
    for number in range(40):
        done: Mutation = mutation(files, number)
        key = entries[done.name].key
        change(root, key, done.content)
        assert any(done.name in str(problem) for problem in found(root, deep=True)), done
        change(root, key, files[done.name])
    assert found(root, deep=True) == []


def drop_register_bit(root: BucketPath) -> None:
    content, _ = client.read(root.root.address, REGISTER)
    change(root, REGISTER, content.replace(b'"size"', b'"size "', 1))


def flip(name: str) -> Callable[[BucketPath], None]:
    def damage(root: BucketPath) -> None:
        key = place(root).root.files[name].key
        content = bytearray(client.read(root.root.address, key)[0])
        content[len(content) // 2] ^= 1
        change(root, key, bytes(content))

    return damage


DAMAGES = {
    "the register": drop_register_bit,
    "the index": flip("index/CA.arrow"),
    "the scenes manifest": flip("manifests/scenes.parquet"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_register_index_and_manifests_are_made_anew(
    root: BucketPath, built: Path, class_map: ClassMap, damage: str
) -> None:
    copy_with_journal(built, root)
    assert found(root, deep=True) == []
    DAMAGES[damage](root)
    assert found(root, deep=True)
    report = repair(place(root), class_map)
    assert report.left == [], report
    assert found(root, deep=True) == []
    cards = {"README.md", "DATA_LICENCES.md"}  # written by whoever publishes; the fixture has them or not
    left = {name: own for name, own in contents(root).items() if not name.startswith(".gl10m")}
    whole = files_in(built)
    assert {name: left[name] for name in left.keys() - cards} == {
        name: whole[name] for name in whole.keys() - cards
    }


def copy_with_journal(built: Path, root: BucketPath) -> None:
    """What a build leaves, put there by another program; then a register for it."""
    for path in sorted(built.rglob("*")):
        if path.is_file() and path.name != "lock":
            client.put(root.root.address, str(path.relative_to(built)), path)
    with place(root).root.held():
        pass


def test_parts_and_the_whole_lie_in_buckets_too(
    root: BucketPath, new_root: Callable[[], BucketPath], built: Path, tmp_path: Path
) -> None:
    copy(built, root)
    whole = new_root()
    assert "CA: " in compaction.compact(whole, [place(root)])
    compaction.compact(tmp_path / "whole", [built])
    stored = {name: own for name, own in contents(whole).items() if not name.startswith(".gl10m")}
    assert stored == files_in(tmp_path / "whole")
    assert verify(place_of(str(whole)), deep=True) == []
