"""One place on the map: the scenes that show it, and what was let go of there."""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from gl10m.manifest.columns import values
from gl10m.manifest.rectangles import bounds_of, gaps
from gl10m.manifest.schema import CANDIDATES, COVERAGE, POLYGONS, SCENES
from gl10m.report.terminal import columns, plain
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import GRID, tile_at
from gl10m.scene.states import osm_id_of, scene_id
from gl10m.storage.place import Place
from pipelines.sources.imagery import Sensor
from pipelines.trace.records import Records

SPOT = re.compile(r"\s*([-+]?[0-9.]+)\s*,\s*([-+]?[0-9.]+)\s*")
"""LON,LAT in degrees."""

_SHOWN = 20
_FARTHEST_LONGITUDE, _FARTHEST_LATITUDE = 180, 90


class SpotError(ValueError):
    """No place on the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotTrace:
    """What is known of one place."""

    longitude: float
    latitude: float
    covered: tuple[str, ...]
    """Regions whose catalogue shows the place."""
    regions: tuple[str, ...]
    """Regions of the data set."""
    scenes: tuple[dict[str, Any], ...]
    """Kept scenes that show it, each with the tile."""
    others: tuple[dict[str, Any], ...]
    """Candidates about it and polygons under it that are not kept, each with its fate."""
    nearest: tuple[str, float] | None
    """The nearest kept scene, and metres to its footprint."""
    hint: str = ""

    @property
    def text(self) -> str:
        """The scenes, then the others, else why there is none."""
        lines = [f"{self.longitude:g},{self.latitude:g} in " + (", ".join(self.covered) or "no built state")]
        rows = [
            [one["scene"], "kept", f"tile {one['tile']} (row {one['row']}, column {one['column']})"]
            for one in self.scenes
        ]
        rows += [[one["scene"], one["outcome"], one["words"]] for one in self.others[:_SHOWN]]
        lines += columns([["scene", "outcome", ""], *rows], left=2) if rows else [self._nothing()]
        rest = len(self.others) - _SHOWN
        lines += [f"and {rest} more, see --json"] if rest > 0 else []
        if not self.scenes and self.nearest:
            lines.append(f"nearest scene: {self.nearest[0]}, {self.nearest[1] / 1000:,.2f} km away")
        lines += [self.hint] if self.hint else []
        return "\n".join(plain(line) for line in lines)

    def _nothing(self) -> str:
        if not self.covered:
            return f"outside of the built states: the data set has {', '.join(self.regions) or 'none'}"
        return "no OSM polygon of the classes anchors a scene that shows this place"

    @property
    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        names = ("longitude", "latitude", "covered", "regions", "scenes", "others", "nearest", "hint")
        return {name: getattr(self, name) for name in names}


def read_spot(asked: str) -> tuple[float, float]:
    """Longitude and latitude of a text.

    Raises:
        SpotError: it is none.
    """
    found = SPOT.fullmatch(asked)
    try:
        longitude, latitude = (float(number) for number in (found.groups() if found else ()))
    except ValueError:
        raise SpotError(f"a place is LON,LAT in degrees, as -68.77,44.80; got {asked[:80]!r}") from None
    if abs(longitude) > _FARTHEST_LONGITUDE or abs(latitude) > _FARTHEST_LATITUDE:
        swapped = abs(latitude) <= _FARTHEST_LONGITUDE and abs(longitude) <= _FARTHEST_LATITUDE
        hint = f" Is the order swapped? {latitude:g},{longitude:g} is a place." if swapped else ""
        raise SpotError(
            "longitude comes first and is within ±180, latitude within ±90; got "
            f"{longitude:g},{latitude:g}.{hint}"
        )
    return longitude, latitude


def trace_spot(root: Place, longitude: float, latitude: float) -> SpotTrace:
    """What is known of a place.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged, or lacks a column.
    """
    records = Records(root)
    records.check()
    point = shapely.Point(longitude, latitude)
    kept = records.filtered(
        "scenes", SCENES, lambda rows: rows, ["scene_id", "bounds", "longitude", "latitude"]
    )
    shows = _showing(kept, longitude, latitude)
    scenes = [_tile(row, longitude, latitude) for row in kept.filter(shows).to_pylist()]
    covered, swapped = _covered(records, point), _covered(records, shapely.Point(latitude, longitude))
    hint = f"is the order swapped? {latitude:g},{longitude:g} lies in {', '.join(swapped)}"
    return SpotTrace(
        longitude=longitude,
        latitude=latitude,
        covered=tuple(covered),
        regions=tuple(sorted({*_states(records), *records.regions})),
        scenes=tuple(scenes),
        others=tuple(_others(records, longitude, latitude, {str(name) for name in values(kept, "scene_id")})),
        nearest=_nearest(kept, longitude, latitude),
        hint=hint if swapped and not covered else "",
    )


def _showing(rows: pa.Table, longitude: float, latitude: float) -> "pa.Array[Any]":
    bounds = bounds_of(rows)
    inside = (bounds[:, 0] <= longitude) & (longitude <= bounds[:, 2])
    return pa.array(inside & (bounds[:, 1] <= latitude) & (latitude <= bounds[:, 3]), pa.bool_())


def _tile(row: dict[str, Any], longitude: float, latitude: float) -> dict[str, Any]:
    """The tile of a scene at a place; of a common edge the one to the east and south."""
    west, north = Footprint(row["longitude"], row["latitude"]).edges(GRID)
    column = int(np.clip(np.searchsorted(west, longitude, side="right") - 1, 0, GRID - 1))
    line = int(np.clip(np.searchsorted(-north, -latitude, side="right") - 1, 0, GRID - 1))
    return {"scene": row["scene_id"], "tile": tile_at(line, column), "row": line, "column": column}


def _others(records: Records, longitude: float, latitude: float, kept: set[str]) -> list[dict[str, Any]]:
    """Candidates about a place and polygons under it that are not kept, with their fate."""
    about = records.filtered(
        "candidates",
        CANDIDATES,
        lambda rows: rows.filter(_showing(rows, longitude, latitude)),
        ["scene_id", "bounds"],
    )
    names = {str(name): "footprint" for name in values(about, "scene_id")}
    for region in records.regions:
        for osm_id in _under(records, region, shapely.Point(longitude, latitude)):
            names.setdefault(scene_id(region, osm_id), "polygon")
    subjects = {name: osm_id_of(name) for name in names}
    drops = records.drops({*subjects, *subjects.values()}, {name[:2] for name in names})
    fate = {(row["state"], row["subject"]): row for row in drops}
    found = []
    for name in sorted(set(names) - kept):
        row = fate.get((name[:2], name)) or fate.get((name[:2], subjects[name]))
        told = f"{row['stage']}, {row['reason']}: {row['detail']}" if row else "the build goes on"
        shown = "its polygon holds the place" if names[name] == "polygon" else "its footprint holds the place"
        found.append(
            {"scene": name, "outcome": row["outcome"] if row else "pending", "words": f"{told}; {shown}"}
        )
    return found


def _under(records: Records, region: str, point: shapely.Point) -> list[str]:
    """OSM objects of the journal that hold a place."""
    rows = records.journal(region, "polygons.kept", POLYGONS, ["osm_id", "geometry"])
    outlines = shapely.from_wkb(rows["geometry"].to_numpy())
    if not len(outlines):
        return []
    holds = np.flatnonzero(shapely.intersects(outlines, point))
    return [str(name) for name in values(rows.take(pa.array(holds, pa.int64())), "osm_id")]


def _states(records: Records) -> set[str]:
    return {
        str(name)
        for name in values(records.filtered("coverage", COVERAGE, lambda rows: rows, ["state"]), "state")
    }


def _covered(records: Records, point: shapely.Point) -> list[str]:
    rows = records.filtered(
        "coverage", COVERAGE, lambda rows: rows, ["state", "sensor", "geometry"]
    ).to_pylist()
    return sorted(
        {
            row["state"]
            for row in rows
            if row["sensor"] == Sensor.NAIP and shapely.from_wkb(row["geometry"]).covers(point)
        }
    )


def _nearest(kept: pa.Table, longitude: float, latitude: float) -> tuple[str, float] | None:
    if not kept.num_rows or not math.isfinite(longitude + latitude):
        return None
    bounds = bounds_of(kept)
    here = np.broadcast_to(np.array([longitude, latitude] * 2), bounds.shape)
    metres = gaps(here, bounds)
    place = int(np.argmin(metres))
    return str(values(kept, "scene_id")[place]), float(metres[place])
