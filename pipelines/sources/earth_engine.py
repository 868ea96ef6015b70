"""NAIP and Sentinel-2 from Google Earth Engine: found by listing collections, read as computed pixels.

Earth Engine warps and mosaics on its side; one request brings one LR image, one request one HR mosaic. See
docs/earth-engine.md for sign-in, quotas, and how its pixels differ from those of the other sources.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ee
import numpy as np
import pyarrow as pa
import shapely

from gl10m.manifest.columns import values
from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import HR_PIXELS, LR_PIXELS, Footprint
from pipelines.sources.earth_engine_items import IMAGE, asset_id, image_row
from pipelines.sources.earth_engine_pixels import MOST_BYTES, Plane, read_pixels
from pipelines.sources.earth_engine_session import RequestTooLargeError, call, sign_in
from pipelines.sources.imagery import (
    DamagedRasterError,
    HighResolution,
    LowResolution,
    Sensor,
    SourceUnavailableError,
)
from pipelines.sources.items import MalformedItemError, Row
from pipelines.sources.patience import PATIENT, Patience

log = logging.getLogger(__name__)

WHOLE = 0.99
"""A pixel counts if so much of its interpolation's kernel found data. Not 1: masks are sums of weights."""

MOST_ITEMS = 500_000
"""A search that brings more is stopped, as in `pipelines.sources.stac`."""

SENTINEL2_BANDS: dict[str, type[np.unsignedinteger[Any]]] = {
    "red": np.uint16,
    "green": np.uint16,
    "blue": np.uint16,
    "classes": np.uint8,
    "seen": np.uint8,
}
"""What is asked of a Sentinel-2 image; 0.9 MB over a footprint as Earth Engine counts."""

END_SLACK = timedelta(days=8)
"""A listing is asked for so much longer, since Earth Engine compares the ends of images, not their days."""

