"""The report of a run: one HTML file of tables, figures, choices and provenance, which loads nothing."""

import base64
import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gl10m.manifest.parquet import replacing
from gl10m.report.page.markup import allowed, asset, inline, templates
from reference_model.reproduction.choices import choices, used
from reference_model.reproduction.formats import interval_in_words, origin_in_words
from reference_model.reproduction.paper import TableColumn
from reference_model.reproduction.record import Provenance
from reference_model.reproduction.table import Line, ResultTable

FILE = "report.html"

ABOUT = (
    "Under each number of ours stand its 95 % interval and the paper's number. Intervals are over seeds "
    "where a row has several, else over the held-out scenes of one seed, marked *: those understate how "
    "much two trainings differ. The letter in the column from leads to the origin below the table. Times "
    "differ from run to run and stand in tables/times.md."
)

PACKAGE = "reference_model.reproduction"

ROWS_SHOWN = 60
"""Rows of a figure's CSV that the page shows; the file beside it has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureFiles:
    """A figure of the paper as it lies in the folder of figures."""

    anchor: str
    short: str
    title: str
    about: str
    pngs: tuple[str, ...]
    csvs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The CSV behind a figure."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    cut: int | None
    """All rows, where only some are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the page tells of."""

    title: str
    cards: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    tables: tuple[ResultTable, ...]
    figures: tuple[FigureFiles, ...]
    folder: Path
    """Of the figures."""

    run: Mapping[str, Any]
    """See `choices.used`."""

    origin: Provenance


def write_page(out: Path, report: Report) -> None:
    """Write the page, whole or not at all; the same run gives the same bytes.

    Raises:
        OSError: a figure cannot be read or the page not be written.
    """
    style = asset("page.css") + asset("report.css") + asset("run.css", PACKAGE)
    page = (
        templates(PACKAGE)
        .get_template("run.html.j2")
        .render(
            title=report.title,
            policy=f"default-src 'none'; img-src data:; style-src {allowed(style)}",
            style=inline(style),
            cards=report.cards,
            remarks=report.remarks,
            about=ABOUT,
            tables=report.tables,
            figures=[_figure(report.folder, figure) for figure in report.figures],
            choices=[(one, used(one, report.run)) for one in choices()],
            origin=[(name.replace("_", " "), value) for name, value in asdict(report.origin).items()],
            software=report.origin.software,
            mean=_mean,
            interval=_interval,
            plain=_plain,
            in_words=origin_in_words,
        )
    )
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _mean(line: Line, column: TableColumn) -> str:
    ours = line.ours.get(column.metric)
    return "-" if ours is None else _plain(ours.mean, column.digits)


def _interval(line: Line, column: TableColumn) -> str:
    ours = line.ours.get(column.metric)
    return "" if ours is None else interval_in_words(ours, column.digits)


def _plain(number: float, digits: int) -> str:
    return f"{number:,.{digits}f}"


def _figure(folder: Path, figure: FigureFiles) -> dict[str, object]:
    pictures = []
    for name in figure.pngs:
        encoded = base64.b64encode((folder / name).read_bytes()).decode()
        pictures.append((name, f"data:image/png;base64,{encoded}"))
    told = {name: getattr(figure, name) for name in ("anchor", "short", "title", "about")}
    return told | {"pictures": pictures, "numbers": [_numbers(folder / name) for name in figure.csvs]}


def _numbers(path: Path) -> Numbers:
    with path.open(encoding="utf-8", newline="") as lines:
        head, *rows = list(csv.reader(lines))
    cut = len(rows) if len(rows) > ROWS_SHOWN else None
    return Numbers(name=path.name, head=head, rows=rows[:ROWS_SHOWN], cut=cut)
