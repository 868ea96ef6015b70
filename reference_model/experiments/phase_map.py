"""For which worlds an ordering holds: the same comparisons while two knobs are turned.

Whoever sets the rubble rate sets much of the answer, so no single world is an answer. A cell has a seed or
two: it shows where an ordering turns and is no verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gl10m.manifest.parquet import check_target, replacing
from reference_model.experiments.gates import gates_of
from reference_model.experiments.orderings import SeedResult
from reference_model.experiments.protocol import ALWAYS, Protocol, ProtocolError
from reference_model.experiments.protocol_files import (
    bundled_protocol,
    check_keys,
    read_protocol,
    read_yaml,
    validated,
)
from reference_model.experiments.run import run_seed
from reference_model.job import Say
from reference_model.metrics.seeds import t_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMap:
    """A grid of worlds."""

    name: str
    of: str
    """Name of the protocol whose sizes, rows and comparisons it takes."""

    seeds: tuple[int, ...]
    orderings: tuple[str, ...]
    """Ids of that protocol's orderings."""

    down: str
    """The knob that changes from row to row."""

    down_values: tuple[float, ...]
    across: str
    """The knob that changes from column to column."""

    across_values: tuple[float, ...]


def read_phase_map(source: str | Path) -> PhaseMap:
    """Read a map from YAML, or one that comes with the package.

    Raises:
        FileNotFoundError: there is none.
        ProtocolError: it is none.
    """
    values = read_yaml(bundled_protocol(source))
    check_keys(PhaseMap, values, "phase map")
    return validated(PhaseMap, values, "phase map")


def cells(asked: PhaseMap) -> dict[tuple[float, float], Protocol]:
    """The protocol of each cell, by the values of both knobs.

    Raises:
        ProtocolError: a knob or an ordering is not there.
    """
    base = read_protocol(asked.of)
    chosen = tuple(one for one in base.orderings if one.id in asked.orderings)
    if missing := sorted(set(asked.orderings) - {one.id for one in chosen}):
        raise ProtocolError(
            f"protocol {base.name} has the orderings {', '.join(one.id for one in base.orderings)}; asked "
            f"for {', '.join(missing)}. Correct the names."
        )
    rows = tuple(
        dict.fromkeys(
            (*ALWAYS, *(row for one in chosen for row in (one.better, one.worse) if "@" not in row))
        )
    )
    made = {}
    for low in asked.down_values:
        for right in asked.across_values:
            knobs = base.knobs
            for knob, value in ((asked.down, low), (asked.across, right)):
                if not hasattr(knobs, knob):
                    raise ProtocolError(f"a world has no knob {knob!r}; name a field of `Knobs`.")
                kind = type(getattr(knobs, knob))
                if kind is int and not float(value).is_integer():
                    raise ProtocolError(f"knob {knob} is a whole number; asked for {value:g}. Round it.")
                knobs = replace(knobs, **{knob: kind(value)})
            made[low, right] = replace(
                base,
                name=asked.name,
                knobs=knobs,
                seeds=asked.seeds,
                rows=rows,
                curve=(),
                curve_rows=(),
                thresholds=(),
                orderings=chosen,
            )
    return made


def run_phase_map(asked: PhaseMap, out: Path, *, say: Say, report_to: Path | None = None) -> str:
    """Run all cells that are not done, and write NAME.md.

    Args:
        asked: the grid.
        out: folder of the run folders.
        say: takes lines for the user.
        report_to: folder of the report; `out` if None.

    Returns:
        The report.

    Raises:
        NoFileTargetError: the report cannot be put there (an OSError).
    """
    report = (report_to or out) / f"{asked.name}.md"
    check_target(report)
    results = {}
    for (low, right), protocol in cells(asked).items():
        folder = out / f"{asked.down}-{low:g}-{asked.across}-{right:g}"
        results[low, right] = [run_seed(protocol, seed, folder, say) for seed in asked.seeds]
    text = _markdown(asked, results)
    with replacing(report) as temporary:
        temporary.write_text(text)
    return text


def _markdown(asked: PhaseMap, results: dict[tuple[float, float], list[SeedResult]]) -> str:
    base = read_protocol(asked.of)
    seeds = ", ".join(map(str, asked.seeds))
    about = (
        f"Differences of protocol `{asked.of}` while two knobs of the world are turned. Seeds of a cell: "
        f"{seeds}; a map, no verdict. A cell in brackets fails a gate."
    )
    parts = [f"# {asked.name}", about]
    for ordering in (one for one in base.orderings if one.id in asked.orderings):
        header = [f"{asked.down} \\ {asked.across}", *(f"{value:g}" for value in asked.across_values)]
        lines = [header, ["---"] * len(header)]
        for low in asked.down_values:
            found = [
                _cell(base, results[low, right], ordering.better, ordering.worse, ordering.metric)
                for right in asked.across_values
            ]
            lines.append([f"{low:g}", *found])
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {ordering.id}: {ordering.claim}\n\n{ordering.better} - {ordering.worse}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _cell(base: Protocol, results: Sequence[SeedResult], better: str, worse: str, metric: str) -> str:
    mean = t_interval([one.runs[better][metric] - one.runs[worse][metric] for one in results]).estimate
    held = all(
        gate.holds for one in results for gate in gates_of(dict(one.training), base.gates, base.target_obr)
    )
    return f"{mean:+.3f}" if held else f"({mean:+.3f})"
