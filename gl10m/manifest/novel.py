"""The concepts that are held out as Novel unless the user names others (the paper's Table 1)."""

import csv
import functools

from gl10m.resources import bundled


@functools.cache
def novel_concepts() -> tuple[str, ...]:
    """Names of manifests/novel_concepts.csv."""
    with bundled("manifests", "novel_concepts.csv").open(encoding="utf-8", newline="") as table:
        return tuple(row["concept"] for row in csv.DictReader(table))
