"""When the two sensors looked, and how far apart."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gl10m.report.page.charts import Series, histogram
from gl10m.report.page.facts import scenes
from gl10m.report.page.numbers import NOTHING, count, percent
from gl10m.report.page.section import DataTable, Figure, Section
from gl10m.scene.acquisition import DAYS_EACH_SIDE
from gl10m.storage.place import Place

BIN_DAYS = 30
"""Width of a bin of the gaps."""

FEWEST_BINS = 9
"""Bins drawn at least, so that a single gap has a place among others."""


def date_section(root: Place) -> Section:
    """Days between the sensors, and the months in which each looked.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: the manifest is damaged, or lacks a column.
    """
    table = scenes(root, ["naip_date", "sentinel2_date", "days_between", "fallback"])
    days = table["days_between"].to_numpy()
    fallback = table["fallback"].to_numpy().astype(np.bool_)
    fallbacks = int(fallback.sum())
    middle = f"{np.median(np.abs(days)):.0f} days" if len(days) else NOTHING
    return Section(
        anchor="dates",
        title="Dates",
        about=f"The Sentinel-2 image nearest to the NAIP image within {DAYS_EACH_SIDE} days is taken; where "
        "there is none, the nearest of the whole of 2023, and the scene is marked fallback (A.2). Here "
        f"{count(fallbacks)} of {count(len(days))} scenes ({percent(fallbacks, len(days))}) are fallbacks; "
        f"half of all gaps are at most {middle}.",
        figures=(_gaps(days, fallback), _months(table)),
    )


def _gaps(days: NDArray[np.int16], fallback: NDArray[np.bool_]) -> Figure:
    first = int(np.floor(days.min() / BIN_DAYS)) if len(days) else 0
    last = int(np.floor(days.max() / BIN_DAYS)) if len(days) else 0
    missing = max(0, FEWEST_BINS - (last - first + 1))
    first, last = first - missing // 2, last + missing - missing // 2
    edges = np.arange(first, last + 2) * BIN_DAYS
    names = [str(edge) for edge in edges[:-1]]
    within = np.histogram(days[~fallback], edges)[0].tolist()
    beyond = np.histogram(days[fallback], edges)[0].tolist()
    return Figure(
        title="Days from NAIP to Sentinel-2",
        drawing=histogram(
            "Scenes by days from the NAIP image to the Sentinel-2 image",
            names,
            (Series("within the window", within, "a"), Series("fallback", beyond, "b")),
            f"days, bins of {BIN_DAYS}; negative: Sentinel-2 looked first",
            -(-len(names) // 9),
        ),
        note="Plain: within the window. Striped: fallback.",
        table=DataTable(
            caption="Scenes by gap",
            head=("from day", "to day", "within the window", "fallback"),
            rows=list(zip(edges[:-1].tolist(), (edges[1:] - 1).tolist(), within, beyond, strict=True)),
        ),
    )


def _months(table: pa.Table) -> Figure:
    naip, sentinel2 = (_by_month(table[name]) for name in ("naip_date", "sentinel2_date"))
    months = _all_months([*naip, *sentinel2])
    by_sensor = [[found.get(month, 0) for month in months] for found in (sentinel2, naip)]
    return Figure(
        title="Months of the images",
        drawing=histogram(
            "Images by month and sensor",
            months,
            (Series("Sentinel-2", by_sensor[0], "a"), Series("NAIP", by_sensor[1], "b")),
            "month of the image",
            -(-len(months) // 6),
        )
        if months
        else None,
        note="Plain: Sentinel-2. Striped: NAIP, stacked on it.",
        table=DataTable(
            caption="Images by month",
            head=("month", "Sentinel-2", "NAIP"),
            rows=list(zip(months, *by_sensor, strict=True)),
        ),
    )


def _by_month(days: "pa.ChunkedArray[Any]") -> dict[str, int]:
    return Counter(str(month) for month in pc.strftime(days, "%Y-%m").to_pylist() if month is not None)


def _all_months(found: Sequence[str]) -> list[str]:
    """Every month from the first to the last, so that the gaps can be seen."""
    if not found:
        return []
    first, last = (date.fromisoformat(f"{month}-01") for month in (min(found), max(found)))
    numbers = range(12 * first.year + first.month - 1, 12 * last.year + last.month)
    return [f"{number // 12:04d}-{number % 12 + 1:02d}" for number in numbers]
