"""From records and weights to what is read: tables, figures, report, model card, choices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gl10m.manifest.parquet import TEMPORARY, replacing
from reference_model.evaluate import sampler_account
from reference_model.face import Setting
from reference_model.job import CALIBRATION, Say
from reference_model.metrics.observation_cost import DEFAULT_OBR
from reference_model.networks.encoder import SMALL
from reference_model.reproduction import choices, model_card
from reference_model.reproduction.counts import METHOD
from reference_model.reproduction.figures.album import draw_figures
from reference_model.reproduction.formats import FORMATS
from reference_model.reproduction.other_rows import other_tables
from reference_model.reproduction.page import FILE as PAGE
from reference_model.reproduction.page import Report, write_page
from reference_model.reproduction.paper import paper_tables
from reference_model.reproduction.parts import Completion, Parts, open_parts
from reference_model.reproduction.record import FOLDER, Provenance, identity, read_records
from reference_model.reproduction.rows import OURS_COMPLETES
from reference_model.reproduction.table import ResultTable, result_table

TABLES, FIGURES, CHOICES = "tables", "figures", "CHOICES.md"

CAUTION_SMALL = (
    "The encoder of this run was trained on the labels of its own training scenes. The numbers check the "
    "machinery; they reproduce no number of the paper, and stand beside it to show what belongs where."
)
CAUTION_SCENES = (
    "Held-out scenes: {test}. With so few, the order of two rows may be luck: look at the intervals, and "
    "run more seeds."
)
CAUTION_COLLAPSED = (
    "The sampler of the seed that the figures show has collapsed or learned little: read no order of rows "
    "off these tables."
)
FEW_SCENES = 500
"""Held-out scenes below which a run is warned of."""


def publish(
    setting: Setting,
    out: Path,
    origin: Provenance,
    seeds: Sequence[int],
    *,
    completions: Mapping[str, Completion],
    say: Say,
) -> Path:
    """Write everything that is read; the same records and weights give the same bytes.

    Args:
        setting: of the seed that the figures show.
        out: the folder that holds the records.
        origin: of the numbers.
        seeds: of the records.
        completions: how other rows complete a scene, for Figures 5 and 7.
        say: takes lines for the user.

    Returns:
        The report.

    Raises:
        RecordDamagedError: a record cannot be read.
        OSError: something cannot be written.
    """
    _sweep(out)
    records = [
        one for one in read_records(out / FOLDER) if one.seed in seeds or one.method.startswith(METHOD)
    ]
    tables = tuple(result_table(table, records) for table in (*paper_tables(), *other_tables(records)))
    write_tables(out / TABLES, tables)
    parts = open_parts(setting)
    told = {**completions, OURS_COMPLETES: parts.completed}
    figures = draw_figures(parts, told, records, out / FIGURES, say)
    run = facts(setting, origin)
    with replacing(out / CHOICES) as temporary:
        temporary.write_text(choices.page(run), encoding="utf-8")
    counts = scenes_in_words(setting)
    model_card.write_model_card(out, origin, seeds, tables, counts)
    report = Report(
        title=f"GL-10M reference model, preset {origin.preset}, encoder {origin.encoder}",
        cards=headline(tables, len(seeds), len(setting.job.roles.test)),
        remarks=(*_cautions(setting, origin, parts), _sentence(setting.job.roles.held_out)),
        tables=tables,
        figures=tuple(figures),
        folder=out / FIGURES,
        run=run,
        origin=origin,
    )
    write_page(out / PAGE, report)
    return out / PAGE


def _sweep(out: Path) -> None:
    """Remove what a run that was killed while it wrote has left; its seed is locked, so it is gone."""
    for folder in (out, out / FOLDER, out / TABLES, out / FIGURES):
        for leftover in folder.glob(f"{TEMPORARY}*-*"):
            leftover.unlink(missing_ok=True)


def write_tables(folder: Path, tables: Sequence[ResultTable]) -> None:
    """Write table-1.md, table-1.csv, table-1.tex and so on; other-rows.md where there are such.

    Raises:
        OSError: one cannot be written.
    """
    for table in tables:
        for ending, render in FORMATS.items():
            with replacing(folder / f"{table.table.file}.{ending}") as temporary:
                temporary.write_text(render(table), encoding="utf-8")


def facts(setting: Setting, origin: Provenance) -> dict[str, Any]:
    """What is known of a run; see `choices.used`."""
    job = setting.job
    names = [job.catalogue.class_names[number] for number in job.catalogue.novel]
    return {
        "settings": job.run.read_json("config.json")["settings"],
        "calibration": job.run.read_json(CALIBRATION),
        "novel classes": {"names": names},
        "provenance": {"device": origin.device},
    }


def scenes_in_words(setting: Setting) -> str:
    """How many scenes did what."""
    roles = setting.job.roles
    return (
        f"{len(roles.train)} scenes taught, {len(roles.val)} set the threshold, {len(roles.test)} were held "
        f"out; {roles.dropped} were left out because they overlap held-out ground."
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def _cautions(setting: Setting, origin: Provenance, parts: Parts) -> list[str]:
    found = [CAUTION_SMALL] if origin.encoder == SMALL else []
    if sampler_account(parts.calibration, parts.scores, parts.targets, setting.job.roles)["collapsed"]:
        found.append(CAUTION_COLLAPSED)
    test = len(setting.job.roles.test)
    return found + ([CAUTION_SCENES.format(test=test)] if test < FEW_SCENES else [])


def headline(tables: Sequence[ResultTable], seeds: int, held_out: int) -> tuple[tuple[str, str], ...]:
    """What stands at the head of the report, as titles and values; numbers are those of the tables.

    Args:
        tables: with the method's own row at its target cost, or without it.
        seeds: how many the numbers are means over.
        held_out: scenes.
    """
    lines = [line for table in tables for line in table.lines]
    measured = sum(bool(line.ours) for line in lines)
    own = next((line.ours for line in lines if line.key == identity("ours", DEFAULT_OBR)), {})
    shown = {"OBR": "OBR", "Base mAP@100": "base/mAP@100"}
    return (
        ("rows measured", f"{measured} of {len(lines)}"),
        ("seed" if seeds == 1 else "seeds", str(seeds)),
        ("scenes held out", str(held_out)),
        *((title, f"{own[metric].mean:.3f}") for title, metric in shown.items() if metric in own),
    )