RED, GREEN, SEEN = 1 << 16, 1 << 8, 1 << 24
"""Places of the bytes in a packed NAIP pixel; blue has the lowest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarthEngineImagery:
    """Both sensors from Earth Engine; see `pipelines.sources.imagery.Imagery`. Small and picklable.

    Credentials, project and address come from the environment of the process that reads.
    """

    naip_collection: str = "USDA/NAIP/DOQQ"
    """Asset id of NAIP, bands R, G, B."""

    sentinel2_collection: str = "COPERNICUS/S2_SR_HARMONIZED"
    """Asset id of Sentinel-2 surface reflectance, harmonised: one scale and no offset for all baselines."""

    page_size: int = 500
    """Images a page of the listing, some 15 KB each."""

    patience: Patience = PATIENT
    """How patiently and how fast Earth Engine is asked, at most `MOST_A_SECOND` a process."""

    most_bytes: int = MOST_BYTES
    """Bytes of one request as Earth Engine counts them."""

    def sign_in(self) -> None:
        """Sign in now, so that a build without credentials ends at once; see `earth_engine_session`."""
        sign_in(self.patience)

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        """Find the items of one sensor by one paged listing, over the box about the area.

        An image that lacks what a scene needs is left out with a warning in the log. If no image at all can
        be used, the search fails.

        Args:
            sensor: which of the two.
            area: polygon or multipolygon that the items meet, degrees, EPSG:4326.
            window: days of acquisition, both ends included, UTC.

        Returns:
            Schema ITEMS, sorted by item id, each item once.

        Raises:
            SourceUnavailableError: nobody is signed in, or Earth Engine does not answer.
            MalformedItemError: it has images, and none of them can be used.
        """
        collection = self._collection(sensor)
        west, south, east, north = shapely.bounds(area).tolist()
        bounds = (west, south, east, north)
        rows: dict[str, Row] = {}
        faults: list[MalformedItemError] = []
        for image in self._listed(collection, bounds, window):
            try:
                row = image_row(image, sensor, collection)
            except MalformedItemError as fault:
                log.warning("left out: %s", fault)
                faults.append(fault)
                continue
            if row["acquired"].date() in window and shapely.intersects(
                shapely.from_wkb(row["geometry"]), area
            ):
                rows.setdefault(row["item_id"], row)
        if faults and not rows:
            raise MalformedItemError(f"none of {len(faults)} images can be used; the first: {faults[0]}")
        return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=ITEMS.schema)

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one Sentinel-2 image over a footprint, in one request.

        Args:
            item: one row of schema ITEMS.
            footprint: the ground to show.

        Raises:
            RefusedAddressError: the item is none of Earth Engine.
            SourceUnavailableError: Earth Engine does not answer, or quota is used up.
            DamagedRasterError: the image is not there, or the answer is not what was asked for.
        """
        (name,), (row,) = _asset_ids(item), item.to_pylist()
        plane = Plane(
            what=f"the pixels of {name}",
            image=lambda: reflectance(name),
            bands=SENTINEL2_BANDS,
            most_bytes=self.most_bytes,
        )
        shown = read_pixels(plane, footprint, LR_PIXELS, self.patience)
        seen = shown["seen"] > 0
        counts = np.stack([shown["red"], shown["green"], shown["blue"]])
        level = counts * np.float32(row["scale"]) + np.float32(row["offset"])
        return LowResolution(
            reflectance=np.where(seen, level, np.float32(0)).astype(np.float32),
            observed=seen,
            classification=shown["classes"] * seen,
        )

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic NAIP images over a footprint, the earlier row on top, in one request.

        Args:
            items: rows of schema ITEMS by rank.
            footprint: the ground to show.

        Raises:
            RefusedAddressError: an item is none of Earth Engine.
            SourceUnavailableError: Earth Engine does not answer, or quota is used up.
            DamagedRasterError: an image is not there, or the answer is not what was asked for.
        """
        names = _asset_ids(items)
        plane = Plane(
            what=f"the mosaic of {', '.join(names)}",
            image=lambda: naip_mosaic(names),
            bands={"packed": np.uint32},
            most_bytes=self.most_bytes,
        )
        packed = read_pixels(plane, footprint, HR_PIXELS, self.patience)["packed"]
        seen = packed >= SEEN
        colours = np.stack([(packed // place % GREEN).astype(np.uint8) for place in (RED, GREEN, 1)])
        return HighResolution(pixels=colours * seen, observed=seen)

    def _collection(self, sensor: Sensor) -> str:
        return self.naip_collection if sensor is Sensor.NAIP else self.sentinel2_collection

    def _listed(
        self, collection: str, bounds: tuple[float, float, float, float], window: Window
    ) -> Iterator[dict[str, Any]]:
        """Images as Earth Engine tells of them, page by page."""
        request = {
            "parent": collection,
            "region": _region(bounds),
            "startTime": f"{window.first}T00:00:00Z",
            # An image counts as ended after its own day; those that are too late are left out here.
            "endTime": f"{window.last + END_SLACK}T00:00:00Z",
            "pageSize": self.page_size,
        }
        count = 0
        while True:
            page = _page(request, collection, self.patience)
            yield from page.get("images") or []
            count += len(page.get("images") or [])
            if count > MOST_ITEMS:
                raise SourceUnavailableError(
                    f"Earth Engine lists over {MOST_ITEMS} images of {collection}; ask for smaller bounds or "
                    "a shorter window"
                )
            if not page.get("nextPageToken"):
                return
            request["pageToken"] = page["nextPageToken"]


def naip_mosaic(names: list[str]) -> ee.Image:
    """NAIP images as one, the first on top: one band of 32 bits, the three bytes and whether there is data.

    Earth Engine counts a byte for the mask of every band. Four bands of bytes over a footprint would count
    57 MB, and 48 are allowed; packed into one band they count 36.

    Args:
        names: asset ids by rank.
    """
    # The last one lies on top. Each is resampled by itself, since a mosaic has no pixels of its own.
    quads = [_interpolated(name, ["R", "G", "B"]) for name in reversed(names)]
    shown = ee.ImageCollection(quads).mosaic()
    seen = shown.select(["R"]).mask().gt(0)
    levels = shown.unmask(0, sameFootprint=False).round().toInt32()
    red, green, blue = (levels.select([band]) for band in ("R", "G", "B"))
    packed = red.multiply(RED).add(green.multiply(GREEN)).add(blue).add(seen.multiply(SEEN))
    image: ee.Image = packed.toUint32().rename(["packed"])
    return image


def reflectance(name: str) -> ee.Image:
    """One Sentinel-2 image: counts of red, green and blue, the class, and whether there is data.

    Args:
        name: asset id.
    """
    shown = _interpolated(name, ["B4", "B3", "B2"])
    seen = shown.select(["B4"]).mask().gt(0).toUint8()
    counts = shown.unmask(0, sameFootprint=False).round().toUint16()
    # Nearest neighbour is what Earth Engine does where nothing else is asked for.
    classes = ee.Image(name).select(["SCL"]).unmask(0, sameFootprint=False).toUint8()
    image: ee.Image = ee.Image.cat([counts, classes, seen]).rename(list(SENTINEL2_BANDS))
    return image


def _interpolated(name: str, bands: list[str]) -> ee.Image:
    """Bands of an image, bilinear, masked where part of the kernel found no data in any of them.

    Interpolation is asked for on the asset itself: further down the graph the pixels would already have been
    fetched in the output's grid, nearest neighbour.
    """
    image: ee.Image = ee.Image(name).resample("bilinear").select(bands)
    return image.updateMask(image.mask().reduce(ee.Reducer.min()).gte(WHOLE))


def _page(request: dict[str, Any], collection: str, patience: Patience) -> dict[str, Any]:
    """One page of a listing.

    Raises:
        SourceUnavailableError: it does not come.
    """
    try:
        return call(
            f"the list of images in {collection}", lambda: dict(ee.data.listImages(dict(request))), patience
        )
    except (DamagedRasterError, RequestTooLargeError) as error:
        fault = str(error)
    raise SourceUnavailableError(fault)


def _asset_ids(items: pa.Table) -> list[str]:
    """The asset of each item, by rank.

    Raises:
        RefusedAddressError: an item was found by another source.
    """
    return [asset_id(dict(assets).get(IMAGE, "")) for assets in values(items, "assets")]


def _region(bounds: tuple[float, float, float, float]) -> dict[str, Any]:
    """A GeoJSON polygon that holds the bounds, even where its edges are taken for great circles.

    Between two points of one parallel a great circle runs up to `bulge` nearer to the pole.
    """
    west, south, east, north = bounds
    bulge = math.degrees(math.radians(east - west) ** 2 / 8 * 0.5)
    low, high = max(south - bulge, -90.0), min(north + bulge, 90.0)
    ring = [[west, low], [east, low], [east, high], [west, high], [west, low]]
    return {"type": "Polygon", "coordinates": [ring]}
