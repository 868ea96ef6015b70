"""Indexed, for download, kept: rows by stage and reason, beside the paper's."""

import functools
import json
from typing import Any

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, REJECTIONS
from gl10m.resources import bundled
from gl10m.scene.rejection import STAGES
from gl10m.storage.place import Place

REASONS_SHOWN = 4
"""Reasons named for each stage, the most frequent first."""


@functools.cache
def published() -> dict[str, Any]:
    """The paper's counts: Table 5 and section A.4."""
    path = bundled("manifests", "published_counts.json")
    counts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return counts


def paper_kept() -> dict[str, int]:
    """Rows that the paper kept after those stages of which it gives a count (Table 5)."""
    counts = published()
    return {
        "footprints": counts["indexed"],
        "subsampling": counts["for_download"],
        "consistency": counts["complete"],
    }


def describe(funnel: pa.Table, rejections: pa.Table) -> str:
    """The funnel as text.

    Args:
        funnel: schema FUNNEL.
        rejections: schema REJECTIONS.

    Returns:
        One line a stage: rows read, kept, rejected, failed, what the paper kept, and the main reasons.
    """
    totals = {stage: dict.fromkeys(("read", "kept", "rejected", "failed"), 0) for stage in STAGES}
    for row in funnel.to_pylist():
        for name in totals[row["stage"]]:
            totals[row["stage"]][name] += row[name]
    reasons = _reasons(rejections)
    paper = paper_kept()
    lines = [_line("stage", "read", "kept", "rejected", "failed", "paper kept", "main reasons")]
    for stage in STAGES:
        numbers = [f"{totals[stage][name]:,}" for name in ("read", "kept", "rejected", "failed")]
        published_count = f"{paper[stage]:,}" if stage in paper else ""
        lines.append(_line(stage, *numbers, published_count, reasons.get(stage, "")))
    return "\n".join(lines)


def _line(stage: str, *cells: str) -> str:
    read, kept, rejected, failed, paper, reasons = cells
    return f"{stage:<12} {read:>9} {kept:>9} {rejected:>9} {failed:>7} {paper:>11}  {reasons}".rstrip()


def describe_root(root: Place) -> str:
    """The funnel of a data set.

    Raises:
        ManifestNotFoundError: no data set stands there.
    """
    folder = root / "manifests"
    funnel = parquet.read(folder / "funnel.parquet", FUNNEL)
    rejections = parquet.read(folder / "rejections.parquet", REJECTIONS, ["stage", "reason"])
    return describe(funnel, rejections)


def _reasons(rejections: pa.Table) -> dict[str, str]:
    """The most frequent reasons of each stage as text: "THINNED 120, FEW_CLASSES 3"."""
    counted = rejections.group_by(["stage", "reason"]).aggregate([([], "count_all")])
    by_stage: dict[str, list[tuple[int, str]]] = {}
    for row in counted.to_pylist():
        by_stage.setdefault(row["stage"], []).append((-row["count_all"], row["reason"]))
    return {
        stage: ", ".join(f"{reason} {-count:,}" for count, reason in sorted(found)[:REASONS_SHOWN])
        for stage, found in by_stage.items()
    }
