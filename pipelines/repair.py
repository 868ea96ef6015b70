"""Makes a damaged data set whole: what can be made anew is, the rest is fetched by the build itself.

Nothing here writes a shard or a manifest by a way of its own. Scenes that are whole are taken out of a
damaged shard into fragments of the journal, the shard is dropped, and the publication of `gl10m build` does
the rest: it writes what is missing from the fragments and the journal's tables, and touches nothing else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import paired, values, where
from gl10m.manifest.schema import SCENES
from gl10m.scene.class_map import ClassMap
from gl10m.storage import register
from gl10m.storage.place import BucketPath, Place, below
from gl10m.storage.register import REGISTER
from gl10m.store.index import write_index
from gl10m.store.integrity import verify
from gl10m.store.layout import INDEXES, SHARDS, ShardName, StoreError, index_path
from gl10m.store.problem import FOREIGN, MANIFEST_REMEDY, SPLIT_REMEDY, UNNAMED, Problem
from gl10m.store.region_index import INDEX_REMEDY, DataSetNotFoundError, RegionIndex, open_index, regions_left
from pipelines.build import build
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from pipelines.execution.lock import locked
from pipelines.execution.publication import transaction_in
from pipelines.inputs import BuildRequest
from pipelines.publish import publish
from pipelines.remembered import UnknownBuildError, remembered
from pipelines.salvage import is_whole, salvage
from pipelines.shards import available

NOT_OURS = frozenset({FOREIGN, UNNAMED, SPLIT_REMEDY})
"""Remedies that are the user's to choose."""

WITH_OPTIONS = "`gl10m repair` or `gl10m build`, with the options of the build, makes it anew."
"""What to do about what a repair without them could not make."""


@dataclass(slots=True)
class RepairReport:
    """What a repair did, or would do."""

    lines: list[str] = field(default_factory=list)
    left: list[Problem] = field(default_factory=list)
    """What is still wrong."""

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"left: {problem}" for problem in self.left)])


def repair(
    root: Place, class_map: ClassMap, request: BuildRequest | None = None, *, dry_run: bool = False
) -> RepairReport:
    """Make a data set whole again.

    Args:
        root: the data set.
        class_map: of its build.
        request: the build that made it, which fetches the scenes that are lost; if None they stay lost.
        dry_run: say what would be done, and change nothing.

    Raises:
        DataSetNotFoundError: there is no data set.
        BuildLockedError: a build is writing into it.
        RegisterError: a bucket's register is damaged and its objects do not tell what it said.
    """
    report = RepairReport()
    if isinstance(root, BucketPath) and register.is_damaged(root.root.address):
        if dry_run:
            report.lines.append(f"{REGISTER}: to be made anew from the objects of the bucket")
            return report
        register.restore(root.root.address)
        report.lines.append(f"{REGISTER}: made anew from the objects of the bucket")
    problems = verify(root, deep=True)
    mine = [problem for problem in problems if problem.remedy not in NOT_OURS]
    report.left = [problem for problem in problems if problem.remedy in NOT_OURS]
    if not mine:
        report.lines.append(f"{root}: nothing to repair")
        return report
    report.lines += _intended(mine, fetches=request is not None)
    if dry_run:
        report.lines += _foreseen(root, class_map, mine, fetches=request is not None)
        return report
    lost = _take_apart(root, mine, report)
    _make_anew(root, class_map, request, lost, report)
    return report


def _intended(problems: list[Problem], *, fetches: bool) -> list[str]:
    """One line for each file that is to be mended; what is lost is fetched again, or told."""
    scenes: dict[str, list[str]] = {}
    for problem in problems:
        scenes.setdefault(problem.file, [])
        if problem.scene:
            scenes[problem.file].append(problem.scene)
    lines = []
    for file, named in sorted(scenes.items()):
        if file.startswith(f"{SHARDS}/"):
            fate = "to be fetched again" if fetches else "lost, unless --states has them fetched again"
            known = f"scenes {', '.join(sorted(set(named)))} {fate}" if named else "no scene known as lost"
            lines.append(f"{file}: to be written anew; {known}")
        else:
            lines.append(f"{file}: to be made anew from the shards and the journal")
    return lines


def _foreseen(root: Place, class_map: ClassMap, problems: list[Problem], *, fetches: bool) -> list[str]:
    """What will keep a repair from going as intended: lost scenes, or a journal that does not suffice."""
    fate = "fetched again" if fetches else "lost"
    suspects = _suspects(root, {problem.file for problem in problems})
    unseen = [path.name for path, index in suspects if index is None and not is_whole(path)]
    lines = [f"{SHARDS}/{name}: damaged; what of its scenes is not whole is {fate}" for name in unseen]
    if unseen or _loses_scenes(root, problems):
        return lines if fetches else [*lines, _to_run("scenes are lost")]
    if all(problem.file.startswith(f"{INDEXES}/") for problem in problems):
        return []  # made from the shards alone
    try:
        remembered(root, class_map)
    except UnknownBuildError as error:
        told = [f"the journal does not suffice: {error}"]
        return told if fetches else [*told, _to_run("the tables of the build are lost")]
    return []


