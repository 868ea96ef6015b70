"""What a run has to do: every method at every cost that a table or a figure asks for."""

from collections.abc import Iterable
from dataclasses import dataclass

from reference_model.reproduction.figures.curves import BUDGETS, IN_4B
from reference_model.reproduction.paper import PaperTable, paper_tables
from reference_model.reproduction.record import identity

OF_FIGURE_4B = "figure 4b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One method at one cost."""

    method: str
    target_obr: float | None
    """None for a method that buys none or all."""

    rows: tuple[str, ...]
    """What it fills: "table 1/ours", OF_FIGURE_4B."""

    weights: str = ""
    """What the paper's row needs on this machine; see `PaperRow`."""

    data: str = ""

    @property
    def key(self) -> str:
        """As its records are named."""
        return identity(self.method, self.target_obr)


def trials(tables: Iterable[PaperTable] | None = None) -> tuple[Trial, ...]:
    """All of them, in the order of the tables; a method at one cost stands once, whatever asks for it.

    Args:
        tables: of the paper; all if None.
    """
    found: dict[str, Trial] = {}
    for table in paper_tables() if tables is None else tables:
        if table.protocol == "counts":
            continue
        for row in table.rows:
            asked = Trial(
                method=row.method,
                target_obr=row.obr,
                rows=(f"table {table.number}/{row.id}",),
                weights=row.weights,
                data=row.data,
            )
            found[asked.key] = _joined(found.get(asked.key), asked)
    for method in IN_4B:
        for budget in BUDGETS:
            asked = Trial(method=method, target_obr=budget, rows=(OF_FIGURE_4B,))
            found[asked.key] = _joined(found.get(asked.key), asked)
    return tuple(found.values())


def _joined(one: Trial | None, other: Trial) -> Trial:
    if one is None:
        return other
    return Trial(
        method=one.method,
        target_obr=one.target_obr,
        rows=tuple(dict.fromkeys(one.rows + other.rows)),
        weights=one.weights or other.weights,
        data=one.data or other.data,
    )
