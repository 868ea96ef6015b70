"""Table 5: what the manifests of a data set count, as records."""

from collections.abc import Iterator

from gl10m.manifest import parquet
from gl10m.manifest.schema import CANDIDATES, REJECTIONS
from gl10m.report.statistics import Count, count_root
from gl10m.storage.place import Place
from reference_model.reproduction.paper import paper_table
from reference_model.reproduction.record import MEASURED, Measurement, Provenance, Record

METHOD = "data-set-"
"""Begins the method of a record that counts; the row follows."""

MEASURES = {
    "scenes": "scenes",
    "HR tiles": "hr-observations",
    "concepts": "concepts",
    "regions": "regions",
    "tiles a scene": "tiles-a-scene",
    "% of indexed": "percent-of-indexed",
}
"""Metric of Table 5 by measure of `gl10m stats`."""

BEFORE_DOWNLOAD = ("coverage", "subsampling")
"""Stages between the indexed candidates and those for download."""

STAGES = {"Indexed candidates": "indexed", "Download candidates": "download", "Final valid pairs": "final"}


def counted(root: Place, provenance: Provenance) -> Iterator[Record]:
    """One record a row of Table 5. A count depends on no seed: it is filed under seed 0.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
    """
    counts = count_root(root).counts
    found: dict[str, dict[str, Measurement]] = {row.id: {} for row in paper_table(5).rows}
    for count in counts:
        row = _row_of(count)
        if row in found and count.value is not None and count.measure in MEASURES:
            found[row][MEASURES[count.measure]] = Measurement(float(count.value))
    for row, metrics in _candidates(root).items():
        found[row] |= metrics
    # The pairs that remain are the scenes of the data set.
    found["final"] = found["total"] | found["final"]
    for row, metrics in found.items():
        yield Record(
            method=f"{METHOD}{row}",
            target_obr=None,
            seed=0,
            status=MEASURED,
            rows=(f"table 5/{row}",),
            metrics=metrics,
            provenance=provenance,
        )


def _candidates(root: Place) -> dict[str, dict[str, Measurement]]:
    """Concepts and regions of the candidates, before and after those that are not fetched are let go."""
    candidates = parquet.read(
        root / "manifests" / "candidates.parquet", CANDIDATES, ["scene_id", "state", "class_ids"]
    )
    rejections = parquet.read(root / "manifests" / "rejections.parquet", REJECTIONS, ["stage", "subject"])
    let_go = {
        subject
        for stage, subject in zip(
            rejections["stage"].to_pylist(), rejections["subject"].to_pylist(), strict=True
        )
        if stage in BEFORE_DOWNLOAD
    }
    indexed = candidates.to_pylist()
    kept = [row for row in indexed if row["scene_id"] not in let_go]
    return {
        name: {
            "concepts": Measurement(float(len({one for row in rows for one in row["class_ids"] or ()}))),
            "regions": Measurement(float(len({row["state"] for row in rows}))),
        }
        for name, rows in (("indexed", indexed), ("download", kept))
    }


def _row_of(count: Count) -> str:
    if count.section == "Table 5: splits":
        return count.name
    return STAGES.get(count.name, "") if count.section == "Table 5: construction" else ""
