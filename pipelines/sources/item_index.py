"""The items of a region from its catalogue: which ground is asked for, in which slices of time.

One search covers a sensor, a region and a year. Its ground is a union of cells of a fixed grid about the
candidates, so that deserts and neighbouring states are not asked for, and another build of the same region
asks for the same ground.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gl10m.manifest.parquet import geo_metadata
from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from pipelines.sources.collector import paused_collector
from pipelines.sources.imagery import Imagery, Sensor

CELL_DEGREES = 0.5
"""Side of a cell. Of the paper's states, cells of a degree ask for a fifth more items, a quarter of a degree
for a tenth fewer, with outlines of twice as many corners."""

SEARCHED_AT = "gl10m.searched_at"
"""Metadata key of a table of items that was searched for: when, UTC."""


def area_of(bounds: NDArray[np.float64]) -> shapely.Geometry:
    """The ground to search for some rectangles: all cells that they meet.

    Args:
        bounds: shape (n, 4): west, south, east, north, degrees.

    Returns:
        Polygon or multipolygon, the same whatever the order of the rectangles.
    """
    low, high = np.floor(bounds[:, :2] / CELL_DEGREES), np.floor(bounds[:, 2:] / CELL_DEGREES)
    spans = np.unique(np.hstack([low, high]).astype(np.int64), axis=0).tolist()
    cells = {
        (column, row)
        for west, south, east, north in spans
        for column in range(west, east + 1)
        for row in range(south, north + 1)
    }
    corners = np.array(sorted(cells), float) * CELL_DEGREES
    squares = shapely.box(*corners.T, *(corners + CELL_DEGREES).T)
    return shapely.normalize(shapely.union_all(squares))


def years(window: Window) -> Iterator[Window]:
    """The parts of a window that lie in one calendar year, in order."""
    for year in range(window.first.year, window.last.year + 1):
        part = window.clipped(Window(date(year, 1, 1), date(year, 12, 31)))
        if part is not None:
            yield part


@paused_collector()
def find_items(asked: Mapping[Sensor, tuple[Imagery, str, Window]], area: shapely.Geometry) -> pa.Table:
    """The items of both sensors over an area, year by year.

    Args:
        asked: of each sensor its source, the name of its catalogue and the days wanted.
        area: see `area_of`.

    Returns:
        Schema ITEMS. The schema's metadata make a Parquet file of it GeoParquet, and name each search.

    Raises:
        SourceUnavailableError: a catalogue does not answer.
        MalformedItemError: a catalogue has items, and none of them can be used.
    """
    tables, searches = [ITEMS.empty()], []
    for sensor, (imagery, name, window) in asked.items():
        for year in years(window):
            found = imagery.search(sensor, area, year)
            about = found.schema.metadata or {}
            searches.append(
                {
                    "catalogue": name,
                    "sensor": sensor.value,
                    "first": str(year.first),
                    "last": str(year.last),
                    "items": found.num_rows,
                    "searched_at": about.get(SEARCHED_AT.encode(), now().encode()).decode(),
                }
            )
            tables.append(found)
    metadata = dict(ITEMS.schema.metadata or {}) | geo_metadata()
    metadata |= {b"gl10m.searches": json.dumps(searches).encode()}
    return pa.concat_tables(tables).combine_chunks().replace_schema_metadata(metadata)


def now() -> str:
    """This second, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
