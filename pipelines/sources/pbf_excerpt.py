"""A small file for libosmium: some ways of a large one, their nodes, and some relations made of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.pbf_blobs import frame
from pipelines.sources.pbf_fields import Ints
from pipelines.sources.pbf_nodes import NOWHERE, Locations, dense_blocks
from pipelines.sources.pbf_ways import ascending, ways_block

WAYS_A_BLOCK = 2000
"""A way has at most 2,000 nodes, which keeps a blob below its limit of bytes."""

Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Ways of a file, by id, and where their nodes are."""

    ids: Ints
    sizes: Ints
    """How many nodes each has."""

    after: Ints
    """Where the nodes of each end among those of all ways; a zero stands before."""

    place: Places
    """Of each node of the ways, one way after the other: its place among the locations."""

    nodes: Locations

    def corners(self, ways: Ints) -> Places:
        """Places among the locations of the nodes of some ways.

        Args:
            ways: the places of the ways.
        """
        sizes = self.sizes[ways]
        after = np.cumsum(sizes)
        count = int(after[-1]) if after.size else 0
        return self.place[np.repeat(self.after[ways] - (after - sizes), sizes) + np.arange(count)]


def write_excerpt(
    out: BinaryIO, header: bytes, geometry: Geometry, ways: Ints, *, alone: Ints, relations: Iterable[bytes]
) -> None:
    """Write a sorted file of some ways, without their tags, and relations.

    Args:
        out: a file open for writing.
        header: a blob with its frame.
        geometry: of the file that they are from.
        ways: places of the ways, ascending.
        alone: ids of those to make areas of on their own, ascending.
        relations: blocks.
    """
    out.write(header)
    where, used = geometry.nodes, ascending(geometry.corners(ways).astype(np.int64))
    used = used[where.longitude[used] != NOWHERE]
    out.writelines(map(frame, dense_blocks(where.ids[used], where.longitude[used], where.latitude[used])))
    for first in range(0, len(ways), WAYS_A_BLOCK):
        part = ways[first : first + WAYS_A_BLOCK]
        refs = where.ids[geometry.corners(part)]
        out.write(frame(ways_block(geometry.ids[part], geometry.sizes[part], refs, alone)))
    out.writelines(map(frame, relations))
