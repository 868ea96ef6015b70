"""Is a data set whole? Shards, indexes and the scenes manifest against each other; deep: every byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gl10m.manifest import parquet
from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.schema import CANDIDATES, FUNNEL, ITEMS, PLACED, REJECTIONS, SCENES, SPLITS, STORED, Table
from gl10m.scene.grid import TILES
from gl10m.storage.place import BucketPath, Place, at_hand
from gl10m.storage.register import REGISTER, unnamed
from gl10m.store.byte_source import LocalFiles
from gl10m.store.codec import SIDE
from gl10m.store.index import ShardFile, index_shard
from gl10m.store.layout import INDEXES, SHARDS, ShardName, StoreError, index_path, shard_path
from gl10m.store.reader import INDEX_REMEDY, RegionIndex, RegionReader, open_index, regions_of
from gl10m.store.shard import REMEDY, open_shard

FOREIGN = "Move it elsewhere: data/ and index/ hold what `gl10m build` wrote, and nothing else."
"""What to do about a file that no index names."""

UNNAMED = "The next `gl10m build` deletes it if a build left it there; move anything else elsewhere."
"""What to do about such an object in a bucket."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a data set."""

    file: str
    """Path below the root: data/CA-00000-of-00003.parquet."""
    scene: str | None
    """Scene id, where the problem is of one scene."""
    what: str
    """What is wrong, in one line."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        scene = f" {self.scene}:" if self.scene else ""
        return f"{self.file}:{scene} {self.what} {self.remedy}"


BUILD_AGAIN = "Run the same `gl10m build` again, which fetches what is missing."
"""What to do about a file that is not there."""

SPLIT_REMEDY = "Run `gl10m split` again."
"""What to do about scenes and splits that do not fit each other."""


def verify(root: Place, *, deep: bool = False) -> list[Problem]:
    """Look for anything that is not as the build left it.

    Args:
        root: the data set.
        deep: read every byte: SHA-256 of every shard, every byte range of the index against the shard's own
            Parquet, every image's checksum and pixels. Otherwise sizes, footers, indexes and manifest alone.

    Returns:
        All problems found; none if the data set is whole.

    Raises:
        DataSetNotFoundError: there is no data set.
    """
    problems = []
    indexed: dict[str, tuple[str, int]] = {}
    known: set[str] = set()
    for region in regions_of(root):
        path = f"{INDEXES}/{region}.arrow"
        try:
            index = open_index(index_path(root, region))
        except StoreError as error:
            # Its shards are then known to nobody, and no file of theirs is called foreign.
            known |= {shard.name for shard in (root / SHARDS).glob(f"{region}-*.parquet")}
            problems.append(Problem(path, None, _what(error), INDEX_REMEDY))
            continue
        known |= {shard.name for shard in index.shards}
        problems += _check_index(path, index)
        for number in range(len(index.shards)):
            problems += _check_shard(root, index, number, deep=deep)
        numbers, rows = index.column("shard").tolist(), index.column("row").tolist()
        places = [(index.shards[number].name, row) for number, row in zip(numbers, rows, strict=True)]
        indexed |= dict(zip(index.scene_ids, places, strict=True))
    problems += _check_manifest(root, indexed, deep=deep)
    problems += _check_splits(root, set(indexed))
    for declared in (CANDIDATES, REJECTIONS, ITEMS, FUNNEL):
        problems += _check_readable(root, declared)
    problems += _foreign_files(root, known)
    return problems


def _check_index(path: str, index: RegionIndex) -> Iterator[Problem]:
    wrong = [scene for scene in index.scene_ids if not scene.startswith(f"{index.region}-")]
    if wrong:
        yield Problem(path, wrong[0], "the scene belongs to another region.", INDEX_REMEDY)


def _check_shard(root: Place, index: RegionIndex, number: int, *, deep: bool) -> Iterator[Problem]:
    shard = index.shards[number]
    file = f"{SHARDS}/{shard.name}"
    path = shard_path(root, ShardName.parse(shard.name))
    if not path.is_file():
        yield Problem(file, None, "it is missing.", BUILD_AGAIN)
        return
    size = path.stat().st_size
    if size != shard.size:
        yield Problem(file, None, f"it has {size} bytes; the index says {shard.size}.", REMEDY)
        return
    own = index.rows.filter(pa.array(index.column("shard") == number))
    try:
        with open_shard(path) as opened:
            rows = opened.metadata.num_rows
        if rows != own.num_rows:
            yield Problem(file, None, f"it has {rows} scenes; the index says {own.num_rows}.", REMEDY)
        if deep:
            with at_hand(path) as local:
                yield from _check_images(local.parent, file, index, number)
                yield from _check_bytes(local, file, shard, own)
    except StoreError as error:
        yield Problem(file, None, _what(error), REMEDY)


def _check_images(shards: Path, file: str, index: RegionIndex, number: int) -> Iterator[Problem]:
    """Read every image of a shard by its byte range, compare its checksum and decode it."""
    source = LocalFiles(shards)
    reader = RegionReader(index, source, verify=True)
    pixels = np.empty((TILES, SIDE, SIDE, 3), np.uint8)
    for row in np.flatnonzero(index.column("shard") == number).tolist():
        try:
            reader.lr(row, pixels[0])
            reader.hr(row, range(TILES), pixels)
        except StoreError as error:
            yield Problem(file, index.rows["scene_id"][row].as_py(), _what(error), REMEDY)
    source.close()


def _check_bytes(path: Path, file: str, shard: ShardFile, own: pa.Table) -> Iterator[Problem]:
    """Compare a shard's digest, and its index with the one that its own Parquet gives."""
    found = index_shard(path)
    if found.file.sha256 != shard.sha256:
        yield Problem(file, None, "it does not have the SHA-256 that the index says.", REMEDY)
    if not found.rows.equals(own):
        yield Problem(file, None, "the index tells other byte ranges or labels than the file.", INDEX_REMEDY)


