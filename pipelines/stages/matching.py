"""One NAIP vintage and one Sentinel-2 day for each candidate (paper A.2).

The paper's rule, and what it leaves open, in the order in which it is applied.

NAIP. Items of the NAIP window are grouped by vintage and flight season: within one vintage, sorted by day, a
gap of more than `season_gap_days` begins a new season. The newest season whose quads cover all 100 tiles is
taken; the fewest quads that cover, at most four, and of several such choices the one that ranks first by
overlap with the footprint, then newer, then item id. The scene's NAIP day is that of the quad with the
largest overlap.

Sentinel-2. An item is valid if its reported cloud is under the limit and it covers the footprint. Of one MGRS
tile and day only the newest processing counts, of those under `searched_cloud_percent`: highest baseline,
then generation time, then id. Looked for within `days_each_side` of the NAIP day, clipped to the Sentinel-2
window; if nothing valid is there, in the whole window, marked as fallback. The items found there are ranked:
covers the footprint, fewer days from NAIP, native UTM zone of the footprint's centre, less cloud, higher
baseline, id. One item a day stays, since the tiles of one overpass show the same clouds and are not blended;
then the first four.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from gl10m.manifest.columns import values, where
from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import MATCHED
from gl10m.scene.acquisition import DAYS_EACH_SIDE, NAIP_WINDOW, SENTINEL2_WINDOW, Window
from gl10m.scene.rejection import Reason
from pipelines.sources.collector import paused_collector
from pipelines.sources.imagery import Sensor
from pipelines.sources.items import acquired_days, within
from pipelines.stages.naip_choice import NOBODY, Quads, choose_naip
from pipelines.stages.sentinel2_choice import Flown, Images, Seen, choose_sentinel2

MOST_CLOUD_PERCENT = 2.0
"""Reported cloud of a Sentinel-2 granule must lie below (A.2)."""

MOST_PERCENT = 100.0
"""The whole of a granule; a limit above it would let everything pass as well."""

SEARCHED_CLOUD_PERCENT = 20.0
"""Ten times the limit of A.2: a new processing changes what is reported, but hardly by so much."""

SEASON_GAP_DAYS = 90
"""Days without a flight that part two seasons of one vintage; the paper does not say."""

MOST_SENTINEL2 = 4
"""Items kept: the first, and three to fill what is masked in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchParameters:
    """Windows and limits of the match; the defaults are the paper's."""

    naip_window: Window = NAIP_WINDOW
    """Days of the NAIP items, UTC, both ends included."""

    sentinel2_window: Window = SENTINEL2_WINDOW
    """Days of the Sentinel-2 items: the clip, and the fallback range. UTC, both ends included."""

    days_each_side: int = DAYS_EACH_SIDE
    """Days between the sensors at most, before the fallback."""

    most_cloud_percent: float = MOST_CLOUD_PERCENT
    """Sentinel-2 items with this much reported cloud or more are not taken."""

    searched_cloud_percent: float = SEARCHED_CLOUD_PERCENT
    """Sentinel-2 items with this much reported cloud or more are not asked for: of two processings of one
    image only those under it are compared. 100 asks for all, three times as many."""

    season_gap_days: int = SEASON_GAP_DAYS
    """Days without a flight that part two seasons of one vintage."""

    most_sentinel2: int = MOST_SENTINEL2
    """Sentinel-2 items kept for a scene."""

    def __post_init__(self) -> None:
        """Refuse what matches nothing.

        Raises:
            ValueError: a parameter is out of its range.
        """
        if self.days_each_side < 0 or self.season_gap_days < 1 or self.most_sentinel2 < 1:
            raise ValueError(
                "days_each_side is at least 0, season_gap_days and most_sentinel2 at least 1; got "
                f"{self.days_each_side}, {self.season_gap_days} and {self.most_sentinel2}"
            )
        if not 0 < self.most_cloud_percent <= MOST_PERCENT:
            raise ValueError(f"most_cloud_percent is above 0 and at most 100; got {self.most_cloud_percent}")
        if not self.most_cloud_percent <= self.searched_cloud_percent <= MOST_PERCENT:
            raise ValueError(
                "searched_cloud_percent is at least most_cloud_percent and at most 100; got "
                f"{self.searched_cloud_percent} and {self.most_cloud_percent}"
            )


