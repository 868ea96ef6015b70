"""The metadata of the paper's 273,250 candidates: search, index, join; beside two searches a candidate.

    pip install bokeh-sampledata==2026.1        # outlines of the states
    python benchmarks/metadata.py [--folder FOLDER] [--states CO,ME] [--sample 300]

A catalogue of full size (NAIP quarter quads and the Sentinel-2 passes of 2023 over the paper's 11 states, in
the shape of the Planetary Computer's items) is served by the item search of `pipelines.world.server`, in a
process of its own. Requests are counted where they are sent, CPU time (user + system) is that of the client.
The peer is pystac-client, asked for each candidate of a sample and extrapolated. Its items lack the 16 assets
that a real Sentinel-2 item has besides the four rasters: the peer is spared some 13 kB an item.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pystac_client
import requests
import shapely
from bokeh_sampledata import us_states
from numpy.typing import NDArray
from pyproj import Transformer

from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.footprint import FOOTPRINT_DEGREES
from gl10m.scene.states import states
from pipelines.sources.imagery import Sensor
from pipelines.sources.item_index import area_of, find_items
from pipelines.sources.stac import StacImagery
from pipelines.stages.coverage import CoverageParameters, within_coverage
from pipelines.stages.matching import MatchParameters, match
from pipelines.world.grids import QUAD_MARGIN_METRES, QUARTER_DEGREES, granules, naip_utm, to_degrees
from pipelines.world.server import serve

CANDIDATES_OF_PAPER = 273_250
FLOWN_2022 = {"CA", "NC", "PA", "TX"}
"""The other states are flown in 2023."""

TWICE = {"GA", "IL"}
"""Flown in both years."""

ORBIT_DEGREES, SWATH_METRES, LEAN = 360 / 143, 290_000, 0.30
"""Between neighbouring tracks; across a track; degrees of longitude that a track moves a degree north."""

CLEAR = 0.18
"""Share of the granules under 2 % of cloud."""


def outline(code: str) -> shapely.Geometry:
    """A state, degrees; the source gives each ring in turn, with NaN between."""
    ring = np.column_stack([us_states.data[code]["lons"], us_states.data[code]["lats"]])
    borders = np.flatnonzero(np.isnan(ring).any(axis=1))
    parts = [part[~np.isnan(part).any(axis=1)] for part in np.split(ring, borders)]
    return shapely.make_valid(shapely.union_all([shapely.Polygon(part) for part in parts if len(part) > 3]))


def candidates(code: str, count: int) -> pa.Table:
    """Candidates of a state: most about towns, the rest anywhere; two in a cell of 0.012 degrees are one."""
    rng = np.random.default_rng(list(code.encode()))
    ground = outline(code)
    shapely.prepare(ground)
    west, south, east, north = shapely.bounds(ground)
    towns = rng.uniform((west, south), (east, north), (300, 2))
    weights = rng.pareto(1.2, 300)
    found = np.zeros((0, 2))
    while len(found) < count:
        town = towns[rng.choice(300, count, p=weights / weights.sum())]
        places = np.where(
            rng.random((count, 1)) < 0.7,
            rng.normal(town, 0.12),
            rng.uniform((west, south), (east, north), (count, 2)),
        )
        places = places[shapely.contains_xy(ground, *places.T)]
        found = np.vstack([found, places])
        _, first = np.unique(np.floor(found / 0.012), axis=0, return_index=True)
        found = found[np.sort(first)]
    longitudes, latitudes = found[:count].T
    half = FOOTPRINT_DEGREES / 2
    squares = shapely.box(longitudes - half, latitudes - half, longitudes + half, latitudes + half)
    columns: dict[str, Any] = {
        "scene_id": [f"{code}-w{number}" for number in range(count)],
        "state": [code] * count,
        "longitude": longitudes,
        "latitude": latitudes,
        "geometry": shapely.to_wkb(squares),
    }
    nothing = {name: pa.nulls(count, CANDIDATES.schema.field(name).type) for name in CANDIDATES.names}
    return pa.table(nothing | columns, schema=CANDIDATES.schema)


def feature(
    name: str, collection: str, ring: NDArray[Any], moment: str, properties: dict[str, Any]
) -> dict[str, Any]:
    corners = np.round(np.asarray(ring), 6)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "bbox": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
        "geometry": {"type": "Polygon", "coordinates": [corners.tolist()]},
        "properties": {"datetime": moment, **properties},
        "links": [
            {"rel": rel, "href": f"collections/{collection}/items/{name}", "type": "application/geo+json"}
            for rel in ("self", "collection", "parent", "root", "preview")
        ],
    }


def asset(href: str, kind: str = "data", **more: object) -> dict[str, Any]:
    cog = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {"href": href, "type": cog, "roles": [kind], "title": "Cloud-optimised GeoTIFF", **more}


def naip_items(code: str) -> Iterator[dict[str, Any]]:
    """Quarter quads over a state with their margins, flown in blocks of a degree through the summer."""
    ground = outline(code)
    low, high = (np.floor(np.array(shapely.bounds(ground)).reshape(2, 2) / QUARTER_DEGREES)).astype(int)
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    west, south = columns.ravel() * QUARTER_DEGREES, rows.ravel() * QUARTER_DEGREES
    inside = shapely.intersects(
        ground, shapely.box(west, south, west + QUARTER_DEGREES, south + QUARTER_DEGREES)
    )
    years = [2022, 2023] if code in TWICE else [2022 if code in FLOWN_2022 else 2023]
    bands = [{"name": name, "common_name": name.lower()} for name in ("Red", "Green", "Blue", "NIR")]
    for left, bottom, ring, epsg in quad_rings(west[inside], south[inside]):
        for year in years:
            block = int(np.floor(left)) * 31 + int(np.floor(bottom)) * 17
            day = date(year, 5, 1) + timedelta(days=block % 120)
            name = f"{code.lower()}_m_{-left * 1e4:.0f}_{bottom * 1e4:.0f}_060_{day:%Y%m%d}"
            about = {
                "gsd": 0.6,
                "naip:state": code.lower(),
                "naip:year": str(year),
                "proj:epsg": epsg,
                "proj:shape": [12_500, 10_400],
                "proj:transform": [0.6, 0, 600_000, 0, -0.6, 4_000_000],
            }
            href = f"imagery/naip/{code.lower()}/{year}/{name}.tif"
            yield feature(name, "naip", ring, f"{day}T16:00:00Z", about) | {
                "assets": {
                    "image": asset(href, **{"eo:bands": bands}),
                    "thumbnail": asset(f"{href}.jpg", "thumbnail"),
                    "tilejson": asset(f"{href}.json", "tiles"),
                    "rendered_preview": asset(f"{href}.png", "overview"),
                }
            }


def quad_rings(west: NDArray[Any], south: NDArray[Any]) -> Iterator[tuple[float, float, Any, int]]:
    """The outlines of quarter quads, rectangles in UTM."""
    zones = ((west + QUARTER_DEGREES / 2 + 180) // 6).astype(int) + 1
    for zone in np.unique(zones):
        epsg = naip_utm(int(zone), 40)
        left, bottom = west[zones == zone], south[zones == zone]
        x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(
            np.stack([left, left + QUARTER_DEGREES] * 2),
            np.stack([bottom, bottom, bottom + QUARTER_DEGREES, bottom + QUARTER_DEGREES]),
        )
        edges = [
            *(np.array([x.min(0), y.min(0)]) - QUAD_MARGIN_METRES),
            *(np.array([x.max(0), y.max(0)]) + QUAD_MARGIN_METRES),
        ]
        x0, y0, x1, y1 = edges
        rings = np.stack(
            to_degrees(epsg).transform(np.stack([x1, x1, x0, x0, x1]), np.stack([y0, y1, y1, y0, y0])),
            axis=-1,
        )
        for number in range(len(left)):
            yield float(left[number]), float(bottom[number]), rings[:, number], epsg


def sentinel2_items(codes: list[str]) -> Iterator[dict[str, Any]]:
    """A year of passes: each granule every five days on each track whose swath meets it."""
    rng = np.random.default_rng(2)
    seen = set()
    for code in codes:
        ground = outline(code)
        for granule, _ in granules(tuple(shapely.bounds(ground)), 3000):
            if granule in seen:
                continue
            x0, y0, x1, y1 = granule.bounds
            ring = np.stack(to_degrees(granule.epsg).transform([x1, x1, x0, x0], [y0, y1, y1, y0]), axis=-1)
            square = shapely.Polygon(ring)
            if shapely.intersects(square, ground):
                seen.add(granule)
                yield from passes(granule.name, granule.epsg, square, rng)


def passes(
    tile: str, epsg: int, square: shapely.Polygon, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    west, south, east, north = square.bounds
    middle = (south + north) / 2
    half = (
        SWATH_METRES
        / 2
        / (111_320 * np.cos(np.radians(middle)))
        / np.cos(np.arctan(LEAN * np.cos(np.radians(middle))))
    )
    first = int(np.floor((west - half - 180 - LEAN * (north - 40)) / ORBIT_DEGREES))
    last = int(np.ceil((east + half - 180 - LEAN * (south - 40)) / ORBIT_DEGREES)) + 143
    for orbit in range(first, last):
        centre = orbit * ORBIT_DEGREES + 180 - 360
        low, high = (centre + LEAN * (edge - 40) for edge in (south - 1, north + 1))
        swath = shapely.Polygon(
            [
                (low - half, south - 1),
                (low + half, south - 1),
                (high + half, north + 1),
                (high - half, north + 1),
            ]
        )
        if shapely.area(shapely.intersection(swath, square)) < 0.01 * square.area:
            continue
        for number in range(73):
            # The edges of a swath are never twice the same; a granule wholly inside it is.
            moved = shapely.transform(swath, lambda ring: ring + np.array([rng.normal(0, 0.005), 0]))
            shown = square if shapely.covers(moved, square) else shapely.intersection(moved, square)
            day = date(2023, 1, 1) + timedelta(days=(orbit * 2) % 5 + 5 * number)
            yield sentinel2_item((tile, epsg, orbit % 143 + 1), shown, day, rng)


def sentinel2_item(
    place: tuple[str, int, int], shown: shapely.Geometry, day: date, rng: np.random.Generator
) -> dict[str, Any]:
    tile, epsg, orbit = place
    moment = datetime(day.year, day.month, day.day, 17, 30, 9, tzinfo=UTC)
    platform = "AB"[day.toordinal() % 2]
    name = f"S2{platform}_MSIL2A_{moment:%Y%m%dT%H%M%S}_R{orbit:03d}_T{tile}_{moment:%Y%m%d}T234500"
    about = {
        "platform": f"Sentinel-2{platform}",
        "constellation": "Sentinel 2",
        "instruments": ["msi"],
        "eo:cloud_cover": round(float(rng.uniform(0, 2) if rng.random() < CLEAR else rng.uniform(2, 100)), 6),
        "proj:epsg": epsg,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": orbit,
        "s2:mgrs_tile": tile,
        "s2:processing_baseline": "05.09",
        "s2:generation_time": f"{moment:%Y-%m-%d}T23:45:00.000000Z",
        "s2:product_uri": f"{name}.SAFE",
        **{f"s2:{what}_percentage": 1.0 for what in ("vegetation", "water", "snow_ice", "thin_cirrus")},
    }
    folder = f"imagery/s2/{tile}/{name}.SAFE/GRANULE/L2A_T{tile}/IMG_DATA/R10m"
    placed = {"proj:shape": [10_980, 10_980], "proj:bbox": [399_960.0, 4_390_200.0, 509_760.0, 4_500_000.0]}
    bands = {"B04": "red", "B03": "green", "B02": "blue"}
    ring = shapely.get_coordinates(shapely.get_exterior_ring(shown))
    return feature(name, "sentinel-2-l2a", ring, f"{moment:%Y-%m-%dT%H:%M:%S}.024000Z", about) | {
        "assets": {
            **{
                band: asset(
                    f"{folder}/T{tile}_{band}_10m.tif",
                    gsd=10.0,
                    **{"eo:bands": [{"name": band, "common_name": colour}], **placed},
                )
                for band, colour in bands.items()
            },
            "SCL": asset(f"{folder}/T{tile}_SCL_20m.tif", gsd=20.0, **placed),
        }
    }


def write_catalogue(folder: Path, codes: list[str]) -> None:
    items: dict[str, Iterator[dict[str, Any]]] = {
        "naip": (item for code in codes for item in naip_items(code)),
        "sentinel-2-l2a": sentinel2_items(codes),
    }
    for name, features in items.items():
        place = folder / "stac" / name
        place.mkdir(parents=True)
        about = {"type": "Collection", "id": name, "stac_version": "1.0.0", "links": [], "description": name}
        (place / "collection.json").write_text(json.dumps(about))
        with (place / "items.ndjson").open("w") as file:
            count = sum(1 for item in features if file.write(json.dumps(item) + "\n"))
        print(f"{name}: {count:,} items, {(place / 'items.ndjson').stat().st_size / 1e6:,.0f} MB of JSON")


@dataclass
class Meter:
    """Counts requests and bytes of this process where they are sent."""

    requests: int = 0
    received: int = 0
    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._send, self._begun = requests.Session.send, time.process_time()

        def send(session: Any, request: Any, **options: Any) -> requests.Response:
            self.requests += 1
            answer = self._send(session, request, **options)
            self.received += len(answer.content)
            return answer

        requests.Session.send = send  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        requests.Session.send = self._send  # type: ignore[method-assign]
        self.seconds = time.process_time() - self._begun


def ours(address: str, codes: list[str], each: int) -> tuple[int, float]:
    """Requests and CPU seconds for all candidates."""
    parameters = MatchParameters()
    imagery = StacImagery(url=address, most_cloud_percent=parameters.searched_cloud_percent)
    asked = {
        Sensor.NAIP: (imagery, "benchmark", parameters.naip_window),
        Sensor.SENTINEL2: (imagery, "benchmark", parameters.sentinel2_window),
    }
    total = {"search and index": 0.0, "coverage": 0.0, "join": 0.0}
    sent = received = items = kept = 0
    for code in codes:
        rows = candidates(code, each)
        with Meter() as meter:
            area = area_of(shapely.bounds(shapely.from_wkb(rows["geometry"].to_numpy())))
            table = find_items(asked, area)
        with Meter() as covering:
            within_coverage(rows, table, code, CoverageParameters())
        with Meter() as joining:
            outcome = match(rows, table, code, parameters)
        sent, received, items = sent + meter.requests, received + meter.received, items + table.num_rows
        kept += outcome.kept.num_rows
        total["search and index"] += meter.seconds
        total["coverage"] += covering.seconds
        total["join"] += joining.seconds
        print(
            f"  {code} {meter.requests:3} requests {meter.received / 1e6:6.1f} MB {table.num_rows:6,} items "
            f"{meter.seconds:5.2f} s search, {covering.seconds:5.2f} s coverage, "
            f"{joining.seconds:5.2f} s join, {outcome.kept.num_rows:,} matched",
            flush=True,
        )
    seconds = total["search and index"] + total["join"]
    print(f"  {kept:,} of {each * len(codes):,} matched; {items:,} items, {received / 1e6:,.0f} MB received")
    print("  " + ", ".join(f"{name} {value:.2f} CPU s" for name, value in total.items()))
    return sent, seconds


def naive(address: str, codes: list[str], sample: int) -> tuple[float, float, float]:
    """Requests, CPU seconds and bytes of one candidate, two searches each."""
    client = pystac_client.Client.open(address)
    rows = [row for code in codes for row in candidates(code, sample // len(codes) + 1).to_pylist()][:sample]
    with Meter() as meter:
        for row in rows:
            box = shapely.bounds(shapely.from_wkb(row["geometry"])).tolist()
            search = client.search(collections=["naip"], bbox=box, datetime="2022-01-01/2024-03-31")
            newest = max(item["properties"]["datetime"] for item in search.items_as_dicts())
            day = date.fromisoformat(newest[:10])
            first = max(date(2023, 1, 1), day - timedelta(days=183))
            last = min(date(2023, 12, 31), max(first, day + timedelta(days=183)))
            search = client.search(
                collections=["sentinel-2-l2a"],
                bbox=box,
                datetime=f"{first}/{last}",
                query={"eo:cloud_cover": {"lt": 2}},
            )
            list(search.items_as_dicts())
    count = len(rows)
    return meter.requests / count, meter.seconds / count, meter.received / count


def report(folder: Path, codes: list[str], sample: int) -> None:
    each = CANDIDATES_OF_PAPER // len(states()) + 1
    total = each * len(codes)
    if not (folder / "stac").exists():
        write_catalogue(folder, codes)
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = server.stdout.readline().strip() if server.stdout else ""
        print(f"{total:,} candidates of {', '.join(codes)}; load {os.getloadavg()[0]:.1f}")
        sent, seconds = ours(address, codes, each)
        per_request, per_second, per_byte = naive(address, codes, sample)
    finally:
        server.kill()
        server.wait()
    print(f"ours      {sent:>10,} requests {seconds:>10,.1f} CPU s")
    print(
        f"two each  {per_request * total:>10,.0f} requests {per_second * total:>10,.0f} CPU s "
        f"{per_byte * total / 1e9:,.0f} GB  (from {sample} candidates)"
    )
    print(f"ratio     {per_request * total / sent:>10,.0f} x      {per_second * total / seconds:>10,.0f} x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="keep the catalogue here, and use the one that is there")
    parser.add_argument("--states", default=",".join(states()))
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        with serve(given.serve) as served:
            print(served, flush=True)
            sys.stdin.read()
    else:
        with tempfile.TemporaryDirectory() as temporary:
            report(given.folder or Path(temporary), given.states.split(","), given.sample)
