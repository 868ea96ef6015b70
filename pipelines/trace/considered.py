"""The catalogue items that matching looked at for one footprint, each with what was compared."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from pipelines.sources.imagery import Sensor
from pipelines.stages.matching import MatchParameters, newest_processing

_WHOLE = 1 - 1e-6
"""A share of the footprint from which on it is covered, but for rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One item that shows ground of the footprint."""

    sensor: str
    item: str
    day: str
    share: float
    """Of the footprint that it shows, 0..1."""
    days_from_naip: int | None
    cloud_percent: float | None
    verdict: str

    @property
    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What matching took for a scene, against which the other items are told."""

    rank: dict[str, int]
    """Item id to rank, from 1; empty where the scene never came to a match."""
    naip_day: date | None
    vintage: str | None
    """Of the NAIP items taken."""
    sentinel2_days: frozenset[date]
    fallback: bool
    current: frozenset[str]
    """Sentinel-2 items that no newer processing replaces, under the cloud limit."""


def considered(row: dict[str, Any], items: pa.Table, parameters: MatchParameters) -> list[Considered]:
    """Compare items with a footprint by the rule of `pipelines.stages.matching`.

    Args:
        row: the scene, schema MATCHED, or a candidate that never was matched, schema CANDIDATES.
        items: schema ITEMS.
        parameters: windows and limits of the match.

    Returns:
        Those that show any of the footprint, by sensor: taken ones first, then by days from NAIP.
    """
    footprint = shapely.box(*row["bounds"])
    outlines = shapely.from_wkb(items["geometry"].to_numpy())
    near = np.flatnonzero(shapely.intersects(outlines, footprint))
    shown = shapely.area(shapely.intersection(outlines[near], footprint)) / shapely.area(footprint)
    here = items.take(pa.array(near, pa.int64()))
    choice = _choice(row, here, parameters)
    found = [
        _compared(item, float(share), parameters, choice)
        for item, share in zip(here.to_pylist(), np.asarray(shown).tolist(), strict=True)
        if share > 0
    ]
    return sorted(
        found,
        key=lambda one: (
            one.sensor,
            choice.rank.get(one.item, items.num_rows + 1),
            abs(one.days_from_naip or 0),
            one.item,
        ),
    )


def _choice(row: dict[str, Any], here: pa.Table, parameters: MatchParameters) -> _Choice:
    rank = {
        str(name): place
        for column in ("naip_items", "sentinel2_items")
        for place, name in enumerate(row.get(column) or (), start=1)
    }
    taken = [item for item in here.to_pylist() if item["item_id"] in rank]
    vintages = [str(item["vintage"]) for item in taken if item["sensor"] == Sensor.NAIP]
    return _Choice(
        rank=rank,
        naip_day=row.get("naip_date"),
        vintage=max(vintages, default=None),
        sentinel2_days=frozenset(item["acquired"].date() for item in taken if item["sensor"] != Sensor.NAIP),
        fallback=bool(row.get("fallback")),
        current=frozenset(str(name) for name in newest_processing(here, parameters)["item_id"].to_pylist()),
    )


def _compared(item: dict[str, Any], share: float, parameters: MatchParameters, choice: _Choice) -> Considered:
    day: date = item["acquired"].date()
    low, rank = item["sensor"] != Sensor.NAIP, choice.rank.get(item["item_id"])
    gap = (day - choice.naip_day).days if choice.naip_day is not None and low else None
    if rank:
        verdict = f"taken, number {rank}"
    elif low:
        verdict = _sentinel2(item, share, day, parameters, choice)
    else:
        verdict = _naip(item, day, parameters, choice)
    return Considered(
        sensor=item["sensor"],
        item=item["item_id"],
        day=day.isoformat(),
        share=min(share, 1.0),
        days_from_naip=gap,
        cloud_percent=item["cloud_cover"],
        verdict=verdict,
    )


def _naip(item: dict[str, Any], day: date, parameters: MatchParameters, choice: _Choice) -> str:
    """Why a NAIP item was not taken."""
    window, vintage = parameters.naip_window, str(item["vintage"])
    if day not in window:
        return f"outside {window.first} to {window.last}"
    if choice.vintage is None:
        return "not ranked: nothing was taken"
    if vintage > choice.vintage:
        return f"vintage {vintage}: no season of it covers all tiles"
    if vintage < choice.vintage:
        return f"vintage {vintage}: {choice.vintage} is newer and covers"
    return "not needed, or of another season of its vintage"


def _sentinel2(
    item: dict[str, Any], share: float, day: date, parameters: MatchParameters, choice: _Choice
) -> str:
    """Why a Sentinel-2 item was not taken: the first rule that it fails."""
    window, cloud, limit = parameters.sentinel2_window, item["cloud_cover"], parameters.most_cloud_percent
    if day not in window:
        return f"outside {window.first} to {window.last}"
    if cloud is None or not cloud < limit:
        told = "no cloud share" if cloud is None else f"{cloud:.2f} % cloud"
        return f"{told}, not under {limit:g} %"
    if item["item_id"] not in choice.current:
        return "replaced by a newer processing"
    if share < _WHOLE:
        return f"shows {share:.1%} of the footprint, not all"
    return _lesser(day, parameters, choice)


def _lesser(day: date, parameters: MatchParameters, choice: _Choice) -> str:
    """Why a Sentinel-2 item that could be taken was not."""
    if choice.naip_day is None:
        return "not ranked: nothing was taken"
    away = abs((day - choice.naip_day).days)
    if away > parameters.days_each_side and not choice.fallback:
        return f"{away} days from NAIP, more than {parameters.days_each_side}"
    if day in choice.sentinel2_days:
        return "its day is taken by a better one"
    return f"{away} days from NAIP: {len(choice.sentinel2_days)} better ones are enough"
