"""What a build will ask for and cost, before anything is fetched: searches, requests, bytes, hours, disk."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.parquet as pq

from gl10m.report.funnel import published
from gl10m.scene.states import states
from gl10m.storage.contents import readable
from gl10m.storage.place import Place, below
from pipelines.config import BuildParameters
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from pipelines.sources.item_index import years


@dataclass(frozen=True, slots=True)
class Unit:
    """The cost of one thing, as a range."""

    what: str
    low: float
    high: float
    scale: float
    """What the range is divided by to be shown."""
    origin: str
    """Where both ends come from."""

    @property
    def words(self) -> str:
        """One line."""
        low, high = (f"{end / self.scale:,.3g}" for end in (self.low, self.high))
        span = low if low == high else f"{low} to {high}"
        return f"  {self.what:<34} {span:>12}  {self.origin}"


SEARCH_PAGES = Unit(
    "pages of a search, beyond its first",
    0,
    6,
    1,
    "1,000 items a page; Maine to Texas in a catalogue of full size (docs/benchmarks/metadata.md)",
)
PAGE_BYTES = Unit(
    "MB of a page", 0.4e6, 4e6, 1e6, "measured, 1,000 items of what is read; 250 whole ones of 17 kB"
)
LR_REQUESTS = Unit(
    "requests of an LR image",
    4,
    16,
    1,
    "counted, one item of four rasters; four where clouds are filled. Headers come once in a process",
)
LR_BYTES = Unit("MB of an LR image", 1.3e6, 5.2e6, 1e6, "measured, likewise")
HR_REQUESTS = Unit(
    "requests of an HR mosaic",
    12,
    28,
    1,
    "counted, 12 to 13 of two 0.6 m quads; one to four meet a footprint",
)
HR_BYTES = Unit(
    "MB of an HR mosaic",
    26e6,
    52e6,
    1e6,
    "rendered 0.6 m quads, richly textured ones; 0.3 m has four times the pixels",
)
STORED_BYTES = Unit("MB of a scene on disk", 2.2e6, 3.43e6, 1e6, "rendered imagery, richly textured imagery")
CPU_SECONDS = Unit(
    "CPU s of a complete scene", 0.4, 0.45, 1, "measured, two 0.6 m quads: read, warped, checked, encoded"
)
UNITS = (
    SEARCH_PAGES,
    PAGE_BYTES,
    LR_REQUESTS,
    LR_BYTES,
    HR_REQUESTS,
    HR_BYTES,
    STORED_BYTES,
    CPU_SECONDS,
)
"""Unit costs, in the order in which they are told."""

MEGABITS = 100
"""Of the line that the hours of transfer are told for."""


@dataclass(frozen=True, slots=True)
class Span:
    """A number between two ends."""

    low: float
    high: float

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)

    def times(self, unit: Unit) -> "Span":
        """So many of a unit."""
        return Span(self.low * unit.low, self.high * unit.high)

    def shown(self, scale: float = 1) -> str:
        """Both ends, or one where they look the same."""
        low, high = (_digits(end / scale) for end in (self.low, self.high))
        return low if low == high else f"{low}-{high}"


def _digits(number: float) -> str:
    """As many digits as say something."""
    whole = 10
    return f"{number:,.0f}" if number >= whole else f"{number:.2g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What is known of one region before its images."""

    code: str
    candidates: float
    """Whose images are still to be asked for."""
    counted: bool
    """Whether a build has counted them; else they are the paper's mean of a state."""
    searches: int
    """Still to be made."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What remains to be asked for."""

    searches: float
    candidates: Span
    pairs: Span
    """Candidates whose LR image passes: only these ask for HR."""

    @classmethod
    def of(cls, regions: Iterable[Region]) -> "Cost":
        """The cost of some regions together."""
        share = published()["complete"] / published()["for_download"]
        known = list(regions)
        candidates = sum(region.candidates for region in known)
        return cls(
            sum(region.searches for region in known),
            Span(candidates, candidates),
            Span(candidates * share, candidates),
        )

    @property
    def pages(self) -> Span:
        """Requests of the catalogue."""
        return Span(self.searches, self.searches) + Span(self.searches, self.searches).times(SEARCH_PAGES)

    @property
    def requests(self) -> Span:
        """Range requests of the rasters."""
        return self.candidates.times(LR_REQUESTS) + self.pairs.times(HR_REQUESTS)

    @property
    def fetched(self) -> Span:
        """Bytes over the network."""
        pages = self.pages.times(PAGE_BYTES)
        return pages + self.candidates.times(LR_BYTES) + self.pairs.times(HR_BYTES)

    @property
    def row(self) -> list[str]:
        """The numbers as text, in the order of HEAD."""
        transfer = self.fetched.shown(3600 * MEGABITS * 1e6 / 8)
        cpu, stored = self.pairs.times(CPU_SECONDS), self.pairs.times(STORED_BYTES)
        return [
            f"{self.candidates.low:,.0f}",
            self.pairs.shown(),
            f"{self.searches:,.0f}",
            self.pages.shown(),
            self.requests.shown(),
            self.fetched.shown(1e9),
            stored.shown(1e9),
            cpu.shown(3600),
            transfer,
        ]


