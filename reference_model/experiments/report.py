"""The report of an experiment: every ordering as it came out, every seed, as Markdown and CSV."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from gl10m.manifest.parquet import replacing
from reference_model.experiments.gates import Gate, gates_of
from reference_model.experiments.orderings import Outcome, SeedResult, outcomes
from reference_model.experiments.protocol import Protocol
from reference_model.metrics.seeds import t_interval

COLUMNS = ("OBR", "base/mAP@100", "base/mAP@20", "novel/mAP@100", "novel/mAP@20")


def write_report(protocol: Protocol, results: Sequence[SeedResult], folder: Path) -> None:
    """Write NAME.md, NAME.csv (every run of every seed) and NAME-differences.csv.

    Args:
        protocol: the experiment.
        results: of its seeds, all of them unless the report is to be an interim one.
        folder: where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    judged = outcomes(protocol, results)
    with replacing(folder / f"{protocol.name}.md") as temporary:
        temporary.write_text(markdown(protocol, results, judged))
    _write_csv(folder / f"{protocol.name}.csv", ("seed", "run", *COLUMNS), _runs(results))
    header = ("ordering", "better", "worse", "metric", "seed", "difference", "scenes_low", "scenes_high")
    _write_csv(folder / f"{protocol.name}-differences.csv", header, _differences(judged, results))


def markdown(protocol: Protocol, results: Sequence[SeedResult], judged: Sequence[Outcome]) -> str:
    """The report as text."""
    held = all(gate.holds for one in results for gate in _gates(protocol, one))
    parts = [
        f"# {protocol.name}",
        _about(protocol, results),
        "## Gates\n\n" + _gate_table(protocol, results),
        "All gates hold."
        if held
        else "**A gate does not hold: read no ordering of the seeds it fails for.**",
        "## Orderings\n\n" + _ordering_table(judged, whole=len(results) == len(protocol.seeds)),
        "## Rows\n\n" + _row_table(protocol, results),
    ]
    if results[0].sweep:
        parts.append("## Thresholds\n\n" + _sweep_table(results))
    return "\n\n".join(parts) + "\n"


def _about(protocol: Protocol, results: Sequence[SeedResult]) -> str:
    scenes = ", ".join(f"{count} {split}" for split, count in protocol.scenes.items())
    missing = len(protocol.seeds) - len(results)
    interim = (
        f"**Interim: {missing} of {len(protocol.seeds)} registered seeds are not run yet. What follows is no "
        "result.**\n\n"
    )
    return (interim if missing else "") + (
        f"Protocol registered {protocol.registered}, before its seeds were run. Seeds "
        f"{', '.join(str(one.seed) for one in results)}: each is a world and all training in it; sizes were "
        f"chosen on seeds {', '.join(map(str, protocol.tuned_on))}. Scenes of a seed: {scenes}. Classes: "
        f"{len(protocol.knobs.compositions)}, {protocol.knobs.novel} of them Novel.\n\n"
        "An ordering is confirmed, or reversed, where the 95 % t-interval of the per-seed differences "
        "excludes zero; else it is not separable. The intervals over scenes are those of a paired bootstrap "
        "inside one seed, and too narrow to judge by. The figures are of a drawn world: they say that the "
        "implementation can express and measure an ordering, and nothing about real imagery."
    )


def _gates(protocol: Protocol, result: SeedResult) -> list[Gate]:
    return gates_of(dict(result.training), protocol.gates, protocol.target_obr)


def _gate_table(protocol: Protocol, results: Sequence[SeedResult]) -> str:
    by_seed = [_gates(protocol, one) for one in results]
    lines = []
    for place, gate in enumerate(by_seed[0]):
        values = [
            f"{gates[place].value:.3f}" + ("" if gates[place].holds else " **fails**") for gates in by_seed
        ]
        lines.append([gate.name, f"{'>' if gate.above else '<'} {gate.bound:.3g}", *values])
    return _table(["gate", "bound", *(f"seed {one.seed}" for one in results)], lines)


def _ordering_table(judged: Sequence[Outcome], *, whole: bool) -> str:
    lines = []
    for one in judged:
        interval = one.comparison.interval
        seeds = " ".join(f"{value:+.3f}" for value in one.comparison.differences)
        lines.append(
            [
                one.ordering.id,
                one.ordering.claim,
                f"{one.ordering.better} - {one.ordering.worse}",
                one.ordering.metric,
                f"{interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]",
                seeds,
                f"{one.apart:.3f}",
                f"**{one.comparison.verdict}**",
            ]
        )
    header = [
        "",
        "claim",
        "difference",
        "of",
        "mean [95 %]",
        "by seed",
        "OBRs apart",
        "came out" if whole else "so far",
    ]
    return _table(header, lines)


def _row_table(protocol: Protocol, results: Sequence[SeedResult]) -> str:
    columns = [name for name in COLUMNS if all(name in one.runs["ours"] for one in results)]
    lines = []
    for name in protocol.runs:
        cells = [name]
        for column in columns:
            values = [one.runs[name][column] for one in results]
            interval = t_interval(values)
            reach = (
                f" ± {interval.high - interval.estimate:.3f}" if column != "OBR" and len(values) > 1 else ""
            )
            cells.append(f"{interval.estimate:.3f}{reach}")
        lines.append(cells)
    chance = t_interval([one.training["prevalence"] for one in results])
    return (
        "Mean over seeds, ± the reach of its 95 % t-interval. Prevalence of Base classes: "
        f"{chance.estimate:.3f}. Oracles look at what no method may see: they are diagnostics.\n\n"
        + _table(["run", *columns], lines)
    )


def _sweep_table(results: Sequence[SeedResult]) -> str:
    lines = []
    for place, first in enumerate(results[0].sweep):
        cells = [f"{first['threshold']:.2f}"]
        for column in ("OBR", "base/mAP@100"):
            values = [one.sweep[place][column] for one in results]
            cells += [f"{t_interval(values).estimate:.3f}", " ".join(f"{value:.3f}" for value in values)]
        lines.append(cells)
    return _table(["threshold", "OBR", "by seed", "base/mAP@100", "by seed"], lines)


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def _runs(results: Sequence[SeedResult]) -> Iterable[Sequence[object]]:
    for one in results:
        for name, figures in one.runs.items():
            yield one.seed, name, *(f"{figures[key]:.6f}" if key in figures else "" for key in COLUMNS)


def _differences(judged: Sequence[Outcome], results: Sequence[SeedResult]) -> Iterable[Sequence[object]]:
    for one in judged:
        ordering = one.ordering
        for result, difference, (low, high) in zip(
            results, one.comparison.differences, one.over_scenes, strict=True
        ):
            figures = (f"{difference:.6f}", f"{low:.6f}", f"{high:.6f}")
            yield ordering.id, ordering.better, ordering.worse, ordering.metric, result.seed, *figures


def _write_csv(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