def _loses_scenes(root: Place, problems: list[Problem]) -> bool:
    """Whether scenes are surely lost; what a shard with a damaged footer still holds is not told here."""
    damaged = [problem for problem in problems if problem.file.startswith(f"{SHARDS}/")]
    if any(problem.scene for problem in damaged):
        return True
    if any((root / problem.file).exists() for problem in damaged):
        return False
    return bool(_lost(root, Journal(root)))


def _lost(root: Place, journal: Journal) -> set[str]:
    """Keys of scenes that were kept and whose images are in no fragment and no shard."""
    receipts = _receipts(journal)
    return set(values(where(receipts, "outcome", {"kept"}), "scene_key")) - available(root, receipts)


def _to_run(what: str) -> str:
    return f"{what}: run `gl10m repair` or `gl10m build` with the options of the build, which fetches them"


def _take_apart(root: Place, problems: list[Problem], report: RepairReport) -> int:
    """Save what is whole of damaged shards in the journal and drop them; gives how many scenes are lost."""
    damaged = {problem.file for problem in problems}
    dropped = set()
    with locked(root):
        journal = Journal(root)
        journal.sweep()
        transaction_in(root).recover()
        keys = _published_keys(journal)
        listed = _listed(root) if "manifests/scenes.parquet" not in damaged else None
        for path, index in _suspects(root, damaged):
            whole = salvage(path, index, listed, keys, journal)
            if whole is None:
                continue  # it reads as it should: only its index was damaged
            report.lines.append(f"{SHARDS}/{path.name}: {whole} whole scenes kept")
            _drop(root, f"{SHARDS}/{path.name}")
            dropped.add(path.name[:2])
        _index_anew(root, dropped)
        return len(_lost(root, journal))


def _index_anew(root: Place, incomplete: set[str]) -> None:
    """Make lost indexes from their shards alone, of regions that have all of them."""
    transaction = transaction_in(root)
    for region in regions_left(root):
        shards = below(root / SHARDS, f"{region}-*.parquet")
        whole = bool(shards) and len(shards) == ShardName.parse(shards[0].name).count
        if region not in incomplete and whole and _index_of(root, region) is None:
            write_index(transaction.stage(f"{INDEXES}/{region}.arrow"), shards)
    transaction.publish([])


def _index_of(root: Place, region: str) -> RegionIndex | None:
    """The index of a region; None where it is missing or damaged."""
    try:
        return open_index(index_path(root, region))
    except (DataSetNotFoundError, StoreError):
        return None


def _receipts(journal: Journal) -> pa.Table:
    """Receipts of the last publication, schema RECEIPTS."""
    return Receipts(journal).published()


def _published_keys(journal: Journal) -> Mapping[str, str]:
    """Scene id to scene key of published scenes."""
    kept = where(_receipts(journal), "outcome", {"kept"})
    return paired(kept, "scene_id", "scene_key")


def _listed(root: Place) -> pa.Table | None:
    try:
        return parquet.read(root / "manifests" / "scenes.parquet", SCENES)
    except (parquet.ManifestError, parquet.ManifestNotFoundError):
        return None


def _suspects(root: Place, damaged: set[str]) -> Iterator[tuple[Place, RegionIndex | None]]:
    """Shards that may be damaged, with their index if that is whole: of a lost index all of its shards."""
    for region in regions_left(root):
        index = _index_of(root, region)
        for path in below(root / SHARDS, f"{region}-*.parquet"):
            if index is None or f"{SHARDS}/{path.name}" in damaged:
                yield path, index


def _drop(root: Place, name: str) -> None:
    """Take a damaged shard out of the data set."""
    if isinstance(root, Path):
        (root / name).unlink(missing_ok=True)
    else:
        root.root.commit({}, {name})


def _make_anew(
    root: Place, class_map: ClassMap, request: BuildRequest | None, lost: int, report: RepairReport
) -> None:
    """Publish from the journal alone where no scene is lost, else by the build."""
    if not lost and not verify(root):
        report.lines.append("made anew from the shards; nothing was fetched")
        return
    if not lost:
        try:
            with locked(root):
                publish(root, remembered(root, class_map), class_map)
        except UnknownBuildError as error:
            report.lines.append(f"the journal does not suffice: {error}")
        else:
            report.lines.append("published anew from the journal; nothing was fetched")
            report.left += verify(root)
            return
    if request is None:
        what = f"{lost} scenes are lost" if lost else "the tables of the build are lost"
        report.lines.append(_to_run(what))
    else:
        report.lines.append(f"{lost} scenes fetched again by the build")
        report.lines.append(build(request).text)
    left = [problem for problem in verify(root) if problem not in report.left]
    report.left += left if request else [_with_options(problem) for problem in left]


def _with_options(problem: Problem) -> Problem:
    """A problem whose remedy is not the very command that has just failed."""
    failed = problem.remedy in {MANIFEST_REMEDY, INDEX_REMEDY}
    return replace(problem, remedy=WITH_OPTIONS) if failed else problem
