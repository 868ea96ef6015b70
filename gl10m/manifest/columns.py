"""Columns of small tables as Python values, and rows chosen by them."""

from collections.abc import Collection
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc


def values(table: pa.Table, name: str) -> list[Any]:
    """All values of one column. For tables whose rows are worked on one by one anyway."""
    return cast("list[Any]", table[name].to_pylist())


def texts(table: pa.Table, name: str) -> list[str]:
    """All values of one column of texts in which none is missing."""
    return [str(value) for value in table[name].to_pylist()]


def paired(table: pa.Table, key: str, value: str) -> dict[str, str]:
    """Two columns of texts as a mapping; of a key that stands twice the last row counts."""
    return dict(zip(texts(table, key), texts(table, value), strict=True))


def where(table: pa.Table, name: str, wanted: Collection[str]) -> pa.Table:
    """Rows whose text in one column is among the wanted ones."""
    return table.filter(pc.is_in(table[name], pa.array(sorted(wanted), pa.string())))


def where_not(table: pa.Table, name: str, unwanted: Collection[str]) -> pa.Table:
    """Rows whose text in one column is not among the unwanted ones."""
    return table.filter(pc.invert(pc.is_in(table[name], pa.array(sorted(unwanted), pa.string()))))
