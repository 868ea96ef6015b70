"""How a build that met faults is followed to its end, and what it lost on the way."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gl10m.manifest import parquet
from gl10m.manifest.parquet import ManifestNotFoundError
from gl10m.manifest.schema import REJECTIONS, SCENES
from gl10m.storage.place import Place
from tests.faults.ledger import Row
from tests.torture.arena import HUNG, Arena, Ended, unclear

FAILURES = 1
"""Exit code of a build some of whose scenes failed."""

MOST_RERUNS = 6
"""A build that is not complete by then has lost what it misses."""

_CAUSE = re.compile(r"(?:attempts?|the last): ([^:.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is needed to follow a build, wherever its data set lies."""

    fault: str
    root: Callable[[], Place]
    """The data set as a process that comes anew sees it."""
    again: Callable[[], Ended]
    """The same command again."""
    differing: Callable[[], str | None]
    """What is wrong with the end."""
    undisturbed: Path
    """The data set of the undisturbed build."""
    seconds: float
    """What that took."""
    requests: Callable[[], int]
    injected: Callable[[], int]
    """How many there were, asked at the end."""


def in_folder(
    arena: Arena,
    trial: Path,
    fault: str,
    again: Callable[[], Ended],
    injected: Callable[[], int],
    requests: Callable[[], int] | None = None,
) -> Course:
    """The course of a build of the arena; its requests are those that its server sees from now on."""
    before = len(arena.world.requests)
    return Course(
        fault=fault,
        root=lambda: trial / "root",
        again=again,
        differing=lambda: arena.fault(trial),
        undisturbed=arena.undisturbed,
        seconds=arena.seconds,
        requests=requests or (lambda: len(arena.world.requests) - before),
        injected=injected,
    )


def followed(course: Course, first: Ended, *, most: int = MOST_RERUNS) -> Row:
    """Run the command again until the build is complete; what that took, and what is missing then."""
    failed, wrong = missed(course, first), list(complaints(first))
    ended, seconds, reruns = first, first.seconds, 0
    while ended.code != 0 and reruns < most:
        due = failures(course.root()).total() if ended.code == FAILURES else None
        ended = course.again()
        seconds, reruns = seconds + ended.seconds, reruns + 1
        wrong += complaints(ended)
        if due is not None and f"imagery: {due} scenes to fetch" not in ended.said:
            wrong.append(f"{due} scenes had failed, and the next run asked for others: {ended.said[-1000:]}")
    differing = course.differing()
    missing = len(rows(course.undisturbed) - rows(course.root()))
    if ended.code != 0:
        wrong.append(f"not complete after {reruns} reruns: {ended.code}")
    if missing:
        wrong.append(f"{missing} rows lost")
    return Row(
        fault=course.fault,
        requests=course.requests(),
        injected=course.injected(),
        survived=int(first.code == 0),
        failed=failed,
        reruns=reruns,
        lost=missing,
        same=int(differing is None),
        seconds=seconds,
        undisturbed=course.seconds,
        wrong=(*wrong, *([differing] if differing else [])),
    )


def missed(course: Course, first: Ended) -> Counter[str]:
    """What a first run did not bring, by reason."""
    if first.code == 0:
        return Counter()
    if first.code < 0:
        return Counter(["build killed"])
    return failures(course.root()) if first.code == FAILURES else Counter(["build stopped"])


def complaints(ended: Ended) -> list[str]:
    """What is wrong with how a run ended, or with its words."""
    if "Traceback" in ended.said:
        return [f"ended with {ended.code} and a traceback: {ended.said[-3000:]}"]
    if f"({HUNG}:" in ended.said:
        return [f"took too long and was killed: {ended.said[-1000:]}"]
    if ended.code in {0, FAILURES}:
        return []
    said = unclear(ended)
    return [said] if said else []


def failures(root: Place) -> Counter[str]:
    """Scenes that failed for good, by reason and cause."""
    found: Counter[str] = Counter()
    for row in _table(root, "rejections"):
        if row["outcome"] == "failed":
            cause = _CAUSE.search(str(row["detail"]))
            found[f"{row['reason']}{f' ({cause[1]})' if cause else ''}"] += 1
    return found


def rows(root: Place) -> set[tuple[str, str]]:
    """The rows that a data set gives account of: scenes kept, and what was rejected for which reason."""
    kept = {("kept", str(row["scene_id"])) for row in _table(root, "scenes")}
    rejected = {
        (f"{row['stage']}: {row['reason']}", str(row["subject"]))
        for row in _table(root, "rejections")
        if row["outcome"] == "rejected"
    }
    return kept | rejected


def _table(root: Place, name: str) -> list[dict[str, object]]:
    """A manifest; none where nothing is published."""
    try:
        table = parquet.read(
            root / "manifests" / f"{name}.parquet", SCENES if name == "scenes" else REJECTIONS
        )
    except ManifestNotFoundError:
        return []
    return list(table.to_pylist())