@paused_collector()
def match(candidates: pa.Table, items: pa.Table, state: str, parameters: MatchParameters) -> Outcome:
    """Pair each candidate with its newest NAIP season and the Sentinel-2 days nearest to it.

    Args:
        candidates: schema CANDIDATES.
        items: schema ITEMS, both sensors; the order of its rows does not matter.
        state: region code, for the account.
        parameters: windows and limits.

    Returns:
        Stage "matching"; kept rows of schema MATCHED, in the order of the candidates; rejected with NO_NAIP
        or NO_SENTINEL2.
    """
    naip = showing(items, Sensor.NAIP, parameters.naip_window)
    sentinel2 = _by_rank(newest_processing(items, parameters))
    footprints = shapely.from_wkb(candidates["geometry"].to_numpy())
    quads = choose_naip(footprints, _quads(naip), parameters.season_gap_days)
    flown = np.flatnonzero(quads[:, 0] != NOBODY)
    days = _days(naip)[quads[flown, 0]]
    places = Flown(
        footprints=footprints[flown], longitudes=candidates["longitude"].to_numpy()[flown], days=days
    )
    seen = choose_sentinel2(
        places, _images(sentinel2), days=parameters.days_each_side, most=parameters.most_sentinel2
    )
    shown = seen.images[:, 0] != NOBODY
    columns = [
        *_naip_columns(naip, quads[flown[shown]]),
        *_sentinel2_columns(sentinel2, seen.images[shown], days[shown]),
        pa.array(seen.fallback[shown]),
    ]
    kept = candidates.take(pa.array(flown[shown], pa.int64())).combine_chunks()
    return Outcome(
        stage="matching",
        read=candidates.num_rows,
        kept=pa.Table.from_arrays([*kept.columns, *columns], schema=MATCHED.schema),
        dropped=_dropped(candidates, state, flown, seen),
    )


def _dropped(candidates: pa.Table, state: str, flown: NDArray[np.int64], seen: Seen) -> pa.Table:
    """The candidates that no items show, in their order, schema REJECTIONS."""
    ledger = Ledger("matching", state)
    place = np.full(candidates.num_rows, NOBODY, np.int64)
    place[flown] = np.arange(len(flown))
    lost = (place == NOBODY) | (seen.images[:, 0] == NOBODY)[place] if len(flown) else place == NOBODY
    rows = np.flatnonzero(lost)
    scenes = values(candidates.take(pa.array(rows, pa.int64())), "scene_id")
    for scene, row in zip(scenes, place[rows].tolist(), strict=True):
        if row == NOBODY:
            ledger.reject(scene, Reason.NO_NAIP, "no vintage and season of the window covers all 100 tiles")
        else:
            detail = f"{seen.met[row]} items under the cloud limit meet the footprint, none covers it"
            ledger.reject(scene, Reason.NO_SENTINEL2, detail)
    return ledger.table


def showing(
    items: pa.Table, sensor: Sensor, window: Window, most_cloud_percent: float | None = None
) -> pa.Table:
    """Items of one sensor inside a window of UTC days, and under a cloud limit where one is given.

    Args:
        items: schema ITEMS.
        sensor: which of the two.
        window: days, both ends included.
        most_cloud_percent: items with this much reported cloud, more, or none reported are left out.
    """
    shown = within(where(items, "sensor", {sensor.value}), window)
    if most_cloud_percent is None:
        return shown
    # A row without a cloud share compares as null, and filter drops it.
    return shown.filter(pc.less(shown["cloud_cover"], pa.scalar(most_cloud_percent, pa.float32())))


def _days(items: pa.Table) -> NDArray[np.int64]:
    """UTC day of each item, counted from 1970-01-01."""
    return acquired_days(items).cast(pa.int32()).to_numpy().astype(np.int64)


def _ranks(column: "pa.ChunkedArray[Any]") -> NDArray[np.int64]:
    """Place of each value among those that there are, equal for equal values."""
    return pc.rank(column, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)


def _outlines(items: pa.Table) -> NDArray[np.object_]:
    outlines: NDArray[np.object_] = shapely.from_wkb(items["geometry"].to_numpy())
    return outlines


