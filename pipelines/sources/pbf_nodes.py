"""Nodes of an .osm.pbf file: only those that are needed, and written again for libosmium."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.pbf_blobs import Block, UnusualFileError
from pipelines.sources.pbf_fields import (
    Bytes,
    Ints,
    MalformedError,
    decoded,
    delimited,
    encoded,
    fields,
    unzigzag,
    zigzag,
)

NANODEGREES = 100
"""OSM keeps seven decimals of a degree: units of 100e-9 degrees."""

NOWHERE = 2**31 - 1
"""Coordinate of a node that is not in the file, as in libosmium."""

_DENSE, _ID, _LATITUDE, _LONGITUDE = 2, 1, 8, 9
_NOTHING = np.empty(0, np.uint8)

NODES_A_BLOCK = 8000
"""As libosmium writes them."""


class Locations:
    """Where the nodes of some ids are."""

    def __init__(self, ids: Ints) -> None:
        """Ask for nodes.

        Args:
            ids: ascending, each once.
        """
        self.ids = ids
        self.longitude = np.full(len(ids), NOWHERE, np.int32)
        """Shape (n,), 1e-7 degrees, NOWHERE where no node was found."""
        self.latitude = np.full(len(ids), NOWHERE, np.int32)
        self._last = 0

    def read(self, block: Block) -> None:
        """Find nodes in the next block of the file.

        Raises:
            MalformedError: the block is damaged.
            UnusualFileError: nodes are not dense or not in order, or none.
        """
        for group in block.groups:
            for number, first, end in fields(block.content, *group):
                if number != _DENSE or end < 0:
                    raise UnusualFileError("nodes that are not dense")
                self._read(_columns(block.content, first, end), block.granularity)

    def _read(self, columns: dict[int, Bytes], granularity: int) -> None:
        ids = np.cumsum(unzigzag(decoded(columns[_ID])))
        if ids[0] <= self._last or (ids[1:] <= ids[:-1]).any():
            raise UnusualFileError("nodes out of order")
        self._last = int(ids[-1])
        low, high = np.searchsorted(self.ids, [ids[0], self._last + 1])
        if low == high:
            return
        place = np.searchsorted(ids, self.ids[low:high])
        here = np.flatnonzero(ids[place] == self.ids[low:high])
        if not here.size:
            return
        for key, side in ((_LONGITUDE, self.longitude), (_LATITUDE, self.latitude)):
            values = np.cumsum(unzigzag(decoded(columns[key])))
            if len(values) != len(ids):
                raise MalformedError("a node without a coordinate")
            side[low + here] = _scaled(values[place[here]], granularity)


def _columns(content: bytes, first: int, last: int) -> dict[int, Bytes]:
    columns: dict[int, Bytes] = {}
    for key, start, end in fields(content, first, last):
        if key in columns or end < 0:
            raise UnusualFileError("a packed field in pieces")
        columns[key] = np.frombuffer(content, np.uint8, end - start, start)
    if not all(columns.get(key, _NOTHING).size for key in (_ID, _LATITUDE, _LONGITUDE)):
        raise UnusualFileError("a group without nodes")
    return columns


def _scaled(values: Ints, granularity: int) -> Ints:
    """Coordinates in 1e-7 degrees, towards zero where they are finer, as libosmium takes them."""
    if max(abs(int(values.min())), abs(int(values.max()))) * granularity > NOWHERE * NANODEGREES:
        raise UnusualFileError("a node beyond the range of coordinates")
    return np.asarray(np.sign(values) * (np.abs(values) * granularity // NANODEGREES))


def dense_blocks(ids: Ints, longitude: NDArray[np.int32], latitude: NDArray[np.int32]) -> list[bytes]:
    """Blocks of dense nodes.

    Args:
        ids: ascending.
        longitude: 1e-7 degrees.
        latitude: 1e-7 degrees.
    """
    blocks = []
    for first in range(0, len(ids), NODES_A_BLOCK):
        part = slice(first, first + NODES_A_BLOCK)
        columns = ((_ID, ids), (_LATITUDE, latitude), (_LONGITUDE, longitude))
        dense = b"".join(delimited(key, encoded(zigzag(_deltas(column[part])))) for key, column in columns)
        blocks.append(delimited(1, delimited(1, b"")) + delimited(2, delimited(_DENSE, dense)))
    return blocks


def _deltas(values: NDArray[np.integer[Any]]) -> Ints:
    wide = values.astype(np.int64)
    return np.concatenate([wide[:1], wide[1:] - wide[:-1]])
