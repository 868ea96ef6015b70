"""The funnel: by stage, by reason and by state, beside the paper's."""

from collections.abc import Sequence

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.schema import FUNNEL, REJECTIONS
from gl10m.report.funnel import paper_kept
from gl10m.report.page.charts import Bar, bars, shares
from gl10m.report.page.facts import scenes
from gl10m.report.page.numbers import count, percent
from gl10m.report.page.section import Cell, DataTable, Figure, Section
from gl10m.scene.rejection import STAGES
from gl10m.storage.place import Place

COUNTS = ("read", "kept", "rejected", "failed")

REASONS_DRAWN = 16
"""Reasons drawn as bars, the most frequent first; the table has them all."""

Totals = dict[str, dict[str, int]]


def funnel_section(root: Place) -> Section:
    """Rows by stage, state and reason.

    Raises:
        ManifestNotFoundError: a manifest is missing.
        ManifestError: a manifest is damaged.
    """
    funnel = parquet.read(root / "manifests" / "funnel.parquet", FUNNEL)
    lost = parquet.read(
        root / "manifests" / "rejections.parquet", REJECTIONS, ["stage", "state", "outcome", "reason"]
    )
    totals: Totals = {stage: dict.fromkeys(COUNTS, 0) for stage in STAGES}
    for row in funnel.to_pylist():
        for name in COUNTS:
            totals.setdefault(row["stage"], dict.fromkeys(COUNTS, 0))[name] += row[name]
    complete = scenes(root, ["scene_id"]).num_rows
    states = sorted({str(state) for state in funnel["state"].to_pylist()})
    return Section(
        anchor="funnel",
        title="Funnel",
        about="From polygons of OpenStreetMap to complete pairs of one LR image and 100 HR tiles. "
        "Every row that a stage read was kept, rejected with a reason, or failed and is tried again.",
        notices=_notices(totals, lost.num_rows, complete),
        figures=(
            _by_stage(totals),
            _beside_the_paper(totals),
            _by_state(funnel, states),
            _by_reason(lost, states),
        ),
    )


def _notices(totals: Totals, lost: int, complete: int) -> tuple[str, ...]:
    dropped = sum(stage["rejected"] + stage["failed"] for stage in totals.values())
    found = [
        f"Stage {name} read {count(row['read'])} rows but accounts for "
        f"{count(row['kept'] + row['rejected'] + row['failed'])}."
        for name, row in totals.items()
        if row["read"] != row["kept"] + row["rejected"] + row["failed"]
    ]
    if dropped != lost:
        found.append(
            f"The funnel counts {count(dropped)} rows let go, the rejections manifest holds {count(lost)}."
        )
    if totals["consistency"]["kept"] != complete:
        found.append(
            f"The funnel kept {count(totals['consistency']['kept'])} pairs, the scenes manifest holds "
            f"{count(complete)}."
        )
    if found:
        return (*found, "Run `gl10m verify`, then the same `gl10m build` again.")
    return ()


def _beside_the_paper(totals: Totals) -> Figure:
    paper, steps = paper_kept(), ("Indexed", "For download", "Complete pairs")
    stages = tuple(paper)
    ours = [totals[stage]["kept"] for stage in stages]
    drawn, rows = [], []
    for step, stage, own in zip(steps, stages, ours, strict=True):
        theirs = paper[stage]
        own_share, their_share = percent(own, ours[0]), percent(theirs, paper["footprints"])
        scale = ours[0] or 1
        drawn += [
            Bar(step, own / scale, f"{count(own)}"),
            Bar("paper", theirs / paper["footprints"], f"{count(theirs)}", "paper"),
        ]
        rows.append((step, own, own_share, theirs, their_share))
    return Figure(
        title="Beside the paper: share of the indexed candidates",
        drawing=bars("Indexed, for download and complete, ours and the paper's", drawn, 104),
        note=f"Filled: this data set. Outlined: the paper (Table 5), which keeps {rows[1][4]} for download "
        f"and {rows[2][4]} as complete pairs; here {rows[1][2]} and {rows[2][2]}.",
        table=DataTable(
            caption="Three counts beside the paper's",
            head=("", "this data set", "of indexed", "paper", "of indexed"),
            rows=rows,
            open=True,
        ),
    )


def _by_stage(totals: Totals) -> Figure:
    paper = paper_kept()
    drawn = [
        (stage, [row["kept"], row["rejected"], row["failed"]], f"{count(row['kept'])} kept")
        for stage, row in totals.items()
    ]
    rows = [
        (stage, row["read"], row["kept"], row["rejected"], row["failed"], paper.get(stage))
        for stage, row in totals.items()
    ]
    return Figure(
        title="What became of the rows that each stage read",
        drawing=shares("Kept, rejected and failed share of each stage", drawn, ("a", "b", "c")),
        note="Plain: kept. Striped: rejected with a reason. Dotted: failed, tried again at the next run. "
        "A bar is all rows that the stage read.",
        table=DataTable(
            caption="Funnel by stage",
            head=("stage", "read", "kept", "rejected", "failed", "paper kept"),
            rows=rows,
            open=True,
        ),
        wide=True,
        beside=True,
    )


def _by_reason(lost: pa.Table, states: Sequence[str]) -> Figure:
    keys = ["stage", "outcome", "reason", "state"]
    grouped = lost.group_by(keys).aggregate([([], "count_all")]).to_pylist()
    counted: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in grouped:
        key = (row["stage"], row["outcome"], row["reason"])
        counted.setdefault(key, {})[row["state"]] = row["count_all"]
    ranked = sorted(counted.items(), key=lambda entry: (-sum(entry[1].values()), entry[0]))
    drawn = [
        Bar(
            reason.replace("_", " ").lower(),
            sum(by_state.values()),
            count(sum(by_state.values())),
            "b" if outcome == "rejected" else "c",
        )
        for (_, outcome, reason), by_state in ranked[:REASONS_DRAWN]
    ]
    place = {stage: number for number, stage in enumerate(STAGES)}
    rows: list[Sequence[Cell]] = [
        (stage, reason, outcome, sum(by_state.values()), *(by_state.get(state, 0) for state in states))
        for (stage, outcome, reason), by_state in sorted(
            ranked, key=lambda entry: place.get(entry[0][0], len(place))
        )
    ]
    return Figure(
        title="Why rows were let go",
        drawing=bars("Rows by reason", drawn, 190) if drawn else None,
        note="Rows of the rejections manifest by reason."
        if drawn
        else "No row was let go: the rejections manifest is empty.",
        table=DataTable(
            caption="Reasons by stage and state",
            head=("stage", "reason", "outcome", "all", *states),
            rows=rows,
            open=True,
        ),
        wide=True,
        beside=True,
    )


def _by_state(funnel: pa.Table, states: Sequence[str]) -> Figure:
    kept: dict[str, dict[str, int]] = {}
    for row in funnel.to_pylist():
        kept.setdefault(row["stage"], {})[row["state"]] = row["kept"]
    order = [*[stage for stage in STAGES if stage in kept], *sorted(set(kept) - set(STAGES))]
    last = kept.get("consistency", {})
    drawn = [Bar(state, last.get(state, 0), count(last.get(state, 0))) for state in states]
    rows: list[Sequence[Cell]] = [
        (stage, *(kept[stage].get(state, 0) for state in states)) for stage in order
    ]
    return Figure(
        title="Complete pairs by state",
        drawing=bars("Complete pairs of each state", drawn, 60) if drawn else None,
        note="The table has what each stage kept in each state.",
        table=DataTable(caption="Rows kept by stage and state", head=("stage", *states), rows=rows),
    )
