"""A table of the paper with our numbers beside the published ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from reference_model.reproduction.intervals import Summary, summarise
from reference_model.reproduction.paper import PaperRow, PaperTable, TableColumn
from reference_model.reproduction.record import (
    MEASURED,
    NEEDS_DATA,
    NEEDS_WEIGHTS,
    Provenance,
    Record,
    identity,
)

NO_POSITIVE = "nothing to rank or to count for the rest"
"""Why a number is missing from a measured row: there is nothing to rank, or no scene to count."""

NOT_RUN = "not run"
"""Status of a row that a run left out, or has not come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row: the paper's numbers and ours."""

    row: PaperRow
    status: str
    """MEASURED, "needs weights (id)", "needs data (name)", NOT_RUN, or two where a part is missing."""

    ours: Mapping[str, Summary]
    """By metric; metrics that are not measured are left out."""

    seeds: tuple[int, ...] = ()
    origins: tuple[Provenance, ...] = ()
    """Where the numbers come from; one if all seeds were run alike."""

    @property
    def key(self) -> str:
        """Method and cost, as the records are named."""
        return identity(self.row.method, self.row.obr)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """All rows of one table of the paper."""

    table: PaperTable
    lines: tuple[Line, ...]

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """Columns of numbers."""
        return self.table.columns

    @property
    def origins(self) -> tuple[Provenance, ...]:
        """Everything that numbers of the table come from, in order of appearance."""
        return tuple(dict.fromkeys(origin for line in self.lines for origin in line.origins))

    def letters(self, line: Line) -> str:
        """The letters under which the origins of a line are listed: "a", "a b"."""
        return " ".join(letter(self.origins.index(origin)) for origin in line.origins)

    @property
    def lettered(self) -> tuple[tuple[str, Provenance], ...]:
        """The origins with their letters."""
        return tuple((letter(place), origin) for place, origin in enumerate(self.origins))


def letter(place: int) -> str:
    """What stands for the origin at a place: a to z, then aa, ab and so on."""
    before, last = divmod(place, len(ascii_lowercase))
    return (letter(before - 1) if before else "") + ascii_lowercase[last]


def result_table(table: PaperTable, records: Iterable[Record]) -> ResultTable:
    """Put the records into the rows of a table.

    Args:
        table: of the paper.
        records: of any tables; those of other rows are not looked at.
    """
    by_key: dict[str, list[Record]] = {}
    for record in records:
        by_key.setdefault(identity(record.method, record.target_obr), []).append(record)
    lines = []
    for row in table.rows:
        # The data set's own rows differ in nothing but their name.
        key = f"data-set-{row.id}" if table.protocol == "counts" else identity(row.method, row.obr)
        lines.append(_line(table, row, sorted(by_key.get(key, []), key=lambda one: one.seed)))
    return ResultTable(table=table, lines=tuple(lines))


def _line(table: PaperTable, row: PaperRow, records: Sequence[Record]) -> Line:
    measured = [record for record in records if record.status == MEASURED]
    metrics = [column.metric for column in table.columns]
    ours = {
        metric: summarise([record.metrics[metric] for record in measured])
        for metric in metrics
        if measured and all(metric in record.metrics for record in measured)
    }
    return Line(
        row=row,
        status=_status(row, metrics, records, ours),
        ours=ours,
        seeds=tuple(record.seed for record in measured),
        origins=tuple(dict.fromkeys(record.provenance for record in measured)),
    )


def _status(
    row: PaperRow, metrics: Sequence[str], records: Sequence[Record], ours: Mapping[str, Summary]
) -> str:
    if not ours:
        for record in records:
            if record.status in {NEEDS_WEIGHTS, NEEDS_DATA}:
                return f"{record.status} ({record.needs})"
        return NOT_RUN
    asked = [name for name in metrics if name != "seconds" and (row.extra or name in row.paper)]
    lacking = [name for name in asked if name not in ours]
    if lacking:
        # A metric of another data set begins with its name.
        named = [
            name for name in row.data.split(", ") if name and any(one.startswith(name) for one in lacking)
        ]
        if named:
            return f"{MEASURED}; {NEEDS_DATA} ({', '.join(named)})"
        return f"{MEASURED} in part: {NO_POSITIVE}"
    return MEASURED
