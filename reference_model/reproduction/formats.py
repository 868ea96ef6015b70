"""A table as Markdown, CSV and LaTeX. No number stands in any of them without its origin."""

import csv
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

from gl10m.report.markdown import row as markdown_row
from gl10m.report.markdown import text as markdown_text
from reference_model.reproduction.intervals import Summary
from reference_model.reproduction.record import Provenance
from reference_model.reproduction.table import Line, ResultTable

ORIGIN_FIELDS = ("software", "commit", "device", "encoder", "preset", "data_set", "pretrain", "settings")

ABOUT = (
    "A cell is ours with its 95 % interval, then the paper's number in brackets. Intervals are over seeds "
    "where a row has several, else over the held-out scenes of one seed, marked *: those understate how much "
    "two trainings differ. The letter in the column from leads to the origin below. Our times stand in "
    "times.md, since they differ from run to run."
)

DIGEST_SHOWN = 12
"""Hexadecimal digits of a digest that are printed; the CSV has them all."""


def as_markdown(result: ResultTable) -> str:
    """GitHub's Markdown, with the origins as a list."""
    table = result.table
    heads = ["", "method", "input", *(column.head for column in table.columns)]
    heads += ["status", "seeds", "device", "commit", "pretrain", "from"]
    lines = [f"### {table.name}. {table.title}", "", ABOUT, ""]
    lines += [markdown_row(*heads), markdown_row(*(["---"] * len(heads)))]
    for line in result.lines:
        words = [line.row.group, line.row.label, line.row.input]
        cells = [markdown_text(word) for word in words]
        cells += [_cell(line, column.metric, column.digits) for column in table.columns]
        cells += [markdown_text(word) for word in (line.status, *_briefly(line), result.letters(line))]
        lines.append(markdown_row(*cells))
    lines += ["", markdown_text(table.note), ""]
    for letter, origin in result.lettered:
        lines.append(f"- {letter}: {markdown_text(origin_in_words(origin))}")
    return "\n".join(lines).rstrip("\n") + "\n"


def as_csv(result: ResultTable) -> str:
    """One row a row of the paper; four columns a number: ours, its interval, the paper's. RFC 4180, LF."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = ["table", "row", "group", "method", "input"]
    for column in result.columns:
        heads += [f"{column.metric}{part}" for part in ("", " low", " high", " paper")]
    heads += ["status", "seeds", "interval over", "pretrain of the paper", *ORIGIN_FIELDS]
    writer.writerow(heads)
    for line in result.lines:
        row = line.row
        cells: list[object] = [result.table.number or "", row.id, row.group, row.label, row.input]
        for column in result.columns:
            ours = line.ours.get(column.metric)
            numbers = (None, None, None) if ours is None else (ours.mean, ours.low, ours.high)
            cells += [*(_full(number) for number in numbers), _full(row.paper.get(column.metric))]
        cells += [line.status, " ".join(map(str, line.seeds)), _over(line), row.pretrain]
        cells += [_joined(line, name) for name in ORIGIN_FIELDS]
        writer.writerow(cells)
    return out.getvalue()


def as_latex(result: ResultTable) -> str:
    """A `table` of LaTeX that needs no package; the paper's numbers stand in brackets."""
    table = result.table
    heads = ["Method", "Input", *(column.head for column in table.columns), "Status", "Seeds", "From"]
    of_paper = "" if table.number is None else " of the paper"
    shape = "ll" + "r" * len(table.columns) + "lll"
    lines = [
        f"% Made by {_made_by(result)}; see arXiv 2604.11415v1, {table.name}.",
        r"\begin{table}",
        rf"\caption{{{table.name}{of_paper}: {_latex(table.title)}. {_latex(table.note)}}}",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\hline",
        " & ".join(_latex(head) for head in heads) + r" \\",
        r"\hline",
    ]
    group = ""
    for line in result.lines:
        if line.row.group != group:
            group = line.row.group
            lines.append(rf"\multicolumn{{{len(heads)}}}{{l}}{{\emph{{{_latex(group)}}}}} \\")
        cells = [_latex(line.row.label), _latex(line.row.input)]
        cells += [_latex(_cell(line, column.metric, column.digits)) for column in table.columns]
        cells += [_latex(line.status), ", ".join(map(str, line.seeds)), result.letters(line)]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\hline", r"\end{tabular}", ""]
    for letter, origin in result.lettered:
        lines.append(rf"\par {letter}: {_latex(origin_in_words(origin))}.")
    return "\n".join([*lines, r"\end{table}", ""])


FORMATS: Mapping[str, Callable[[ResultTable], str]] = MappingProxyType(
    {"md": as_markdown, "csv": as_csv, "tex": as_latex}
)
"""By ending of the file."""


def origin_in_words(origin: Provenance) -> str:
    """One line."""
    pretrained = "" if origin.pretrain == "none" else f", pretrained on {origin.pretrain}"
    return (
        f"{origin.software}, commit {origin.commit}, {origin.device}, encoder {origin.encoder}, preset "
        f"{origin.preset}, data set {origin.data_set[:DIGEST_SHOWN]}, "
        f"settings {origin.settings[:DIGEST_SHOWN]}{pretrained}"
    )


def number_in_words(ours: Summary, digits: int) -> str:
    """A mean with its interval: "0.412 [0.380, 0.441]*"."""
    return f"{ours.mean:,.{digits}f} {interval_in_words(ours, digits)}".rstrip()


def interval_in_words(ours: Summary, digits: int) -> str:
    """An interval, a star behind it where it is over scenes alone: "[0.380, 0.441]*"; empty if unknown."""
    if ours.low is None or ours.high is None:
        return ""
    star = "*" if ours.over == "scenes" else ""
    return f"[{ours.low:,.{digits}f}, {ours.high:,.{digits}f}]{star}"


def _cell(line: Line, metric: str, digits: int) -> str:
    ours, paper = line.ours.get(metric), line.row.paper.get(metric)
    shown = "-" if ours is None else number_in_words(ours, digits)
    return shown if paper is None else f"{shown} ({paper:,.{digits}f})"


def _briefly(line: Line) -> list[str]:
    """Seeds, device, commit and the flag of pretraining, ours and the paper's where they differ."""
    pretrain = _joined(line, "pretrain")
    if pretrain and pretrain != line.row.pretrain:
        pretrain = f"{pretrain} (paper: {line.row.pretrain})"
    seeds = ", ".join(map(str, line.seeds))
    return [seeds, _joined(line, "device"), _joined(line, "commit"), pretrain]


def _joined(line: Line, name: str) -> str:
    return " ".join(dict.fromkeys(str(getattr(origin, name)) for origin in line.origins))


def _over(line: Line) -> str:
    return " ".join(dict.fromkeys(one.over for one in line.ours.values() if one.over != "nothing"))


def _full(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}" if abs(number) < 1 else f"{number:.10g}"


def _made_by(result: ResultTable) -> str:
    return ", ".join(dict.fromkeys(origin.software for origin in result.origins)) or "gl10m, nothing measured"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
)


def _latex(words: str) -> str:
    return words.translate(_LATEX)
