"""Stage "polygons": the areas of an OSM file that carry a tag of the class map (paper A.3)."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import POLYGONS
from gl10m.scene.class_map import ClassMap
from gl10m.scene.footprint import FOOTPRINT_DEGREES, LARGEST_LATITUDE
from gl10m.scene.rejection import Reason
from pipelines.sources.osm_areas import FoundAreas, Interest, found_areas
from pipelines.sources.osm_file import check_name, readable, sorted_osm_file
from pipelines.sources.pbf_areas import quick_areas
from pipelines.sources.pbf_blobs import UnusualFileError
from pipelines.sources.ring_repair import MOST_CROSSINGS, repaired

ANCHOR_DECIMALS = 7
"""Anchors keep the seven decimals of OSM's own coordinates (about 1 cm): what follows is noise."""

_GEOD = Geod(ellps="WGS84")

Geometries = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class _Found:
    """Objects in the order of the table: their names, tags and geometries side by side."""

    names: NDArray[np.object_]
    tags: Any
    geometry: Geometries
    valid: NDArray[np.bool_]
    """Which geometries are known to be valid."""

    def chosen(self, mask: NDArray[np.bool_]) -> "_Found":
        if mask.all():
            return self
        tags = self.tags.filter(pa.array(mask))
        return _Found(self.names[mask], tags, self.geometry[mask], self.valid[mask])


class _Account:
    """What is let go of, gathered part by part and told reason by reason, whatever the parts."""

    def __init__(self, state: str) -> None:
        self._lines: list[int] = []
        self._degenerate: list[int] = []
        self._broken: dict[int, str] = {}
        self._state = state
        self.invalid = Ledger("polygons", state)
        self.off_the_map = Ledger("polygons", state)

    def note(self, areas: FoundAreas) -> None:
        """Take down what of a part has no geometry."""
        self._lines += areas.lines
        self._degenerate += areas.degenerate
        self._broken |= dict.fromkeys(areas.incomplete, "a member way or a node is not in the file")
        self._broken |= dict.fromkeys(
            areas.unfit, "its rings are open, cross each other or do not fit together"
        )

    @property
    def table(self) -> pa.Table:
        """All notes, schema REJECTIONS."""
        by_kind = Ledger("polygons", self._state)
        for number in self._lines:
            by_kind.reject(f"way/{number}", Reason.NOT_AN_AREA, "area=no, or a line by the closed-way rule")
        for number in self._degenerate:
            detail = "a ring of fewer than 4 nodes, or of more than 2,000"
            by_kind.reject(f"way/{number}", Reason.INVALID_GEOMETRY, detail)
        for number, detail in sorted(self._broken.items()):
            by_kind.reject(f"relation/{number}", Reason.BROKEN_RELATION, detail)
        return pa.concat_tables([by_kind.table, self.invalid.table, self.off_the_map.table]).combine_chunks()


def read_polygons(path: Path | str, state: str, class_map: ClassMap) -> Outcome:
    """Read the areas of an OSM file that carry a tag of the class map.

    Closed ways and multipolygon or boundary relations count, nodes and open lines do not. A ring that crosses
    itself is repaired once, by the even-odd rule.

    Args:
        path: .osm.pbf, .osm, .osm.gz or .osm.bz2, sorted or not.
        state: region code of the file.
        class_map: which tags are of interest and which closed ways are lines.

    Returns:
        Kept rows in schema POLYGONS, ways before relations, each by id, whatever the order of the file.
        Rejected: NOT_AN_AREA, BROKEN_RELATION (a member or a node is missing, or the rings do not fit),
        INVALID_GEOMETRY, OFF_THE_MAP. Read are all closed ways and area relations that carry a tag of the
        class map.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the file cannot be read as OSM to its end.
    """
    account, tables = _Account(state), [POLYGONS.empty()]
    for areas in read_areas(path, interest_of(class_map)):
        account.note(areas)
        with readable(Path(path)):
            found = _repaired(_found(areas), account.invalid)
        found = _on_the_map(found, account.off_the_map)
        tables.append(_table(found, state))
    kept, dropped = pa.concat_tables(tables).combine_chunks(), account.table
    return Outcome(stage="polygons", read=kept.num_rows + dropped.num_rows, kept=kept, dropped=dropped)


def read_areas(path: Path | str, interest: Interest) -> Iterator[FoundAreas]:
    """Find the areas of interest: part by part in a sorted .osm.pbf file, by libosmium alone in any other.

    Yields:
        Parts: ways by id, then relations by id.

    Raises:
        FileNotFoundError: there is no such file.
        OsmFileError: the file cannot be read as OSM to its end.
    """
    path = Path(path)
    check_name(path)
    with readable(path):
        yield from _parts(path, interest)


def _parts(path: Path, interest: Interest) -> Iterator[FoundAreas]:
    if path.name.endswith(".pbf"):
        with suppress(UnusualFileError):
            return quick_areas(path, interest)
    with sorted_osm_file(path) as file:
        return iter([found_areas(file, interest)])


