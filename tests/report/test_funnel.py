"""The funnel as a person reads it."""

import pyarrow as pa

from gl10m.manifest.schema import FUNNEL, REJECTIONS
from gl10m.report import funnel
from gl10m.scene.rejection import STAGES


def account(stage: str, state: str, read: int, kept: int) -> dict[str, object]:
    return {"stage": stage, "state": state, "read": read, "kept": kept, "rejected": read - kept, "failed": 0}


def test_states_are_summed_and_the_paper_stands_beside() -> None:
    rows = [account("footprints", "CA", 10, 7), account("footprints", "TX", 5, 4)]
    lost = [
        {
            "stage": "footprints",
            "state": "CA",
            "subject": f"way/{n}",
            "outcome": "rejected",
            "reason": "THINNED",
        }
        for n in range(4)
    ]
    text = funnel.describe(
        pa.Table.from_pylist(rows, schema=FUNNEL.schema), pa.Table.from_pylist(lost, schema=REJECTIONS.schema)
    )
    line = next(line for line in text.splitlines() if line.startswith("footprints"))
    assert line.split() == ["footprints", "15", "11", "4", "0", "319,060", "THINNED", "4"]
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(STAGES)


def test_the_papers_counts_add_up() -> None:
    counts = funnel.published()
    assert sum(counts["splits"].values()) == counts["complete"]
    assert counts["hr_tiles"] == 100 * counts["complete"]
    assert round(counts["for_download"] / counts["indexed"], 3) == 0.856
