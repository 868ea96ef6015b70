"""Candidates that the catalogues of both sensors can show (paper A.2: precomputed coverage footprints)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from gl10m.manifest.columns import values
from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import CANDIDATES, COVERAGE
from gl10m.scene.acquisition import NAIP_WINDOW, SENTINEL2_WINDOW, Window
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import tile_bounds
from gl10m.scene.rejection import Reason
from pipelines.sources.imagery import Sensor
from pipelines.stages.matching import MOST_CLOUD_PERCENT, MOST_PERCENT, showing

_GEOD = Geod(ellps="WGS84")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageParameters:
    """Which items count as coverage; the defaults are the paper's."""

    naip_window: Window = NAIP_WINDOW
    """Days of the NAIP items, UTC, both ends included."""

    sentinel2_window: Window = SENTINEL2_WINDOW
    """Days of the Sentinel-2 items, UTC, both ends included."""

    most_cloud_percent: float = MOST_CLOUD_PERCENT
    """Sentinel-2 items with this much reported cloud or more do not count."""

    def __post_init__(self) -> None:
        """Refuse what covers nothing.

        Raises:
            ValueError: the cloud limit is not a percentage above 0.
        """
        if not 0 < self.most_cloud_percent <= MOST_PERCENT:
            raise ValueError(f"most_cloud_percent is above 0 and at most 100; got {self.most_cloud_percent}")


def within_coverage(
    candidates: pa.Table, items: pa.Table, state: str, parameters: CoverageParameters
) -> Outcome:
    """Keep candidates whose whole footprint has Sentinel-2 and whose 100 tiles all meet NAIP.

    Coverage of a sensor is the union of its items' outlines inside the window, Sentinel-2 only under the
    cloud limit. Whether one date shows the whole footprint is for matching to say.

    Args:
        candidates: schema CANDIDATES.
        items: schema ITEMS, both sensors.
        state: region code, for the account.
        parameters: windows and cloud limit.

    Returns:
        Stage "coverage"; kept rows of schema CANDIDATES, rejected with OUTSIDE_SENTINEL2_COVERAGE or
        OUTSIDE_NAIP_COVERAGE.
    """
    sentinel2 = _union(
        showing(items, Sensor.SENTINEL2, parameters.sentinel2_window, parameters.most_cloud_percent)
    )
    naip = _union(showing(items, Sensor.NAIP, parameters.naip_window))
    footprints = shapely.from_wkb(candidates["geometry"].to_numpy())
    seen_low = shapely.covers(sentinel2, footprints)
    seen_high = shapely.covers(naip, footprints)
    ledger = Ledger("coverage", state)
    kept = np.zeros(candidates.num_rows, np.bool_)
    places = candidates.select(["scene_id", "longitude", "latitude"]).to_pylist()
    for row, place in enumerate(places):
        outside = (
            0 if seen_high[row] else _tiles_outside(Footprint(place["longitude"], place["latitude"]), naip)
        )
        if not seen_low[row]:
            detail = "no union of Sentinel-2 items under the cloud limit holds the whole footprint"
            ledger.reject(place["scene_id"], Reason.OUTSIDE_SENTINEL2_COVERAGE, detail)
        elif outside:
            detail = f"{outside} of 100 tiles meet no NAIP item"
            ledger.reject(place["scene_id"], Reason.OUTSIDE_NAIP_COVERAGE, detail)
        else:
            kept[row] = True
    table = candidates.filter(pa.array(kept)).cast(CANDIDATES.schema)
    return Outcome(stage="coverage", read=candidates.num_rows, kept=table, dropped=ledger.table)


def coverage_footprints(
    items: pa.Table, state: str, sources: Mapping[Sensor, str], parameters: CoverageParameters
) -> pa.Table:
    """The ground that each sensor shows: what `within_coverage` asks, as a table.

    Args:
        items: schema ITEMS, both sensors.
        state: region code.
        sources: name of each sensor's catalogue.
        parameters: windows and cloud limit.

    Returns:
        Schema COVERAGE, one row a sensor.
    """
    limit = parameters.most_cloud_percent
    counted = {
        Sensor.NAIP: showing(items, Sensor.NAIP, parameters.naip_window),
        Sensor.SENTINEL2: showing(items, Sensor.SENTINEL2, parameters.sentinel2_window, limit),
    }
    rows = []
    for sensor, found in counted.items():
        ground = _union(found)
        days = [instant.date() for instant in values(found, "acquired")]
        rows.append(
            {
                "state": state,
                "sensor": sensor.value,
                "source": sources[sensor],
                "items": found.num_rows,
                "first_day": min(days, default=None),
                "last_day": max(days, default=None),
                "most_cloud_percent": limit if sensor is Sensor.SENTINEL2 else None,
                "area_km2": abs(_GEOD.geometry_area_perimeter(ground)[0]) / 1e6,
                "geometry": shapely.to_wkb(shapely.normalize(ground)),
            }
        )
    return pa.Table.from_pylist(rows, schema=COVERAGE.schema)


def _tiles_outside(footprint: Footprint, coverage: shapely.Geometry) -> int:
    """How many of the 100 tiles share no ground with the coverage; to touch it is not enough."""
    tiles: NDArray[np.object_] = np.asarray(shapely.box(*tile_bounds(footprint).T))
    meet: NDArray[np.bool_] = np.asarray(shapely.intersects(coverage, tiles))
    meet[meet] = ~shapely.touches(coverage, tiles[meet])
    return int((~meet).sum())


def _union(items: pa.Table) -> shapely.Geometry:
    """Ground that at least one item shows, prepared for many questions."""
    outlines: NDArray[np.object_] = shapely.from_wkb(
        pc.unique(items["geometry"]).to_numpy(zero_copy_only=False)
    )
    union = shapely.union_all(outlines)
    shapely.prepare(union)
    return union