def interest_of(class_map: ClassMap) -> Interest:
    """What of an OSM file a class map can make use of."""
    return Interest(class_map.keys, class_map.carries, class_map.is_line, class_map.deciding_keys)


def _found(areas: FoundAreas) -> _Found:
    names = [f"way/{number}" for number in areas.ways.tolist()]
    names += [f"relation/{number}" for number in areas.relations.tolist()]
    return _Found(np.array(names, dtype=object), areas.tags, areas.geometry, areas.valid)


def _repaired(found: _Found, ledger: Ledger) -> _Found:
    """Valid polygons and multipolygons; what stays invalid or empty after one repair is rejected."""
    geometry, good = found.geometry.copy(), found.valid.copy()
    good[~good] = shapely.is_valid(geometry[~good])
    broken = np.flatnonzero(~good & ~shapely.is_missing(geometry))
    if broken.size:
        geometry[broken] = repaired(geometry[broken])
    tangled = broken[shapely.is_missing(geometry[broken])]
    details = dict.fromkeys(tangled.tolist(), f"more than {MOST_CROSSINGS} pairs of its edges cross or touch")
    good[broken] = shapely.is_valid(geometry[broken])
    multiple = np.flatnonzero(shapely.get_type_id(geometry) == shapely.GeometryType.MULTIPOLYGON)
    single = multiple[shapely.get_num_geometries(geometry[multiple]) == 1]
    geometry[single] = shapely.get_geometry(geometry[single], 0)
    good &= ~shapely.is_empty(geometry) & ~shapely.is_missing(geometry)
    for place in np.flatnonzero(~good):
        missing = geometry[place] is None
        detail = "a node is not in the file" if missing else "no area is left after a repair"
        ledger.reject(found.names[place], Reason.INVALID_GEOMETRY, details.get(int(place), detail))
    return _Found(found.names, found.tags, geometry, good).chosen(good)


def _on_the_map(found: _Found, ledger: Ledger) -> _Found:
    """Objects about which a footprint can stand."""
    bounds = shapely.bounds(found.geometry).reshape(-1, 4)
    reach = 180 - FOOTPRINT_DEGREES / 2
    inside = (
        (np.abs(bounds[:, 0::2]) <= reach).all(axis=1)
        & (np.abs(bounds[:, 1::2]) <= LARGEST_LATITUDE).all(axis=1)
        & (bounds[:, 2] - bounds[:, 0] < 180)  # noqa: PLR2004 - half the earth: drawn the wrong way round
    )
    for place in np.flatnonzero(~inside):
        detail = "bounds {:.4f} {:.4f} {:.4f} {:.4f}".format(*bounds[place])
        ledger.reject(found.names[place], Reason.OFF_THE_MAP, detail)
    return found.chosen(inside)


def _table(found: _Found, state: str) -> pa.Table:
    longitude, latitude = anchors(found.geometry)
    columns = {
        "state": [state] * len(found.names),
        "osm_id": found.names,
        "tags": found.tags,
        "closed_way": [name.startswith("way/") for name in found.names],
        "area_m2": areas_m2(found.geometry),
        "longitude": longitude,
        "latitude": latitude,
        "geometry": shapely.to_wkb(found.geometry, byte_order=1).tolist(),
    }
    return pa.table(columns, schema=POLYGONS.schema)


def anchors(geometry: Geometries) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A point inside each polygon: the centroid where it lies inside, else a representative point.

    Args:
        geometry: shape (n,), valid polygons and multipolygons in EPSG:4326.

    Returns:
        Longitudes and latitudes, each of shape (n,), degrees, of seven decimals. For an object too thin for
        those the point may lie up to half a centimetre outside.
    """
    points = shapely.centroid(geometry)
    outside = np.flatnonzero(~shapely.contains_properly(geometry, points))
    points[outside] = shapely.point_on_surface(geometry[outside])
    longitude = np.round(shapely.get_x(points), ANCHOR_DECIMALS)
    latitude = np.round(shapely.get_y(points), ANCHOR_DECIMALS)
    return longitude, latitude


def areas_m2(geometry: Geometries) -> NDArray[np.float64]:
    """Geodesic area on WGS 84 of each polygon without its holes.

    Args:
        geometry: shape (n,), polygons and multipolygons in EPSG:4326.

    Returns:
        Shape (n,), square metres.
    """
    parts, owner = shapely.get_parts(geometry, return_index=True)
    rings, ring_part = shapely.get_rings(parts, return_index=True)
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    starts = np.searchsorted(ring, np.arange(len(rings) + 1))
    sizes = np.array(
        [
            abs(_GEOD.polygon_area_perimeter(*coordinates[first:last].T)[0])
            for first, last in itertools.pairwise(starts)
        ],
        dtype=np.float64,
    )
    outer = np.diff(ring_part, prepend=-1) != 0  # the first ring of a polygon is its shell
    totals = np.bincount(owner[ring_part], np.where(outer, sizes, -sizes), minlength=len(geometry))
    return np.asarray(totals, dtype=np.float64)
