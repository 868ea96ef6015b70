"""Counts of a data set: funnel, splits, classes."""

from collections import Counter

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.report import funnel
from gl10m.storage.place import Place
from gl10m.store.reader import class_names

CLASSES_SHOWN = 20
"""Classes listed, the most frequent first; the rest is summed up."""


def describe(root: Place) -> str:
    """Everything that `gl10m stats` prints.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
    """
    scenes = parquet.read(root / "manifests" / "scenes.parquet", SCENES, ["scene_id", "state", "class_ids"])
    parts = [funnel.describe_root(root), "", _splits(root, scenes.num_rows), ""]
    parts.append(_states(values(scenes, "state")))
    parts.append("")
    parts.append(_classes(root, values(scenes, "class_ids")))
    return "\n".join(parts)


def _splits(root: Place, scenes: int) -> str:
    path = root / "manifests" / "splits.parquet"
    if not path.exists():
        return f"{scenes:,} scenes, not split yet: run `gl10m split --root {root}`"
    counts = Counter(values(parquet.read(path, SPLITS, ["split"]), "split"))
    paper = funnel.published()["splits"]
    shares = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    published = ", ".join(f"{name} {count:,}" for name, count in paper.items())
    return f"{scenes:,} scenes: {shares} (paper: {published})"


def _states(states: list[str]) -> str:
    counts = Counter(states)
    return "by state: " + ", ".join(f"{state} {counts[state]:,}" for state in sorted(counts))


def _classes(root: Place, labels: list[list[int]]) -> str:
    if not labels:
        return "no scene, no class: manifests/rejections.parquet says why"
    names = class_names(root)
    counts = Counter(label for scene in labels for label in scene)
    found = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    lines = [f"{len(found)} of {len(names)} classes occur, {sum(counts.values()):,} labels:"]
    lines.extend(f"  {names[number]:<18} {count:>7,}" for number, count in found[:CLASSES_SHOWN])
    if len(found) > CLASSES_SHOWN:
        lines.append(f"  and {len(found) - CLASSES_SHOWN} more")
    return "\n".join(lines)
