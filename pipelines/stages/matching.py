"""One NAIP vintage and one Sentinel-2 day for each candidate (paper A.2).

The paper's rule, and what it leaves open, in the order in which it is applied.

NAIP. Items of the NAIP window are grouped by vintage and flight season: within one vintage, sorted by day, a
gap of more than `season_gap_days` begins a new season. The newest season whose quads cover all 100 tiles is
taken; the fewest quads that cover, at most four, and of several such choices the one that ranks first by
overlap with the footprint, then newer, then item id. The scene's NAIP day is that of the quad with the
largest overlap.

Sentinel-2. An item is valid if its reported cloud is under the limit and it covers the footprint. Of one MGRS
tile and day only the newest processing counts: highest baseline, then generation time, then id. Looked for
within `days_each_side` of the NAIP day, clipped to the Sentinel-2 window; if nothing valid is there, in the
whole window, marked as fallback. The items found there are ranked: covers the footprint, fewer days from
NAIP, native UTM zone of the footprint's centre, less cloud, higher baseline, id. One item a day stays, since
the tiles of one overpass show the same clouds and are not blended; then the first four.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import MATCHED
from gl10m.scene.acquisition import DAYS_EACH_SIDE, NAIP_WINDOW, SENTINEL2_WINDOW, Window
from gl10m.scene.rejection import Reason
from pipelines.sources.imagery import Sensor

MOST_CLOUD_PERCENT = 2.0
"""Reported cloud of a Sentinel-2 granule must lie below (A.2)."""

MOST_PERCENT = 100.0
"""The whole of a granule; a limit above it would let everything pass as well."""

SEASON_GAP_DAYS = 90
"""Days without a flight that part two seasons of one vintage; the paper does not say."""

MOST_QUADS = 4
"""A footprint of 0.024 degrees meets at most four quarter quads of 0.0625 degrees."""

MOST_SENTINEL2 = 4
"""Items kept: the first, and three to fill what is masked in it."""

GAP_TOLERANCE = 1e-6
"""Share of a footprint that may stay uncovered, for outlines rounded to some digits: 7 of 7.2 million
pixels."""

CONSIDERED_QUADS = 12
"""Of a season, this many quads with the largest overlap are considered; real ones have some 8."""

BATCH = 4096
"""Candidates matched at a time, which bounds the memory of the join."""


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
    naip = _Catalogue(showing(items, Sensor.NAIP, parameters.naip_window))
    sentinel2 = _Catalogue(_newest_processing(items, parameters))
    ledger = Ledger("matching", state)
    tables = [MATCHED.empty()]
    for start in range(0, candidates.num_rows, BATCH):
        batch = candidates.slice(start, BATCH)
        footprints = shapely.from_wkb(batch["geometry"].to_numpy())
        kept: list[int] = []
        found: list[dict[str, Any]] = []
        quads, images = naip.meeting(footprints), sentinel2.meeting(footprints)
        for row, (scene, longitude) in enumerate(_places(batch)):
            flown = choose_naip(footprints[row], next(quads), parameters)
            seen = next(images)
            if not flown:
                ledger.reject(
                    scene, Reason.NO_NAIP, "no vintage and season of the window covers all 100 tiles"
                )
                continue
            chosen, fallback = choose_sentinel2(longitude, flown[0]["day"], seen, parameters)
            if not chosen:
                detail = f"{len(seen)} items under the cloud limit meet the footprint, none covers it"
                ledger.reject(scene, Reason.NO_SENTINEL2, detail)
                continue
            kept.append(row)
            found.append(_columns(flown, chosen, fallback=fallback))
        more = pa.Table.from_pylist(found, schema=pa.schema(list(MATCHED.schema)[len(candidates.schema) :]))
        rows = batch.take(pa.array(kept, pa.int64()))
        tables.append(pa.Table.from_arrays([*rows.columns, *more.columns], schema=MATCHED.schema))
    return Outcome(
        stage="matching", read=candidates.num_rows, kept=pa.concat_tables(tables), dropped=ledger.table
    )


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
    days = _days(items)
    wanted = pc.and_(
        pc.equal(items["sensor"], pa.scalar(sensor.value)),
        pc.and_(pc.greater_equal(days, pa.scalar(window.first)), pc.less_equal(days, pa.scalar(window.last))),
    )
    shown = items.filter(wanted)
    if most_cloud_percent is None:
        return shown
    # A row without a cloud share compares as null, and filter drops it.
    return shown.filter(pc.less(shown["cloud_cover"], pa.scalar(most_cloud_percent, pa.float32())))


def _days(items: pa.Table) -> "pa.ChunkedArray[Any]":
    """UTC day of each item."""
    return items["acquired"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False)


def choose_naip(
    footprint: shapely.Geometry, quads: list[dict[str, Any]], parameters: MatchParameters
) -> list[dict[str, Any]]:
    """The quads that show a footprint, by rank; none if no season covers it.

    Args:
        footprint: polygon, EPSG:4326.
        quads: NAIP items that meet it, with `item_id`, `vintage`, `day`, `outline`, `overlap` and `covers`.
        parameters: the gap between seasons.
    """
    for season in _seasons(quads, parameters.season_gap_days):
        ranked = sorted(
            season, key=lambda quad: (-quad["overlap"], -quad["day"].toordinal(), quad["item_id"])
        )
        fewest = _fewest_that_cover(footprint, ranked[:CONSIDERED_QUADS])
        if fewest:
            return fewest
    return []


def choose_sentinel2(
    longitude: float, naip_day: date, images: list[dict[str, Any]], parameters: MatchParameters
) -> tuple[list[dict[str, Any]], bool]:
    """The Sentinel-2 items of a scene by rank, and whether the whole window had to be searched.

    Args:
        longitude: of the footprint's centre, degrees east; names the native UTM zone.
        naip_day: UTC day of the scene's NAIP.
        images: items of the Sentinel-2 window under the cloud limit that meet the footprint, with `item_id`,
            `day`, `covers`, `epsg`, `cloud_cover` and `age`, which sorts newer processing first.
        parameters: days on either side, and how many items to keep.
    """
    near = Window.around(naip_day, parameters.days_each_side)
    inside = [image for image in images if image["day"] in near]
    fallback = not any(image["covers"] for image in inside)
    pool = images if fallback else inside
    if not any(image["covers"] for image in pool):
        return [], fallback
    zone = int((longitude + 180) // 6) % 60 + 1

    def rank(image: dict[str, Any]) -> tuple[Any, ...]:
        return (
            not image["covers"],
            abs((image["day"] - naip_day).days),
            image["epsg"] % 100 != zone,
            image["cloud_cover"],
            image["age"],
            image["item_id"],
        )

    first_of_day: dict[date, dict[str, Any]] = {}
    for image in sorted(pool, key=rank):
        first_of_day.setdefault(image["day"], image)
    return list(first_of_day.values())[: parameters.most_sentinel2], fallback


def _seasons(quads: list[dict[str, Any]], gap_days: int) -> Iterator[list[dict[str, Any]]]:
    """Groups of one vintage and one flight season, newest first."""
    season: list[dict[str, Any]] = []
    for quad in sorted(quads, key=lambda quad: (quad["vintage"], quad["day"]), reverse=True):
        last = season[-1] if season else quad
        if quad["vintage"] != last["vintage"] or last["day"] - quad["day"] > timedelta(days=gap_days):
            yield season
            season = []
        season.append(quad)
    if season:
        yield season


def _fewest_that_cover(footprint: shapely.Geometry, ranked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of the smallest choices whose union leaves nothing out; none if four do not suffice."""
    complete = next((quad for quad in ranked if quad["covers"]), None)
    if complete is not None:
        return [complete]
    if not _covered(footprint, ranked):
        return []
    for count in range(2, MOST_QUADS + 1):
        for choice in combinations(ranked, count):
            if _covered(footprint, list(choice)):
                return list(choice)
    return []


