"""Rows that the paper lacks: named by the user, measured at their own OBR, shown in a table of their own."""

from collections.abc import Iterable, Sequence

from reference_model.methods.registry import methods
from reference_model.reproduction.counts import METHOD
from reference_model.reproduction.paper import PaperRow, PaperTable, TableColumn
from reference_model.reproduction.record import Record, identity
from reference_model.reproduction.trials import Trial, trials

COLUMNS = (
    TableColumn("base/mAP@100", "Base mAP@100", 3),
    TableColumn("base/mAP@20", "Base mAP@20", 3),
    TableColumn("novel/mAP@100", "Novel mAP@100", 3),
    TableColumn("novel/mAP@20", "Novel mAP@20", 3),
    TableColumn("all/mAP@100", "mAP@100", 3),
    TableColumn("OBR", "OBR", 3),
)
"""Those of Table 1, and the figure of Table 2: both kinds of rows stand here."""


def other_trials(names: Sequence[str]) -> tuple[Trial, ...]:
    """What the paper's tables and figures do not ask for, each at the OBR that its entry names.

    Args:
        names: keys of `methods()`; those that the paper asks for are left out.
    """
    known, asked = methods(), {trial.method for trial in trials()}
    others = [known[name] for name in dict.fromkeys(names) if name not in asked]
    return tuple(
        Trial(
            method=entry.name,
            target_obr=entry.paper_obr if entry.sparse else None,
            rows=(f"other rows/{entry.name}",),
        )
        for entry in others
    )


def other_tables(records: Iterable[Record]) -> tuple[PaperTable, ...]:
    """The table of the records that no table or figure of the paper asks for; none without such a record.

    Args:
        records: of any rows.
    """
    asked, known = {trial.key for trial in trials()}, methods()
    found = {
        identity(one.method, one.target_obr): one for one in records if not one.method.startswith(METHOD)
    }
    others = [found[key] for key in sorted(found.keys() - asked)]
    rows = []
    for one in others:
        # The package that brought a row may be gone by now; what was measured stays.
        entry = known.get(one.method)
        rows.append(
            PaperRow(
                id=identity(one.method, one.target_obr),
                label=one.method,
                method=one.method,
                group="" if entry is None else entry.regime,
                input="" if entry is None else entry.observes,
                obr=one.target_obr,
                extra=True,
                paper={},
            )
        )
    if not rows:
        return ()
    table = PaperTable(
        number=None,
        title="Rows that no table of the paper has",
        protocol="zero-shot and supervised",
        note="Named with --only, each at its own OBR. Supervised rows learn from the labels of all classes.",
        columns=COLUMNS,
        rows=tuple(sorted(rows, key=lambda row: (row.group, row.id))),
    )
    return (table,)
