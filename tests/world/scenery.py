"""Small rendered worlds for tests: one quarter quad, coarse, with every trap of a large one."""

import hashlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gl10m.manifest.schema import LABELLED_POLYGONS
from gl10m.scene.class_map import ClassMap
from pipelines.world.grids import QUARTER_DEGREES, QuarterQuad
from pipelines.world.naip import Vintage
from pipelines.world.sentinel2 import Acquisition
from pipelines.world.world import WorldParameters

QUAD = QuarterQuad(501, -1555)
"""In Texas: west -97.1875, south 31.3125."""

CLEAR = Acquisition(date(2023, 8, 10))
AGAIN = Acquisition(date(2023, 8, 10), "05.10", date(2024, 10, 17))
CLOUDY = Acquisition(date(2023, 1, 12), cloud_share=0.4)
CUT = Acquisition(date(2023, 5, 22), swath_share=0.5)
OLD = Acquisition(date(2021, 8, 21), "03.01")

TINY = WorldParameters(
    vintages=(Vintage(date(2023, 9, 21), 4.0, hole_metres=700.0),),
    acquisitions=(CLEAR, AGAIN, CLOUDY, CUT, OLD),
    quads=(QUAD,),
)
"""NAIP at 4 m: four megapixels."""

Patch = tuple[str, tuple[float, float, float, float]]
"""Slugs joined by +, and west, south, east, north in degrees."""


def labelled(class_map: ClassMap, patches: Iterable[Patch]) -> pa.Table:
    """A table of schema LABELLED_POLYGONS; way ids count from 1."""
    numbers = {concept.slug: concept.id for concept in class_map.concepts}
    rows = []
    for place, (slugs, box) in enumerate(patches, start=1):
        ids = sorted(numbers[slug] for slug in slugs.split("+"))
        shape = shapely.box(*box)
        rows.append(
            {
                "state": "TX",
                "osm_id": f"way/{place}",
                "tags": [],
                "closed_way": True,
                "area_m2": shape.area * 1e10,
                "longitude": shape.centroid.x,
                "latitude": shape.centroid.y,
                "geometry": shape.wkb,
                "class_ids": ids,
                "anchor_class": class_map.rarest(ids),
            }
        )
    return pa.Table.from_pylist(rows, schema=LABELLED_POLYGONS.schema)


def chequered(class_map: ClassMap) -> pa.Table:
    """Every class of the map once, side by side over the whole quad."""
    west, south, _, _ = QUAD.bounds
    step = QUARTER_DEGREES / 9
    corners = [(west + column * step, south + row * step) for row in range(9) for column in range(9)]
    patches = [
        (concept.slug, (x, y, x + step, y + step))
        for concept, (x, y) in zip(class_map.concepts, corners, strict=False)
    ]
    return labelled(class_map, patches)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def bytes_of(packed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Packed pixels as (height, width, 4)."""
    return packed.view(np.uint8).reshape(*packed.shape, 4)
