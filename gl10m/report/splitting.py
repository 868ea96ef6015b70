"""Splits the data set in a folder and says how it went: what `gl10m split` does."""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from gl10m.manifest import leakage, parquet
from gl10m.manifest import split as rules
from gl10m.manifest.columns import values
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.report.card import write_card
from gl10m.report.funnel import published
from gl10m.storage.place import Place

COLUMNS = ["scene_id", "state", "longitude", "latitude", "bounds", "naip_items", "sentinel2_items"]
"""Columns that the rules read."""

PAIRS_SHOWN = 5
"""Overlapping pairs named one by one."""


def split_root(root: Place, by: str, seed: int) -> str:
    """Split a data set and write manifests/splits.parquet.

    Args:
        root: the data set.
        by: "state", "group", "random", "block", or the path of a CSV or Parquet file.
        seed: of group, random and block; their shares are the paper's.

    Returns:
        Scenes of each split, as text.

    Raises:
        ManifestNotFoundError: no data set stands there.
        SplitError: the file does not say the split of every scene.
    """
    scenes = _scenes(root)
    splits = _apply(by, scenes, seed)
    rule = by if by in {"state", "group", "random", "block"} else f"file {Path(by).name}"
    metadata = {"gl10m.split": rule}
    if by in {"group", "random", "block"}:
        metadata["gl10m.split_seed"] = str(seed)
    rules.write_splits(root, splits.sort_by("scene_id"), metadata)
    write_card(root)  # which tells the splits
    counts = Counter(values(splits, "split"))
    lines = [f"{name:>8} {count:>8,} scenes" for name, count in sorted(counts.items())]
    return "\n".join([f"split {scenes.num_rows:,} scenes by {rule}", *lines])


def check_root(root: Place) -> tuple[str, bool]:
    """Look for ground that two splits of a data set share.

    Returns:
        What was found, as text, and True where there is nothing.
    """
    splits = parquet.read(root / "manifests" / "splits.parquet", SPLITS)
    report = leakage.check(_scenes(root), splits)
    lines = [f"{len(report.overlaps):,} pairs of scenes of different splits overlap on the ground"]
    lines.extend(f"  {pair}" for pair in report.overlaps[:PAIRS_SHOWN])
    return "\n".join(lines), report.apart


def _scenes(root: Place) -> pa.Table:
    return parquet.read(root / "manifests" / "scenes.parquet", SCENES, COLUMNS)


def _apply(by: str, scenes: pa.Table, seed: int) -> pa.Table:
    counts = published()["splits"]
    shares = {name: count / sum(counts.values()) for name, count in counts.items()}
    if by == "state":
        return rules.split_by_state(scenes)
    if by == "group":
        return rules.split_by_group(scenes, seed, shares)
    if by == "random":
        return rules.split_random(scenes, seed, shares)
    if by == "block":
        return rules.split_by_block(scenes, seed, shares)
    return rules.split_from_file(Path(by), scenes)
