"""Is a data set whole? Shards, indexes, manifests and register against each other; deep: every byte."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gl10m.manifest.parquet import TEMPORARY
from gl10m.scene.states import REGION_CODE
from gl10m.storage import client, register
from gl10m.storage.checksum import sha256_of
from gl10m.storage.contents import at_hand
from gl10m.storage.place import BucketPath, Place, below
from gl10m.storage.register import FOLDERS, REGISTER, Entry, RegisterError
from gl10m.store.layout import INDEXES, SHARDS, ShardName, StoreError, index_path
from gl10m.store.manifest_check import check_manifests, read_manifests
from gl10m.store.problem import (
    FOREIGN,
    MANIFEST_REMEDY,
    REGISTER_REMEDY,
    UNNAMED,
    Problem,
    without_remedy,
)
from gl10m.store.region_index import INDEX_REMEDY, DataSetNotFoundError, RegionIndex, open_index, regions_left
from gl10m.store.shard import REMEDY
from gl10m.store.shard_check import check_shard

Progress = Callable[[int, int], None]
"""Is told, after each shard, how many bytes of shards are checked, and how many there are."""


def verify(
    root: Place, *, deep: bool = False, threads: int | None = None, progress: Progress | None = None
) -> list[Problem]:
    """Look for anything that is not as the build left it.

    Args:
        root: the data set.
        deep: read every byte: SHA-256 of every shard, every byte range of the index against the shard's own
            Parquet, every image's checksum and pixels, what manifests say against what shards say. Otherwise
            indexes and manifests byte for byte, shards by size, footer and scenes.
        threads: shards that are checked at a time; one a core if None.
        progress: is told how far the check is.

    Returns:
        All problems found, the same in the same order whatever the threads; none if the data set is whole.

    Raises:
        DataSetNotFoundError: there is no data set.
        StorageError: the object store refuses, or does not answer.
    """
    try:
        regions = regions_left(root)
    except RegisterError as error:
        return [Problem(REGISTER, None, str(error), REGISTER_REMEDY)]
    indexes, problems = _open_indexes(root, regions)
    tables, unreadable = read_manifests(root)
    problems += unreadable
    tasks = [(index, number) for index in indexes for number in range(len(index.shards))]
    total, done = sum(index.shards[number].size for index, number in tasks), 0

    def check(task: tuple[RegionIndex, int]) -> list[Problem]:
        return check_shard(root, *task, tables.get("scenes"), deep=deep)

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for (index, number), found in zip(tasks, pool.map(check, tasks), strict=True):
            problems += found
            done += index.shards[number].size
            if progress:
                progress(done, total)
    complete = len(indexes) == len(regions)
    problems += check_manifests(tables, _places(indexes), complete=complete, deep=deep)
    if isinstance(root, BucketPath):
        problems += _objects(root, indexes, deep=deep)
    else:
        problems += _foreign_files(root, indexes)
    return list(dict.fromkeys(problems))


def _open_indexes(root: Place, regions: list[str]) -> tuple[list[RegionIndex], list[Problem]]:
    """The indexes that are whole, and what is wrong with the others."""
    indexes: list[RegionIndex] = []
    problems = []
    for region in regions:
        file = f"{INDEXES}/{region}.arrow"
        try:
            index = open_index(index_path(root, region))
        except DataSetNotFoundError:
            problems.append(Problem(file, None, "it is missing.", INDEX_REMEDY))
        except (StoreError, OSError) as error:
            what = without_remedy(error) if isinstance(error, StoreError) else str(error)
            problems.append(Problem(file, None, what, INDEX_REMEDY))
        else:
            wrong = [scene for scene in index.scene_ids if not scene.startswith(f"{region}-")]
            if wrong:
                problems.append(Problem(file, wrong[0], "the scene belongs to another region.", INDEX_REMEDY))
            if indexes and index.class_names != indexes[0].class_names:
                what = f"it names other classes than {INDEXES}/{indexes[0].region}.arrow."
                problems.append(Problem(file, None, what, "Build one of the two regions again."))
            indexes.append(index)
    return indexes, problems


def _places(indexes: list[RegionIndex]) -> dict[str, tuple[str, int]]:
    """Shard and row of each scene."""
    places: dict[str, tuple[str, int]] = {}
    for index in indexes:
        numbers, rows = index.column("shard").tolist(), index.column("row").tolist()
        names = [index.shards[number].name for number in numbers]
        places |= dict(zip(index.scene_ids, zip(names, rows, strict=True), strict=True))
    return places


def _foreign_files(root: Path, indexes: list[RegionIndex]) -> Iterator[Problem]:
    """Files that stand in data/ or index/ and belong to no index; of a lost index no shard is called so."""
    known = {index.region: {shard.name for shard in index.shards} for index in indexes}
    for path in below(root / SHARDS, "*"):
        region = _region(path.name)
        stranger = region is None or path.name not in known.get(region, {path.name})
        if stranger and not path.name.startswith(TEMPORARY):
            yield Problem(f"{SHARDS}/{path.name}", None, "no index names it.", FOREIGN)
    for path in below(root / INDEXES, "*"):
        index = REGION_CODE.fullmatch(path.stem) and path.suffix == ".arrow"
        if not index and not path.name.startswith(TEMPORARY):
            yield Problem(f"{INDEXES}/{path.name}", None, "it is no index.", FOREIGN)


def _region(shard: str) -> str | None:
    """The region of a shard by its name; None where that is no shard's."""
    try:
        return ShardName.parse(shard).region
    except StoreError:
        return None


def _objects(root: BucketPath, indexes: list[RegionIndex], *, deep: bool) -> Iterator[Problem]:
    """The objects of a bucket are those that its register names, as long as it says; deep: the same bytes."""
    address, files = root.root.address, root.root.files
    found = register.read(address)
    if found is not None and client.read(address, REGISTER)[0] != found.register.encode():
        yield Problem(REGISTER, None, "it is not written as a build writes it.", REGISTER_REMEDY)
    sizes = {found.key: found.size for folder in FOLDERS for found in client.listed(address, folder)[1]}
    digests = {f"{SHARDS}/{shard.name}": shard.sha256 for index in indexes for shard in index.shards}
    for name, entry in files.items():
        size = sizes.get(entry.key) if name.partition("/")[0] in FOLDERS else entry.size
        remedy = REMEDY if name in digests else MANIFEST_REMEDY
        if size != entry.size:
            stands = "is missing" if size is None else f"has {size} bytes, not {entry.size}"
            yield Problem(name, None, f"its object {entry.key} {stands}.", remedy)
        elif entry.sha256 is not None and name in digests and entry.sha256 != digests[name]:
            yield Problem(name, None, f"{REGISTER} gives it another SHA-256 than its index.", remedy)
        elif deep and entry.sha256 is not None and name not in digests:
            yield from _check_digest(root / name, entry)
    for key in register.unnamed(address, files):
        yield Problem(key, None, f"{REGISTER} does not name it.", UNNAMED)


def _check_digest(path: BucketPath, entry: Entry) -> Iterator[Problem]:
    try:
        with at_hand(path) as local:
            if sha256_of(local) != entry.sha256:
                what = f"it does not have the SHA-256 that {REGISTER} says."
                yield Problem(path.place, None, what, MANIFEST_REMEDY)
    except client.ObjectNotFoundError:
        yield Problem(path.place, None, f"its object {entry.key} is missing.", MANIFEST_REMEDY)
