"""Cloud and black pixels of the scenes that were kept."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.report.page.charts import Series, histogram
from gl10m.report.page.facts import scenes
from gl10m.report.page.numbers import NOTHING, count, round_up
from gl10m.report.page.section import DataTable, Figure, Section
from gl10m.scene.grid import TILES
from gl10m.storage.place import Place

BINS = 20

MEASURES = (
    ("cloud_cover", "Reported cloud of the Sentinel-2 granule", "percent of the granule", 1.0),
    ("cloud_lr", "Cloud over the LR image, by its classification layer", "percent of the pixels", 100.0),
    ("black_lr", "Black or missing pixels of the LR image", "percent of the pixels", 100.0),
    ("black_hr", "Black or missing pixels of the worst HR tile", "percent of the pixels", 100.0),
)
"""Column, title, unit, and the factor from the column to that unit."""


def quality_section(root: Place) -> Section:
    """Distributions of cloud and black pixels; a column that is missing costs its own figure alone.

    Raises:
        ManifestNotFoundError: no data set stands there.
    """
    figures, notices = [], []
    for column, title, unit, factor in MEASURES:
        try:
            values = _values(scenes(root, [column])[column], factor)
        except parquet.ManifestError as error:
            notices.append(str(error))
            continue
        figures.append(_distribution(title, unit, values))
    return Section(
        anchor="quality",
        title="Cloud and black pixels",
        about="What is left after quality control. A scene with more than a quarter of black pixels in the "
        "LR image or in any HR tile is let go (paper, A.3), unless the build was configured otherwise.",
        figures=tuple(figures),
        notices=tuple(notices),
    )


def _values(column: "pa.ChunkedArray[Any]", factor: float) -> NDArray[np.float64]:
    """One number a scene: of a column of 100 tiles the worst."""
    if pa.types.is_fixed_size_list(column.type):
        flat = pc.list_flatten(column).to_numpy().reshape(-1, TILES)
        numbers = flat.max(axis=1) if len(flat) else flat[:, 0]
    else:
        numbers = column.to_numpy()
    found = numbers.astype(np.float64) * factor
    return found[np.isfinite(found)]


def _distribution(title: str, unit: str, values: NDArray[np.float64]) -> Figure:
    top = max(round_up(float(values.max())) if len(values) else 0.0, 1.0)
    edges = np.linspace(0, top, BINS + 1)
    counts = np.histogram(values, edges)[0].tolist()
    names = [f"{edge:.3g}" for edge in edges[:-1]]
    none = int((values == 0).sum())
    middle = f"{np.median(values):.2g}" if len(values) else NOTHING
    return Figure(
        title=title,
        drawing=histogram(title, names, (Series("scenes", counts, "a"),), unit, 4),
        note=f"{count(none)} of {count(len(values))} scenes have none; half have at most {middle} %.",
        table=DataTable(
            caption=f"{title}: {unit}",
            head=("from", "to", "scenes"),
            rows=[
                (f"{low:.3g}", f"{high:.3g}", number)
                for low, high, number in zip(edges[:-1], edges[1:], counts, strict=True)
            ],
        ),
    )