def _covered(footprint: shapely.Geometry, quads: list[dict[str, Any]]) -> bool:
    enough = (1 - GAP_TOLERANCE) * float(shapely.area(footprint))
    if sum(quad["overlap"] for quad in quads) < enough:
        return False
    ground = shapely.union_all([quad["outline"] for quad in quads])
    return bool(shapely.area(shapely.intersection(footprint, ground)) >= enough)


def _newest_processing(items: pa.Table, parameters: MatchParameters) -> pa.Table:
    """Sentinel-2 items of the window under the cloud limit, each tile and day in its newest processing only.

    The duplicate is dropped before the clouds are looked at: an older processing is not a second chance.
    """
    every = showing(items, Sensor.SENTINEL2, parameters.sentinel2_window)
    newest: dict[Any, tuple[Any, int]] = {}
    columns = ("item_id", "mgrs_tile", "acquired", "baseline", "generated")
    for row, item in enumerate(every.select(columns).to_pylist()):
        product = (item["mgrs_tile"], item["acquired"].date()) if item["mgrs_tile"] else item["item_id"]
        version = (_version(item["baseline"]), item["generated"] or "", item["item_id"])
        newest[product] = max(newest.get(product, (version, row)), (version, row))
    rows = sorted(row for _, row in newest.values())
    every = every.take(pa.array(rows, pa.int64()))
    return showing(every, Sensor.SENTINEL2, parameters.sentinel2_window, parameters.most_cloud_percent)


