"""The card of a trained model: Markdown with front matter that the Hugging Face hub reads."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from gl10m.manifest.parquet import replacing
from gl10m.report.card import CITATION
from gl10m.report.markdown import row, text
from reference_model.networks.encoder import SMALL
from reference_model.reproduction.formats import number_in_words, origin_in_words
from reference_model.reproduction.record import Provenance
from reference_model.reproduction.table import Line, ResultTable

FILE = "MODEL_CARD.md"

ABOUT = """Chooses which HR tiles (NAIP, 1 m) of a scene to observe from its LR image (Sentinel-2, 10 m)
alone, completes the scene in the space of a frozen encoder from the few that were observed, and ranks
scenes by class names. After [Observe Less, Understand More](https://arxiv.org/abs/2604.11415); an independent
implementation, not the authors'."""

LIMITS = """- Labels are what OpenStreetMap maps as areas; what is not mapped counts as absent.
- The threshold was calibrated on the validation scenes of this data set and belongs to these weights. On
  other ground the share of tiles that it buys drifts: calibrate again.
- Completed tiles are guesses. Do not read single tiles that were not observed; Figures 7 and 9 show how they
  fail.
- United States, NAIP and Sentinel-2 in three bands. Nothing is known about other sensors or countries.
- Images from above may show people's homes and property."""

SMALL_LIMIT = """- The small encoder was trained on the labels of the training scenes themselves: its figures
  check the machinery and reproduce no number of the paper."""

USE = """```sh
gl10m evaluate-reference --run RUN --root DATA   # the same tables and figures from these weights
```"""

LICENCE = """Weights trained here: as their owner decides; the code is Apache-2.0. A published encoder keeps
its own licence, which binds what is made with it. Labels: © OpenStreetMap contributors, ODbL 1.0."""


def model_card(origin: Provenance, seeds: Sequence[int], tables: Sequence[ResultTable], counts: str) -> str:
    """The card.

    Args:
        origin: of the numbers.
        seeds: of the trainings.
        tables: of results; those with a measured row are shown.
        counts: how many scenes taught and were held out, in words.

    Returns:
        Markdown with YAML front matter.
    """
    measured = [(table, [line for line in table.lines if line.ours]) for table in tables]
    measured = [(table, lines) for table, lines in measured if lines and table.table.protocol != "counts"]
    parts = [
        _front_matter(origin, measured),
        f"# GL-10M reference model, preset {text(origin.preset)}",
        ABOUT,
        "## Training",
        f"{text(counts)} Seeds: {', '.join(map(str, seeds))}. Made with {text(origin_in_words(origin))}.",
        "## Results",
        "Mean and 95 % interval: over seeds, or over the held-out scenes of one seed where marked *.",
        *[_results(table, lines) for table, lines in measured],
        "## Limits",
        LIMITS + (f"\n{SMALL_LIMIT}" if origin.encoder == SMALL else ""),
        "## Use",
        USE,
        "## Licence",
        LICENCE,
        "## Citation",
        CITATION,
    ]
    return "\n\n".join(parts) + "\n"


def write_model_card(
    folder: Path, origin: Provenance, seeds: Sequence[int], tables: Sequence[ResultTable], counts: str
) -> None:
    """Write MODEL_CARD.md; see `model_card`.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(folder / FILE) as temporary:
        temporary.write_text(model_card(origin, seeds, tables, counts), encoding="utf-8")


def _front_matter(origin: Provenance, measured: Sequence[tuple[ResultTable, Sequence[Line]]]) -> str:
    results = []
    for table, lines in measured:
        for line in lines:
            if line.row.method != "ours":
                continue
            metrics = [
                {"type": "mAP" if "mAP" in metric else metric, "name": metric, "value": round(found.mean, 4)}
                for metric, found in line.ours.items()
                if metric != "seconds"
            ]
            results.append(
                {
                    "task": {
                        "type": "image-retrieval",
                        "name": f"{table.table.name}, {line.row.label}",
                    },
                    "dataset": {"type": "gl10m", "name": f"GL-10M build {origin.data_set[:12]}"},
                    "metrics": metrics,
                }
            )
    front = {
        "license": "other",
        "library_name": "gl10m",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["remote-sensing", "sentinel-2", "naip", "openstreetmap", "active-observation"],
        "metrics": ["mean_average_precision"],
        "model-index": [{"name": f"gl10m-reference-{origin.preset}", "results": results}],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"


def _results(table: ResultTable, lines: Sequence[Line]) -> str:
    heads = ["method", *(column.head for column in table.columns if column.metric != "seconds"), "seeds"]
    shown = [
        f"{table.table.name}, {table.table.title.lower()}:",
        "",
        row(*heads),
        row(*["---"] * len(heads)),
    ]
    for line in lines:
        cells = [text(line.row.label)]
        for column in table.columns:
            if column.metric != "seconds":
                found = line.ours.get(column.metric)
                cells.append("-" if found is None else text(number_in_words(found, column.digits)))
        shown.append(row(*cells, ", ".join(map(str, line.seeds))))
    return "\n".join(shown)
