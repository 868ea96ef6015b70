"""What a build costs, from the rows it will ask for and the measured cost of one."""

from dataclasses import dataclass

import pyarrow.parquet as pq

from gl10m.report.funnel import published
from gl10m.scene.states import states
from gl10m.storage.place import Place, below, readable
from pipelines.execution.journal import Journal

LR_REQUESTS, LR_BYTES = 11, 1.3e6
"""Requests (4 of them HEAD) and bytes of one LR image, three bands and the scene classification; measured."""

HR_REQUESTS, HR_BYTES = 27, 69e6
"""Requests of one HR mosaic of two 0.6 m quads, measured on rendered quads. The bytes are of a trial with
richly textured quads, windows read through GDAL; rendered ones compress to half of that."""

STORED_BYTES = 100 * 33.7e3 + 60e3
"""Bytes of one scene in a shard, 100 tiles and the LR image, from a trial on textured imagery; rendered
scenes take 2.2 MB."""

CPU_SECONDS = 1.8
"""CPU seconds of one complete scene of 0.6 m quads: reading, one warp, encoding; measured under load."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of the image stages for a number of candidates."""

    candidates: float
    survivors: float
    """Candidates whose LR image passes: only these ask for HR."""

    @property
    def requests(self) -> float:
        """Range requests in all."""
        return self.candidates * LR_REQUESTS + self.survivors * HR_REQUESTS

    @property
    def fetched(self) -> float:
        """Bytes over the network."""
        return self.candidates * LR_BYTES + self.survivors * HR_BYTES

    @property
    def stored(self) -> float:
        """Bytes on disk."""
        return self.survivors * STORED_BYTES

    @property
    def hours(self) -> float:
        """CPU hours."""
        return self.survivors * CPU_SECONDS / 3600


def describe(regions: tuple[str, ...], root: Place) -> str:
    """The estimate as text.

    Args:
        regions: region codes.
        root: a data set whose build may have counted the candidates already.

    Raises:
        ValueError: a region is neither counted nor one of the paper's 11 states.
    """
    counts = published()
    lines = []
    total = 0.0
    for region in regions:
        counted = _counted(root, region)
        if counted is None and region not in states():
            raise ValueError(
                f"{region} is none of the 11 states of the paper ({', '.join(states())}) and nothing is "
                f"counted in {root}. Run `gl10m build --dry-run` there first."
            )
        number = counts["for_download"] / len(states()) if counted is None else counted
        origin = "the paper's mean of a state" if counted is None else "counted by this build"
        lines.append(f"{region}: {number:,.0f} candidates to fetch ({origin})")
        total += number
    return "\n".join([*lines, "", describe_matched(total)])


def describe_matched(matched: float) -> str:
    """The cost of fetching some matched candidates as text, with the assumptions behind it."""
    counts = published()
    share = counts["complete"] / counts["for_download"]
    cost = Cost(matched, matched * share)
    each = f"{LR_REQUESTS} an LR image, {HR_REQUESTS} an HR mosaic"
    return "\n".join(
        [
            f"candidates      {cost.candidates:>12,.0f}",
            f"complete pairs  {cost.survivors:>12,.0f}  at the paper's {share:.1%}",
            f"range requests  {cost.requests:>12,.0f}  {each}",
            f"fetched         {cost.fetched / 1e9:>12,.1f}  GB, {HR_BYTES / 1e6:.0f} MB an HR mosaic",
            f"stored          {cost.stored / 1e9:>12,.1f}  GB",
            f"CPU             {cost.hours:>12,.1f}  hours on one core",
        ]
    )


def _counted(root: Place, region: str) -> int | None:
    """Matched candidates of a region, where a build or a dry run has counted them."""
    found = below(Journal(root).folder / "stages" / region, "matching-*.kept.parquet")
    return pq.read_metadata(readable(found[0])).num_rows if found else None
