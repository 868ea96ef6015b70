"""Which rows the paper's tables have, and their published numbers: paper.toml, typed."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

FILE = "paper.toml"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of numbers."""

    metric: str
    """Name in the records: "base/mAP@100", "OBR", "seconds"."""

    head: str
    digits: int
    """Decimals that the paper prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """One row: what the paper calls it, its numbers, and which method it is here."""

    id: str
    label: str
    method: str
    pretrain: str = "none"
    """Whether the paper's row was pretrained on GL-10M: "none" or "gl10m"."""

    group: str = ""
    input: str = ""
    obr: float | None = None
    """Share of tiles that the method is asked to buy; None for one that buys none or all."""

    weights: str = ""
    """What it needs on this machine: a hub id, or a page and a file."""

    data: str = ""
    """Data sets that it needs beside the one at hand."""

    extra: bool = False
    """Whether the paper lacks the row."""

    paper: Mapping[str, float]
    """Published numbers by metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table of the paper, or that of the rows which no table of the paper has."""

    number: int | None
    """None for the rows that the paper lacks; see `other_rows`."""

    title: str
    protocol: str
    """"zero-shot", "supervised" or "counts"."""

    note: str
    columns: tuple[TableColumn, ...]
    rows: tuple[PaperRow, ...]

    @property
    def name(self) -> str:
        """What it is called: "Table 1"."""
        return "Other rows" if self.number is None else f"Table {self.number}"

    @property
    def file(self) -> str:
        """Its files without their endings, and its place in the report: "table-1"."""
        return self.name.lower().replace(" ", "-")


@functools.cache
def paper_tables() -> tuple[PaperTable, ...]:
    """Tables 1 to 6, in order."""
    told = tomllib.loads(files("reference_model.reproduction").joinpath(FILE).read_text(encoding="utf-8"))
    return tuple(_table(one) for one in told["table"])


def paper_table(number: int) -> PaperTable:
    """One of them.

    Raises:
        LookupError: the paper has no such table.
    """
    for table in paper_tables():
        if table.number == number:
            return table
    raise LookupError(f"the paper has tables 1 to 6; asked for {number}")


def _table(told: dict[str, Any]) -> PaperTable:
    return PaperTable(
        number=told["number"],
        title=told["title"],
        protocol=told["protocol"],
        note=told["note"],
        columns=tuple(TableColumn(**column) for column in told["columns"]),
        rows=tuple(PaperRow(**row) for row in told["row"]),
    )
