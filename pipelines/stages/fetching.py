"""The loop that the stages `lr` and `hr` share: every row accounted for, the next one read meanwhile."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import Table
from gl10m.scene.footprint import Footprint
from gl10m.scene.rejection import Reason
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.imagery import DamagedRasterError, Sensor, SourceUnavailableError

Added = Mapping[str, Any]
"""Columns that a stage adds to one row."""


Image = TypeVar("Image")
"""What is read of one row, before it is checked."""


class Unfit(Exception):  # noqa: N818 - an outcome of quality control, not an error
    """A scene whose imagery fails quality control."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class ItemLookup:
    """Finds items of one sensor by id."""

    def __init__(self, items: pa.Table, sensor: Sensor) -> None:
        self._items = items
        names = zip(items["sensor"].to_pylist(), items["item_id"].to_pylist(), strict=True)
        self._rows = {name: row for row, (shown, name) in enumerate(names) if shown == sensor.value}

    def rows(self, names: list[str]) -> pa.Table:
        """Rows of schema ITEMS, in the order of the names.

        Raises:
            KeyError: an item is not in the table.
        """
        missing = [name for name in names if name not in self._rows]
        if missing:
            raise KeyError(f"matched items are in the table of items; not there: {', '.join(missing)}")
        return self._items.take(pa.array([self._rows[name] for name in names], pa.int64()))


def fetch_rows(
    stage: str,
    state: str,
    rows: pa.Table,
    schema: Table,
    *,
    read: Callable[[Mapping[str, Any], Footprint], Image],
    finish: Callable[[Image], Added],
) -> Outcome:
    """Fetch the imagery of each row; while one is checked and encoded, the next is read.

    Args:
        stage: name of the stage.
        state: region code, for the account.
        rows: scenes.
        schema: of the rows kept: that of `rows` with columns at its end.
        read: gives the image of a row; called in a thread of its own, one row after the other.
        finish: gives the columns to add; raises `Unfit` to reject the scene.

    Returns:
        Rows kept in their order; rejected as `finish` says; failed where a raster cannot be reached or is
        damaged.
    """
    added = pa.schema(list(schema.schema)[rows.num_columns :])
    ledger = Ledger(stage, state)
    tables = [schema.empty()]
    names = ["scene_id", "longitude", "latitude", "naip_items", "sentinel2_items"]
    asked = rows.select(names).to_pylist()
    for number, (row, image) in enumerate(zip(asked, _one_ahead(read, asked), strict=True)):
        try:
            columns = finish(image.result())
        except Unfit as unfit:
            ledger.reject(row["scene_id"], unfit.reason, unfit.detail)
        except (SourceUnavailableError, DamagedRasterError, RefusedAddressError) as error:
            ledger.fail(row["scene_id"], type(error).__name__, str(error))
        else:
            # A chunk a scene: one column of HR bytes would pass the 2 GB that an Arrow array may hold.
            more = pa.Table.from_pylist([columns], schema=added)
            whole = [*rows.slice(number, 1).columns, *more.columns]
            tables.append(pa.Table.from_arrays(whole, schema=schema.schema))
    return Outcome(stage=stage, read=rows.num_rows, kept=pa.concat_tables(tables), dropped=ledger.table)


def _one_ahead(
    read: Callable[[Mapping[str, Any], Footprint], Image], rows: list[dict[str, Any]]
) -> Iterator[Future[Image]]:
    """The image of each row, or its error; the next one is begun as soon as one is taken."""
    begun: deque[Future[Image]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        for row in rows:
            begun.append(thread.submit(read, row, Footprint(row["longitude"], row["latitude"])))
            if len(begun) > 1:
                yield begun.popleft()
        yield from begun
