"""Some hundred spoiled inputs over all readers; `python -m tests.fuzz` tries as many as one likes."""

import pytest

from tests.fuzz.driver import Plan, run, spread
from tests.fuzz.subject import SUBJECTS

SEED = 20_260_604


DEAR = {
    "OsmFiles",
    "OsmTexts",
    "Windows",
    "GdalWindows",
    "Shards",
    "Indexes",
    "Manifests",
    "Journals",
    "RunFolders",
    "ModelFolders",
    "TextTowers",
}
"""Subjects that take tens of milliseconds an input; the short form tries few of theirs."""

SHORT = [(place, 0, 6 if place.partition(":")[2] in DEAR else 32) for place in SUBJECTS]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("plan", "seed"),
    [(SHORT, SEED), pytest.param(spread(1_500), SEED + 1, marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_spoiled_inputs_are_read_or_refused_in_words(plan: Plan, seed: int) -> None:
    tally, count = run(plan, seed), sum(part[2] for part in plan)
    assert not tally.findings, str(tally)
    left_out = sum(part[2] for part in plan if part[0] in tally.skipped)
    assert tally.total + left_out == count > 450
    assert tally.peak < 2_000, f"the largest child took {tally.peak} MB"
    refused = sum(counts["refused"] for counts in tally.counts.values())
    assert refused > count // 4, f"hardly anything is refused:\n{tally}"


def test_a_reader_that_dies_is_a_finding_and_the_rest_goes_on() -> None:
    tally = run([("misbehaving:Dying", 0, 8), ("settings:ClassMaps", 0, 2)], SEED)
    assert tally.counts["misbehaving:Dying"] == {"finding": 6, "refused": 2}
    assert tally.counts["settings:ClassMaps"].total() == 2
    assert sum("dies with status -11" in found for found in tally.findings) == 4
    assert sum("IndexError: not of ours" in found for found in tally.findings) == 2
