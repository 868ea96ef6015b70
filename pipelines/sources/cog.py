"""Images of both sensors from cloud-optimised GeoTIFFs over HTTP ranges.

Only the window under the footprint is read, at the finest level that is not twice too fine. A failed read
never ends in silent no-data: the pixels come, or an error does.
"""

import numpy as np
import pyarrow as pa

from gl10m.scene.footprint import HR_PIXELS, LR_PIXELS, Footprint
from pipelines.sources.imagery import DamagedRasterError, HighResolution, LowResolution
from pipelines.sources.patch import Expected, all_of
from pipelines.sources.raster import Reader
from pipelines.sources.sheet import Sheet
from pipelines.sources.warp import warp_bytes, warp_classes, warp_reflectance

NAIP_IMAGE = Expected(dtype="uint8", counts=(3, 4), wanted=(1, 2, 3), pixels=HR_PIXELS)
"""Red, green, blue and perhaps near infrared, which some files call alpha."""

REFLECTANCE_BAND = Expected(dtype="uint16", counts=(1,), wanted=(1,), pixels=LR_PIXELS)
"""One band of surface reflectance in counts; 0 is no-data whether the file says so or not."""

CLASSES_BAND = Expected(dtype="uint8", counts=(1,), wanted=(1,), pixels=LR_PIXELS)
"""The scene classification layer."""

COLOURS = ("red", "green", "blue")
"""Bands of an image, in order."""


def read_sentinel2(item: pa.Table, footprint: Footprint, reader: Reader) -> LowResolution:
    """Read one Sentinel-2 item over a footprint.

    Counts of 0 are masked first, then counts become reflectance, then they are interpolated: no value of no-
    data reaches a valid pixel. Classes are taken from the nearest pixel.

    Args:
        item: one row of schema ITEMS.
        footprint: the ground to show.
        reader: who signs, and how often a raster is asked for.

    Raises:
        SourceUnavailableError: a raster cannot be reached.
        DamagedRasterError: a raster is not what the item promises.
    """
    (row,) = item.to_pylist()
    assets = dict(row["assets"])
    wanted = [(assets[colour], REFLECTANCE_BAND) for colour in COLOURS] + [(assets["scl"], CLASSES_BAND)]
    *bands, classes = reader.read_all(wanted, footprint)
    frame = bands[0].frame
    if any(band.frame != frame for band in bands):
        raise DamagedRasterError(f"item {row['item_id']}: red, green and blue do not share one grid")
    counts = np.concatenate([band.pixels for band in bands])
    valid = np.logical_and.reduce([*(counts != 0), *(band.valid for band in bands)])
    reflectance = counts * np.float32(row["scale"]) + np.float32(row["offset"])
    warped, observed = warp_reflectance(reflectance, valid, frame, footprint, LR_PIXELS)
    return LowResolution(
        reflectance=warped,
        observed=observed,
        classification=warp_classes(classes, footprint, LR_PIXELS) * observed,
    )


def read_naip(items: pa.Table, footprint: Footprint, reader: Reader) -> HighResolution:
    """Mosaic NAIP items over a footprint; where they overlap, the earlier row wins.

    Neighbouring rows on one grid are laid on one native sheet, so that the warp knows no border between them;
    only what a sheet still lacks is read. A sheet that does not reach a pixel with its whole kernel leaves it
    to the next one, so no pixel mixes ground with nothing.

    Args:
        items: rows of schema ITEMS by rank.
        footprint: the ground to show.
        reader: who signs, and how often a raster is asked for.

    Raises:
        SourceUnavailableError: a raster cannot be reached.
        DamagedRasterError: a raster is not what its item promises.
    """
    first = dict(items.slice(0, 1).to_pylist()[0]["assets"])["image"] if items.num_rows else ""
    return reader.again(first, lambda: _read_naip(items, footprint, reader))


def _read_naip(items: pa.Table, footprint: Footprint, reader: Reader) -> HighResolution:
    shown: HighResolution | None = None
    for sheet in naip_sheets(items, footprint, reader):
        pixels, reached = warp_bytes(sheet.paint(reader), sheet.valid, sheet.frame, footprint, HR_PIXELS)
        if shown is None:
            shown = HighResolution(pixels=pixels, observed=reached)
            continue
        fresh = reached & ~shown.observed
        np.copyto(shown.pixels, pixels, where=fresh)
        np.logical_or(shown.observed, fresh, out=shown.observed)
    if shown is None:
        raise ValueError("a scene has at least one NAIP item; got none")
    return shown


def naip_sheets(items: pa.Table, footprint: Footprint, reader: Reader) -> list[Sheet]:
    """Plan the items on native sheets, in order; only what a sheet still lacks is planned.

    Raises:
        SourceUnavailableError: a raster cannot be reached.
        DamagedRasterError: a raster is not what its item promises.
    """
    hrefs = [dict(row["assets"])["image"] for row in items.to_pylist()]
    sheets: list[Sheet] = []
    for href, known in zip(hrefs, reader.headers(hrefs), strict=True):
        if sheets and sheets[-1].valid.all():
            break
        plan = reader.plan(href, known, NAIP_IMAGE, footprint, sheets[-1].lacking if sheets else all_of)
        if not sheets or sheets[-1].offset(plan.frame.lattice) is None:
            sheets.append(Sheet(plan.frame.lattice, footprint, HR_PIXELS))
        sheets[-1].put_under(plan, reader, NAIP_IMAGE)
    return sheets
