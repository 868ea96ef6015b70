"""The plan: what a build will ask for, before it asks."""

from pathlib import Path

import pyarrow as pa
import pytest

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import ITEMS, MATCHED
from pipelines.config import BuildParameters
from pipelines.execution.journal import Journal
from pipelines.plan import HEAD, UNITS, Cost, Region, Span, describe
from tests.pipelines.painted import matched

PARAMETERS = BuildParameters()


def rows(text: str) -> dict[str, dict[str, str]]:
    """The table of a plan by state."""
    lines = text.partition("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: dict(zip(HEAD, line.split()[1:], strict=True)) for line in lines}


def counted(root: Path, region: str, scenes: int) -> None:
    """What a dry run leaves behind."""
    names = [f"{region}-w{number}" for number in range(1, scenes + 1)]
    kept = pa.concat_tables([MATCHED.empty(), *(matched(["s"], ["n"], name) for name in names)])
    journal = Journal(root)
    journal.stage("matching", region, "key", lambda: Outcome(stage="matching", read=scenes, kept=kept))
    journal.table("items", region, "key", ITEMS.empty)


def test_a_state_that_nobody_counted_has_the_papers_mean(tmp_path: Path) -> None:
    text = describe(("CA", "TX"), tmp_path, PARAMETERS, None)
    assert list(rows(text)) == ["CA", "TX", "total"]
    assert rows(text)["CA"]["candidates"] == "24,841"  # 273,250 / 11
    assert rows(text)["CA"]["pairs"] == "9,456-24,841"  # 38.1 % of them, to all
    assert rows(text)["CA"]["searches"] == "4"  # 2022, 2023, 2024 of NAIP; 2023 of Sentinel-2
    assert rows(text)["total"]["candidates"] == "49,682"
    assert "the paper's mean of a state" in text
    for unit in UNITS:
        assert f"{unit.what} " in text
        assert unit.origin in text


def test_what_a_dry_run_counted_is_taken_and_its_items_are_at_hand(tmp_path: Path) -> None:
    counted(tmp_path, "ME", 12)
    text = describe(("ME",), tmp_path, PARAMETERS, None)
    assert rows(text)["ME"]["candidates"] == "12"
    assert rows(text)["ME"]["searches"] == "0"
    assert "the paper's mean" not in text
    assert rows(describe(("ME",), tmp_path, PARAMETERS, 5))["ME"]["candidates"] == "5"


def test_the_total_is_the_sum(tmp_path: Path) -> None:
    one = Region(code="CA", candidates=100, counted=True, searches=4)
    other = Region(code="TX", candidates=300, counted=True, searches=0)
    both = Cost.of([one, other])
    for part in ("requests", "fetched", "pages"):
        apart = getattr(Cost.of([one]), part) + getattr(Cost.of([other]), part)
        together = getattr(both, part)
        assert (together.low, together.high) == pytest.approx((apart.low, apart.high))
        assert together.low <= together.high
    assert Span(3, 3).shown() == "3"
    assert describe(("CA",), tmp_path, PARAMETERS, None) == describe(("CA",), tmp_path, PARAMETERS, None)


def test_an_unknown_region_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"NV is none of the 11 states.*--dry-run"):
        describe(("NV",), tmp_path, PARAMETERS, None)