def _check_manifest(root: Place, indexed: dict[str, tuple[str, int]], *, deep: bool) -> Iterator[Problem]:
    """Scenes manifest and indexes name the same scenes at the same places, once each; deep: shards, too."""
    file = "manifests/scenes.parquet"
    try:
        rows = parquet.read(root / file, SCENES)
    except (parquet.ManifestError, parquet.ManifestNotFoundError) as error:
        yield Problem(file, None, str(error), REMEDY)
        return
    listed: set[str] = set()
    strangers: list[str] = []
    for row in rows.select(["scene_id", "shard", "row"]).to_pylist():
        scene, place = row["scene_id"], (row["shard"], row["row"])
        if scene in listed:
            yield Problem(file, scene, "the scene is listed twice.", REMEDY)
        elif scene not in indexed:
            strangers.append(scene)
        elif indexed[scene] != place:
            what = f"the manifest has it at row {place[1]} of {place[0]}, the index at row "
            yield Problem(file, scene, f"{what}{indexed[scene][1]} of {indexed[scene][0]}.", REMEDY)
        listed.add(scene)
    if strangers:
        yield Problem(file, None, f"{len(strangers)} scenes, as {strangers[0]}, are in no index.", REMEDY)
    missing = sorted(set(indexed) - listed)
    if missing:
        yield Problem(
            file, None, f"{len(missing)} scenes of the index, as {missing[0]}, are missing.", REMEDY
        )
    if deep:
        yield from _check_columns(root, file, rows)


def _check_columns(root: Place, file: str, rows: pa.Table) -> Iterator[Problem]:
    """The manifest says of each scene what its shard says, and of its neighbours what is so."""
    if not with_neighbours(rows.select(PLACED.names)).cast(SCENES.schema).equals(rows):
        yield Problem(file, None, "it names other nearest scenes than there are.", REMEDY)
    columns = STORED.names
    for name in sorted(set(rows["shard"].to_pylist()), key=str):
        listed = (
            rows.filter(pc.is_in(rows["shard"], pa.array([name], pa.string()))).sort_by("row").select(columns)
        )
        try:
            with open_shard(shard_path(root, ShardName.parse(str(name)))) as shard:
                stored = shard.read(columns=columns).select(columns).cast(listed.schema)
        except (StoreError, FileNotFoundError, pa.ArrowException, OSError):
            continue  # the shard's own check has told it
        if not stored.combine_chunks().equals(listed.combine_chunks()):
            yield Problem(file, None, f"it does not say of {name} what the shard itself says.", REMEDY)


def _check_splits(root: Place, scenes: set[str]) -> Iterator[Problem]:
    """Where the data set is split, every scene has a split, and no scene that is gone."""
    file = "manifests/splits.parquet"
    if not (root / file).exists():
        return
    try:
        listed = set(parquet.read(root / file, SPLITS, ["scene_id"])["scene_id"].to_pylist())
    except parquet.ManifestError as error:
        yield Problem(file, None, str(error), SPLIT_REMEDY)
        return
    without, gone = scenes - listed, listed - scenes
    if without:
        yield Problem(file, None, f"{len(without)} scenes, as {min(without)}, have no split.", SPLIT_REMEDY)
    if gone:
        yield Problem(file, None, f"it names {len(gone)} scenes that are not there.", SPLIT_REMEDY)


def _check_readable(root: Place, declared: Table) -> Iterator[Problem]:
    """A manifest that the loader does not read can be left out of a copy; where it is, it is whole."""
    file = f"manifests/{declared.name}.parquet"
    if not (root / file).exists():
        return
    try:
        parquet.read(root / file, declared)
    except parquet.ManifestError as error:
        yield Problem(file, None, str(error), REMEDY)


def _foreign_files(root: Place, known: set[str]) -> Iterator[Problem]:
    if isinstance(root, BucketPath):
        for key in unnamed(root.root.address, root.root.files):
            yield Problem(key, None, f"{REGISTER} does not name it.", UNNAMED)
        return
    for folder, names in ((SHARDS, known), (INDEXES, {f"{region}.arrow" for region in regions_of(root)})):
        for path in sorted((root / folder).glob("*")):
            if path.name not in names and not path.name.startswith(parquet.TEMPORARY):
                yield Problem(f"{folder}/{path.name}", None, "no index names it.", FOREIGN)


def _what(error: StoreError) -> str:
    """The message without the remedy, which a problem tells by itself."""
    return str(error).removesuffix(REMEDY).removesuffix(INDEX_REMEDY).strip()
