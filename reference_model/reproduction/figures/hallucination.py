"""Figure 7 and section B: does a completed tile look, among the training tiles, like what is really there?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_model.reproduction.figures.canvas import GREEN, VERMILION, Cell, bare, drawn, write_csv
from reference_model.reproduction.intervals import over_scenes
from reference_model.reproduction.parts import Completion, Parts
from reference_model.reproduction.tile_retrieval import BUDGETS, Asked, Database, Query, ask, database

MEASURES: Mapping[str, str] = MappingProxyType(
    {
        "agreement": "agreement@10",
        "jaccard": "Jaccard@10",
        "rank": "rank of the true tile",
        "cosine": "cosine",
    }
)
"""What is measured of a query, and what the tables call it."""

SHOWN_QUERIES, SHOWN_NEIGHBOURS = 3, 5
SHOWN_AT = 0.12
"""Bucket of the drawn queries."""

PNG, CSV, QUERIES_CSV = "figure-7.png", "figure-7.csv", "figure-7-queries.csv"


def draw_hallucination(parts: Parts, models: Mapping[str, Completion], folder: Path) -> None:
    """Write figure-7.png, figure-7.csv (a row a model and bucket) and figure-7-queries.csv (a row a query).

    Args:
        parts: of the model; observation, database and similarity are the same for all models.
        models: ways to complete a scene by name.
        folder: where the files go.

    Raises:
        OSError: they cannot be written.
    """
    known = database(parts)
    queries = ask(parts, models, known)
    names = parts.setting.job.catalogue.scene_ids
    rows: list[tuple[Cell, ...]] = [
        (
            *(q.asked.model, q.asked.bucket, names[q.asked.row], q.asked.tile),
            *(q.agreement, q.jaccard, q.rank, q.cosine),
        )
        for q in queries
    ]
    write_csv(folder / QUERIES_CSV, ("model", "OBR bucket", "scene_id", "tile", *MEASURES.values()), rows)
    columns = [f"{title}{part}" for title in MEASURES.values() for part in ("", " low", " high")]
    head = ("model", "OBR bucket", *columns, "scenes", "queries")
    write_csv(folder / CSV, head, _summaries(queries, models))
    _draw(parts, list(models), known, queries, folder / PNG)


def _summaries(queries: Sequence[Query], models: Mapping[str, Completion]) -> list[tuple[Cell, ...]]:
    lines: list[tuple[Cell, ...]] = []
    for bucket in BUDGETS:
        for model in models:
            own = [one for one in queries if (one.asked.model, one.asked.bucket) == (model, bucket)]
            if not own:
                continue
            scenes = sorted({query.asked.row for query in own})
            cells: list[Cell] = []
            for name in MEASURES:
                # Tiles of one scene are alike: the scene is the unit of the interval.
                means = [
                    float(np.mean([getattr(q, name) for q in own if q.asked.row == row])) for row in scenes
                ]
                found = over_scenes(means)
                cells += [found.mean, found.low, found.high]
            lines.append((model, bucket, *cells, len(scenes), len(own)))
    return lines


def _draw(parts: Parts, models: Sequence[str], known: Database, queries: Sequence[Query], path: Path) -> None:
    """A query a block: the true tile, then a row of neighbours a model; those that disagree are crossed."""
    asked = _spread(queries, models)
    path.unlink(missing_ok=True)  # of an earlier run, where this one has nothing to show
    if not asked:
        return
    catalogue, scenes = parts.setting.job.catalogue, parts.setting.job.scenes
    side = 1.15
    lines = len(asked) * len(models)
    with drawn(path, side * (SHOWN_NEIGHBOURS + 1) + 1.6, (side + 0.3) * lines) as figure:
        axes = figure.subplots(lines, SHOWN_NEIGHBOURS + 1, squeeze=False)
        for line, (row, tile, model) in enumerate((*one, model) for one in asked for model in models):
            wanted = Asked(model=model, bucket=SHOWN_AT, row=row, tile=tile)
            query = next(one for one in queries if one.asked == wanted)
            truth = catalogue.tile_labels[row, tile]
            first = axes[line, 0]
            first.imshow(_tile(scenes.scene(row).hr([tile])))
            named = ", ".join(catalogue.class_names[one] for one in truth.nonzero().flatten().tolist())
            first.set_title(f"truth: {named}"[:34], fontsize=6.5)
            first.set_ylabel(f"{model}\nrank {query.rank:,}", fontsize=7)
            bare(first)
            for axis, entry in zip(axes[line, 1:], query.neighbours, strict=False):
                agrees = bool((known.labels[entry] & truth).any())
                place = int(known.rows[entry]), int(known.tiles[entry])
                axis.imshow(_tile(scenes.scene(place[0]).hr([place[1]])))
                own = [catalogue.class_names[one] for one in known.labels[entry].nonzero().flatten().tolist()]
                axis.set_title(("= " if agrees else "x ") + (", ".join(own) or "no label")[:24], fontsize=6.5)
                bare(axis)
                for spine in axis.spines.values():
                    spine.set(edgecolor=GREEN if agrees else VERMILION, linewidth=1.2 if agrees else 3.0)


def _spread(queries: Sequence[Query], models: Sequence[str]) -> list[tuple[int, int]]:
    """Queries to draw, of different scenes: where the last model agrees most, least, and in between."""
    own = [one for one in queries if (one.asked.model, one.asked.bucket) == (models[-1], SHOWN_AT)]
    ordered = sorted(own, key=lambda one: (-one.agreement, one.asked.row, one.asked.tile))
    first_of_scene = list({one.asked.row: one for one in reversed(ordered)}.values())
    first_of_scene.sort(key=lambda one: (-one.agreement, one.asked.row))
    places = np.linspace(0, len(first_of_scene) - 1, min(SHOWN_QUERIES, len(first_of_scene))).round()
    return [(first_of_scene[int(place)].asked.row, first_of_scene[int(place)].asked.tile) for place in places]


def _tile(pixels: Tensor) -> NDArray[np.uint8]:
    small = torch.nn.functional.adaptive_avg_pool2d(pixels.float(), 134).round().byte()
    picture: NDArray[np.uint8] = small[0].permute(1, 2, 0).contiguous().numpy()
    return picture