HEAD = (
    "candidates",
    "pairs",
    "searches",
    "pages",
    "requests",
    "GB fetched",
    "GB stored",
    "CPU h",
    "transfer h",
)


def describe(regions: tuple[str, ...], root: Place, parameters: BuildParameters, limit: int | None) -> str:
    """The plan as text: a line a region, their total, and where each unit cost comes from.

    Args:
        regions: region codes.
        root: a data set whose build, or dry run, may have counted the candidates already.
        parameters: of the build; the windows decide the searches.
        limit: scenes of a region at most.

    Raises:
        ValueError: a region is neither counted nor one of the paper's 11 states.
    """
    known = [_known(region, root, parameters, limit) for region in regions]
    rows = [(region.code, Cost.of([region]).row) for region in known]
    rows.append(("total", Cost.of(known).row))
    widths = [max(len(row[place]) for _, row in [("", list(HEAD)), *rows]) for place in range(len(HEAD))]
    lines = [_line("state", HEAD, widths), *(_line(code, row, widths) for code, row in rows)]
    return "\n".join([*lines, "", *_assumptions(known), "", "unit costs", *(unit.words for unit in UNITS)])


def _line(code: str, row: Iterable[str], widths: list[int]) -> str:
    return "  ".join([f"{code:<5}", *(f"{text:>{width}}" for text, width in zip(row, widths, strict=True))])


def _assumptions(known: list[Region]) -> list[str]:
    counts = published()
    guessed = [region.code for region in known if not region.counted]
    share = counts["complete"] / counts["for_download"]
    lines = [
        "candidates: those whose images a build has still to ask for",
        f"pairs: the paper's {share:.1%} of the candidates, to all of them",
        "stored: what is published; twice that while it is written",
        f"transfer: at {MEGABITS} Mbit/s; CPU: one core",
        "OSM extracts are not in these numbers",
    ]
    if guessed:
        lines.append(
            f"candidates of {', '.join(guessed)}: the paper's mean of a state; "
            "`gl10m build --dry-run` counts them"
        )
    return lines


def _known(code: str, root: Place, parameters: BuildParameters, limit: int | None) -> Region:
    """What the journal, or else the paper, says of a region."""
    folder = Journal(root).folder / "stages" / code
    counted = below(folder, "matching-*.kept.parquet")
    if not counted and code not in states():
        raise ValueError(
            f"{code} is none of the 11 states of the paper ({', '.join(states())}) and nothing is "
            f"counted in {root}. Run `gl10m build --dry-run` there first."
        )
    if counted:
        done = Receipts(Journal(root)).finished(code) or Counter[str]()
        number: float = pq.read_metadata(readable(counted[0])).num_rows - done["kept"] - done["rejected"]
    else:
        number = published()["for_download"] / len(states())
    windows = (parameters.matching.naip_window, parameters.matching.sentinel2_window)
    asked = bool(below(folder, "items-*.parquet"))
    return Region(
        code=code,
        candidates=number if limit is None else min(number, limit),
        counted=bool(counted),
        searches=0 if asked else sum(len(list(years(window))) for window in windows),
    )
