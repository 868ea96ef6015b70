"""What a section of the report is: words, drawings, and the table behind every drawing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTable:
    """Numbers as rows. Columns that hold numbers are set flush right."""

    caption: str
    head: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    open: bool = False
    """Whether the table is shown at once; else it opens on demand."""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers alone."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.head)
        return tuple(
            any(isinstance(cell, (int, float)) for cell in column)
            and not any(isinstance(cell, str) for cell in column)
            for column in columns
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawing, a line about it, and its numbers."""

    title: str
    drawing: Markup | None
    note: str = ""
    table: DataTable | None = None
    wide: bool = False
    """Whether it takes the whole width of a large screen."""
    beside: bool = False
    """Whether the table stands beside the drawing there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report."""

    anchor: str
    """Name in the address: "funnel"."""
    title: str
    about: str
    figures: tuple[Figure, ...] = ()
    notices: tuple[str, ...] = ()
    """What the reader must know first: what is missing, and what to do about it."""
    body: Markup | None = None
    """Markup of a section that is more than figures."""
    payload: dict[str, object] = field(default_factory=dict)
    """Data for the section's script."""
