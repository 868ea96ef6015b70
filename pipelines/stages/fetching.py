"""The loop that both retrieval stages share: one scene at a time, every row accounted for."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import Table
from gl10m.scene.footprint import Footprint
from gl10m.scene.rejection import Reason
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.imagery import DamagedRasterError, Sensor, SourceUnavailableError

Added = Mapping[str, Any]
"""Columns that a stage adds to one row."""


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
    fetch: Callable[[Mapping[str, Any], Footprint], Added],
) -> Outcome:
    """Fetch the imagery of each row.

    Args:
        stage: name of the stage.
        state: region code, for the account.
        rows: scenes.
        schema: of the rows kept: that of `rows` with columns at its end.
        fetch: gives the columns to add; raises `Unfit` to reject the scene.

    Returns:
        Rows kept in their order; rejected as `fetch` says; failed where a raster cannot be reached or is
        damaged.
    """
    added = pa.schema(list(schema.schema)[rows.num_columns :])
    ledger = Ledger(stage, state)
    tables = [schema.empty()]
    names = ["scene_id", "longitude", "latitude", "naip_items", "sentinel2_items"]
    for number, row in enumerate(rows.select(names).to_pylist()):
        try:
            columns = fetch(row, Footprint(row["longitude"], row["latitude"]))
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