def _quads(naip: pa.Table) -> Quads:
    return Quads(
        outlines=_outlines(naip),
        vintages=_ranks(naip["vintage"]),
        days=_days(naip),
        names=_ranks(naip["item_id"]),
    )


def _images(sentinel2: pa.Table) -> Images:
    return Images(
        outlines=_outlines(sentinel2),
        shapes=_ranks(sentinel2["geometry"]),
        days=_days(sentinel2),
        zones=sentinel2["epsg"].to_numpy().astype(np.int64) % 100,
    )


def _by_rank(sentinel2: pa.Table) -> pa.Table:
    """The images by less cloud, newer processing, then item id."""
    order = np.lexsort(
        (_ranks(sentinel2["item_id"]), -_versions(sentinel2), sentinel2["cloud_cover"].to_numpy())
    )
    return sentinel2.take(pa.array(order, pa.int64()))


def newest_processing(items: pa.Table, parameters: MatchParameters) -> pa.Table:
    """Sentinel-2 items of the window under the cloud limit, each tile and day in its newest processing only.

    The duplicate is dropped before the limit is looked at: an older processing is not a second chance.
    """
    searched = parameters.searched_cloud_percent
    every = showing(items, Sensor.SENTINEL2, parameters.sentinel2_window, searched)
    # What names no tile is a product of its own.
    tiles = _ranks(pc.coalesce(every["mgrs_tile"], every["item_id"]))
    generated = np.where(np.asarray(every["generated"].is_null()), NOBODY, _ranks(every["generated"]))
    order = np.lexsort((_ranks(every["item_id"]), generated, _versions(every), _days(every), tiles))
    tiles, days = tiles[order], _days(every)[order]
    last = np.append((tiles[1:] != tiles[:-1]) | (days[1:] != days[:-1]), True)[: len(order)]
    every = every.take(pa.array(np.sort(order[last]), pa.int64()))
    return showing(every, Sensor.SENTINEL2, parameters.sentinel2_window, parameters.most_cloud_percent)


def _versions(items: pa.Table) -> NDArray[np.int64]:
    """Rank of the processing baseline of each item, the oldest first."""
    texts = items["baseline"].to_pylist()
    place = {version: rank for rank, version in enumerate(sorted({_version(text) for text in texts}))}
    return np.array([place[_version(text)] for text in texts], np.int64)


def _version(baseline: str | None) -> tuple[int, ...]:
    """05.09 as (5, 9); what is no such number comes first."""
    parts = (baseline or "").split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else (-1,)


def _naip_columns(naip: pa.Table, quads: NDArray[np.int64]) -> list["pa.Array[Any]"]:
    """naip_items, naip_date, naip_gsd.

    Args:
        naip: schema ITEMS.
        quads: shape (n, most), see `choose_naip`.
    """
    first = pa.array(quads[:, 0], pa.int64())
    return [_names(naip, quads), _taken(acquired_days(naip), first), _taken(naip["gsd"], first)]


def _sentinel2_columns(
    sentinel2: pa.Table, images: NDArray[np.int64], naip_days: NDArray[np.int64]
) -> list["pa.Array[Any]"]:
    """sentinel2_items, sentinel2_date, cloud_cover, days_between."""
    first = pa.array(images[:, 0], pa.int64())
    between = _days(sentinel2)[images[:, 0]] - naip_days
    return [
        _names(sentinel2, images),
        _taken(acquired_days(sentinel2), first),
        _taken(sentinel2["cloud_cover"], first),
        pa.array(between, pa.int16()),
    ]


def _names(items: pa.Table, chosen: NDArray[np.int64]) -> "pa.Array[Any]":
    """The ids of the chosen items as lists."""
    taken = chosen != NOBODY
    offsets = np.concatenate([[0], np.cumsum(taken.sum(axis=1))])
    names = _taken(items["item_id"], pa.array(chosen[taken], pa.int64()))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names)


def _taken(column: "pa.ChunkedArray[Any]", rows: "pa.Array[Any]") -> "pa.Array[Any]":
    return pa.concat_arrays(column.take(rows).chunks) if len(rows) else pa.array([], column.type)
