"""The outlines of classes in a scene.

The manifests hold which class meets which tile, not the polygons: those stand in the journal of the build,
`.gl10m/stages/<region>/classes-<key>.kept.parquet`, schema LABELLED_POLYGONS. Where the journal is gone,
or of another build than the published one, or its table too large to hold, the viewer shows tiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from gl10m.manifest import seal
from gl10m.manifest.provenance import is_made_from
from gl10m.report.page.facts import about
from gl10m.scene.states import REGION_CODE
from gl10m.storage.contents import readable
from gl10m.storage.place import Place, below

MAX_BYTES: Final = 256 << 20
"""A region's polygons in a larger file are not read: the viewer would hold them all."""

MAX_SHOWN: Final = 1500
"""Polygons of one scene; the largest are shown."""

UNITS: Final = 1000
"""A scene is so many units wide and high in the page."""

_COLUMNS = ["geometry", "class_ids"]


@dataclass(frozen=True, slots=True)
class ClassOutline:
    """One polygon, clipped to the scene."""

    class_id: int
    path: str
    """SVG path, in UNITS from the north-west corner."""
    x: float
    y: float
    """A point inside, where its number is written."""


class RegionPolygons:
    """The labelled polygons of one region, in memory."""

    def __init__(self, table: pa.Table) -> None:
        shapes = shapely.from_wkb(table["geometry"].to_numpy(), on_invalid="ignore")
        self._shapes = shapes
        self._class_ids = table["class_ids"].to_pylist()
        self._tree = shapely.STRtree(shapes)

    def within(self, bounds: tuple[float, float, float, float]) -> list[ClassOutline]:
        """Outlines of the classes in a scene, largest first.

        Args:
            bounds: west, south, east, north, degrees.
        """
        west, south, east, north = bounds
        found = np.sort(self._tree.query(shapely.box(west, south, east, north)))
        clipped = shapely.clip_by_rect(self._shapes[found], west, south, east, north)
        scale = np.array([UNITS / (east - west), -UNITS / (north - south)])
        drawn = shapely.transform(clipped, lambda points: (points - [west, north]) * scale)
        drawn = shapely.simplify(drawn, 0.3)  # a third of a thousandth: one HR pixel
        ranked = np.argsort(-shapely.area(drawn), kind="stable")[:MAX_SHOWN]
        return [
            outline
            for place in ranked.tolist()
            for class_id in self._class_ids[found[place]]
            if (outline := _outline(class_id, drawn[place])) is not None
        ]


def _outline(class_id: int, shape: shapely.Geometry) -> ClassOutline | None:
    polygons = [
        part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and not part.is_empty
    ]
    if not polygons:
        return None
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors)]
    path = "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shapely.get_coordinates(ring)[:-1].tolist()) + "Z"
        for ring in rings
    )
    inside = max(polygons, key=lambda polygon: polygon.area).representative_point()
    return ClassOutline(class_id, path, round(inside.x, 1), round(inside.y, 1))


class Polygons:
    """The labelled polygons of a data set, read region by region when first asked for."""

    def __init__(self, root: Place) -> None:
        self._root = root
        self._regions: dict[str, RegionPolygons | str] = {}

    def within(self, region: str, bounds: tuple[float, float, float, float]) -> list[ClassOutline] | str:
        """Outlines of the classes in a scene, or why there are none to show."""
        if region not in self._regions:
            self._regions[region] = self._read(region)
        found = self._regions[region]
        return found if isinstance(found, str) else found.within(bounds)

    def _read(self, region: str) -> RegionPolygons | str:
        if not REGION_CODE.fullmatch(region):
            return f"{region} is no region, so that no polygon is looked for."
        files = below(self._root / ".gl10m" / "stages" / region, "classes-*.kept.parquet")
        if not files:
            return "The journal of the build is not here, and with it the polygons: tiles are shown instead."
        try:
            inputs = about(self._root).get("gl10m.inputs", {})
            return _of_published(region, files, inputs)
        except (pa.ArrowException, OSError, ValueError, KeyError):
            return "The polygons in the journal cannot be read: tiles are shown instead."


def _of_published(region: str, files: list[Place], inputs: Mapping[str, Any]) -> RegionPolygons | str:
    """The polygons that the published scenes were labelled with, or why they are not shown.

    Args:
        region: region code.
        files: tables of labelled polygons; two where a build was killed between them.
        inputs: of the published build.

    Raises:
        ValueError, OSError, pa.ArrowException, KeyError: they cannot be read.
    """
    for path in files:
        if isinstance(path, Path):
            seal.check_seal(path)  # pages have checksums of their own, footers have not
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            if not is_made_from(file.schema_arrow.metadata, inputs):
                continue
            if path.stat().st_size > MAX_BYTES:
                return (
                    f"The polygons of {region} are more than {MAX_BYTES >> 20} MB: tiles are shown instead."
                )
            return RegionPolygons(file.read(columns=_COLUMNS))
    return (
        f"The polygons of {region} in the journal are not those that the scenes were labelled with, as after "
        "a build or a dry run with another class map or OSM file, or by an earlier gl10m: tiles are shown "
        "instead. `gl10m build` with the options of the published build brings them back."
    )