def _version(baseline: str | None) -> tuple[int, ...]:
    """05.09 as (5, 9); what is no such number comes first."""
    parts = (baseline or "").split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else (-1,)


def _places(candidates: pa.Table) -> list[tuple[str, float]]:
    """Scene id and longitude of the centre of each candidate."""
    rows = candidates.select(["scene_id", "longitude"]).to_pylist()
    return [(row["scene_id"], row["longitude"]) for row in rows]


class _Catalogue:
    """Items of one sensor, asked which of them meet each of many footprints."""

    def __init__(self, items: pa.Table) -> None:
        names = ["item_id", "vintage", "gsd", "epsg", "cloud_cover", "baseline"]
        self._items = items.select(names).to_pylist()
        self._outlines = shapely.from_wkb(items["geometry"].to_numpy())
        self._tree = shapely.STRtree(self._outlines)
        shapely.prepare(self._outlines)
        days = _days(items).to_pylist()
        for item, outline, day in zip(self._items, self._outlines, days, strict=True):
            item["outline"], item["day"] = outline, day
            item["age"] = tuple(-number for number in _version(item["baseline"]))

    def meeting(self, footprints: NDArray[np.object_]) -> Iterator[list[dict[str, Any]]]:
        """For each footprint the items that meet it, with their overlap in square degrees."""
        rows, found = self._tree.query(footprints, predicate="intersects")
        order = np.lexsort((found, rows))
        rows, found = rows[order], found[order]
        covers = shapely.covers(self._outlines[found], footprints[rows])
        overlaps = shapely.area(footprints[rows])
        part = np.flatnonzero(~covers)
        shared = shapely.intersection(footprints[rows[part]], self._outlines[found[part]])
        overlaps[part] = shapely.area(shared)
        borders = np.searchsorted(rows, np.arange(len(footprints) + 1))
        for first, last in pairwise(borders.tolist()):
            yield [
                self._items[found[pair]] | {"overlap": float(overlaps[pair]), "covers": bool(covers[pair])}
                for pair in range(first, last)
                if overlaps[pair] > 0
            ]


def _columns(flown: list[dict[str, Any]], chosen: list[dict[str, Any]], *, fallback: bool) -> dict[str, Any]:
    """The columns that matching adds."""
    return {
        "naip_items": [quad["item_id"] for quad in flown],
        "naip_date": flown[0]["day"],
        "naip_gsd": flown[0]["gsd"],
        "sentinel2_items": [image["item_id"] for image in chosen],
        "sentinel2_date": chosen[0]["day"],
        "cloud_cover": chosen[0]["cloud_cover"],
        "days_between": (chosen[0]["day"] - flown[0]["day"]).days,
        "fallback": fallback,
    }
