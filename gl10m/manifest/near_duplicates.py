"""Which kept scenes show nearly the same thing as another one (paper A.3).

Anchors are thinned before any image is fetched, so that two footprints share at most a part of their ground.
What is left is told here, not dropped: two scenes of one village may be wanted, but not by everybody.
"""

import numpy as np
import pyarrow as pa

from gl10m.manifest.columns import values
from gl10m.manifest.leakage import overlapping
from gl10m.manifest.schema import NEIGHBOUR

_DIGITS = 6
"""Shares that differ in a later digit are equal: the first by id is named."""


def with_neighbours(scenes: pa.Table) -> pa.Table:
    """Scenes with the scene that each shares the most ground with.

    Args:
        scenes: `scene_id`, `bounds`, `naip_items` and `sentinel2_items`, as in SCENES.

    Returns:
        The same rows with the columns NEIGHBOUR of the schema at the end; the same whatever their order.
    """
    one, other, share = overlapping(scenes)
    row, neighbour = np.concatenate([one, other]), np.concatenate([other, one])
    share = np.round(np.concatenate([share, share]), _DIGITS)
    names = np.array(values(scenes, "scene_id"), np.str_)
    order = np.lexsort((names[neighbour], -share, row))
    found, first = np.unique(row[order], return_index=True)
    nearest = dict(zip(found.tolist(), order[first].tolist(), strict=True))
    shown = list(zip(values(scenes, "naip_items"), values(scenes, "sentinel2_items"), strict=True))
    told = [
        (str(names[neighbour[pair]]), float(share[pair]), shown[place] == shown[neighbour[pair]])
        if (pair := nearest.get(place)) is not None
        else (None, 0.0, False)
        for place in range(scenes.num_rows)
    ]
    for number, column in enumerate(NEIGHBOUR):
        scenes = scenes.append_column(column.field(), pa.array([row[number] for row in told], column.type))
    return scenes
