"""The ways of peers to an image, for `benchmarks/imagery.py`; each as correct as it can be.

Every way gets the same quads in the same order and gives the same rectangle, bilinear and anti-aliased.
"""

import asyncio
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import rasterio
import rasterio.transform
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject, transform_bounds
from rasterio.windows import Window

from gl10m.scene.footprint import HR_PIXELS, Footprint

Image = NDArray[np.uint8]

GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.vrt",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_VERSION": "2",
    "VSI_CACHE": True,
    "VSI_CACHE_SIZE": 5_000_000,
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,
    "GDAL_CACHEMAX": 512,
    "GDAL_NUM_THREADS": 1,
}
"""As tuned as a user's manual makes it."""


def cover(quads: list[dict[str, Any]], footprint: Footprint) -> list[dict[str, Any]]:
    """The fewest quads that show a footprint, the largest part first."""
    ground = shapely.box(*footprint.bounds)
    overlaps = [shapely.box(*quad["bounds"]).intersection(ground).area for quad in quads]
    chosen: list[dict[str, Any]] = []
    left = ground.buffer(0.0004)
    for number in np.argsort(overlaps)[::-1]:
        if overlaps[number] and left.intersects(ground) and not left.is_empty:
            chosen.append(quads[number])
            left = left.difference(shapely.box(*quads[number]["bounds"]).buffer(-0.0002))
    return chosen


def grid(footprint: Footprint) -> rasterio.Affine:
    return rasterio.Affine(*footprint.affine(HR_PIXELS))


def window(quad: dict[str, Any], footprint: Footprint) -> tuple[float, float, float, float]:
    """The footprint with its margin in the quad's own metres."""
    west, south, east, north = transform_bounds("EPSG:4326", f"EPSG:{quad['epsg']}", *footprint.bounds)
    return west - 3, south - 3, east + 3, north + 3


def mosaic(
    read: Callable[[dict[str, Any], Window, Any], NDArray[Any]],
    openers: list[tuple[dict[str, Any], Any, Any, tuple[int, int]]],
    footprint: Footprint,
) -> tuple[NDArray[Any], rasterio.Affine]:
    """Lay windows on one native sheet, the first on top."""
    quad, _, affine, _ = openers[0]
    step = affine.a
    west, south, east, north = window(quad, footprint)
    left, top = math.floor(west / step) * step, math.ceil(north / step) * step
    columns, rows = math.ceil((east - left) / step), math.ceil((top - south) / step)
    sheet = np.zeros((3, rows, columns), np.uint8)
    for quad, handle, place, (height, width) in reversed(openers):
        column, row = round((left - place.c) / step), round((place.f - top) / step)
        first_column, first_row = max(column, 0), max(row, 0)
        last_column, last_row = min(column + columns, width), min(row + rows, height)
        if first_column < last_column and first_row < last_row:
            span = Window(first_column, first_row, last_column - first_column, last_row - first_row)
            pixels = read(quad, span, handle)
            sheet[:, first_row - row : last_row - row, first_column - column : last_column - column] = pixels
    return sheet, rasterio.Affine(step, 0, left, 0, -step, top)


def warp(sheet: NDArray[Any], affine: rasterio.Affine, epsg: int, footprint: Footprint) -> Image:
    """One reproject of a sheet."""
    output = np.zeros((3, HR_PIXELS, HR_PIXELS), np.uint8)
    reproject(
        sheet,
        output,
        src_transform=affine,
        src_crs=f"EPSG:{epsg}",
        dst_transform=grid(footprint),
        dst_crs="EPSG:4326",
        resampling=Resampling.bilinear,
        warp_mem_limit=512,
    )
    return output


def oracle(paths: list[tuple[dict[str, Any], str]], footprint: Footprint) -> Image:
    """GDAL's bilinear kernel, exact: windows of local files, warped in strips so narrow that a row of the
    output is straight, at stated scales."""
    opened = [(quad, rasterio.open(path)) for quad, path in paths]
    sheet, affine = mosaic(
        lambda _, span, handle: handle.read([1, 2, 3], window=span),
        [(quad, raster, raster.transform, raster.shape) for quad, raster in opened],
        footprint,
    )
    return exact(sheet, affine, opened[0][0]["epsg"], footprint)


def exact(sheet: NDArray[Any], affine: rasterio.Affine, epsg: int, footprint: Footprint) -> Image:
    """Warp in strips of 67 columns, with the scales of the middle."""
    from pipelines.sources.lattice import Lattice  # noqa: PLC0415 - the oracle only

    lattice = Lattice(f"EPSG:{epsg}", affine.c, affine.f, affine.a, -affine.e)
    east, north = lattice.step(footprint, HR_PIXELS)
    whole, output = grid(footprint), np.zeros((3, HR_PIXELS, HR_PIXELS), np.uint8)
    for left in range(0, HR_PIXELS, 67):
        strip = np.zeros((3, HR_PIXELS, 67), np.uint8)
        reproject(
            sheet,
            strip,
            src_transform=affine,
            src_crs=f"EPSG:{epsg}",
            dst_transform=whole * rasterio.Affine.translation(left, 0),
            dst_crs="EPSG:4326",
            resampling=Resampling.bilinear,
            warp_mem_limit=512,
            XSCALE=min(1.0, 1 / east),
            YSCALE=min(1.0, 1 / north),
        )
        output[:, :, left : left + 67] = strip
    return output


def windows_one_reproject(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> Image:
    """rasterio: a window of each quad over /vsicurl, one reproject."""
    with rasterio.Env(**GDAL):
        opened = [(quad, rasterio.open(f"{base}/{quad['path']}")) for quad in quads]
        sheet, affine = mosaic(
            lambda _, span, raster: raster.read([1, 2, 3], window=span),
            [(quad, raster, raster.transform, raster.shape) for quad, raster in opened],
            footprint,
        )
        return warp(sheet, affine, quads[0]["epsg"], footprint)


def warped_vrt(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> Image:
    """rasterio: one WarpedVRT over a VRT of the quads."""
    import subprocess  # noqa: PLC0415 - one peer's
    import tempfile  # noqa: PLC0415 - one peer's

    with tempfile.NamedTemporaryFile(suffix=".vrt") as file, rasterio.Env(**GDAL):
        paths = [f"/vsicurl/{base}/{quad['path']}" for quad in reversed(quads)]
        options = [word for key, value in GDAL.items() for word in ("--config", key, str(value))]
        bands = ["-b", "1", "-b", "2", "-b", "3"]
        command = ["gdalbuildvrt", "-q", "-overwrite", *options, *bands, file.name, *paths]
        subprocess.run(command, check=True)
        with (
            rasterio.open(file.name) as virtual,
            WarpedVRT(
                virtual,
                crs="EPSG:4326",
                transform=grid(footprint),
                width=HR_PIXELS,
                height=HR_PIXELS,
                resampling=Resampling.bilinear,
                warp_mem_limit=512,
            ) as warped,
        ):
            pixels: Image = warped.read()
            return pixels


def with_rioxarray(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> Image:
    """rioxarray: clip each quad, merge, reproject once."""
    import rioxarray  # noqa: PLC0415 - a peer
    from rioxarray.merge import merge_arrays  # noqa: PLC0415 - a peer

    with rasterio.Env(**GDAL):
        parts = [
            rioxarray.open_rasterio(f"{base}/{quad['path']}")[:3].rio.clip_box(*window(quad, footprint))
            for quad in quads
        ]
        whole = merge_arrays(parts) if len(parts) > 1 else parts[0]
        shown = whole.rio.reproject(
            "EPSG:4326",
            transform=grid(footprint),
            shape=(HR_PIXELS, HR_PIXELS),
            resampling=Resampling.bilinear,
        )
        return np.asarray(shown.values, np.uint8)


def stac_item(base: str, quad: dict[str, Any]) -> Any:
    """A STAC item of one quad, with what the loaders need to open nothing beforehand."""
    import pystac  # noqa: PLC0415 - peers only

    bounds = list(quad["bounds"])
    item = pystac.Item(
        quad["path"],
        shapely.geometry.mapping(shapely.box(*bounds)),
        bounds,
        None,
        {
            "start_datetime": "2023-06-01T00:00:00Z",
            "end_datetime": "2023-06-01T00:00:00Z",
            "datetime": "2023-06-01T00:00:00Z",
            "proj:epsg": quad["epsg"],
            "proj:code": f"EPSG:{quad['epsg']}",
            "proj:transform": quad["transform"],
            "proj:shape": quad["shape"],
        },
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
    )
    bands = [{"name": name, "common_name": name} for name in ("red", "green", "blue", "nir")]
    asset = pystac.Asset(f"{base}/{quad['path']}", media_type=pystac.MediaType.COG, roles=["data"])
    asset.extra_fields = {"eo:bands": bands, "raster:bands": [{"data_type": "uint8"}] * 4}
    item.add_asset("image", asset)
    return item


def with_odc_stac(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> Image:
    """odc-stac: its own mosaic in the target grid."""
    import odc.stac  # noqa: PLC0415 - a peer
    from odc.geo.geobox import GeoBox  # noqa: PLC0415 - a peer

    odc.stac.configure_rio(cloud_defaults=True, **GDAL)
    box = GeoBox((HR_PIXELS, HR_PIXELS), grid(footprint), "EPSG:4326")
    items = [stac_item(base, quad) for quad in quads]
    shown = odc.stac.load(
        items, bands=["image.1", "image.2", "image.3"], geobox=box, resampling="bilinear", groupby="time"
    )
    return np.stack([np.asarray(shown[name].values[0], np.uint8) for name in shown.data_vars])


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@functools.cache
def _store(base: str) -> Any:
    from obstore.store import HTTPStore  # noqa: PLC0415 - a peer

    return HTTPStore.from_url(base, client_options={"allow_http": True})


_TIFFS: dict[str, Any] = {}


def with_async_geotiff(base: str, quads: list[dict[str, Any]], footprint: Footprint) -> Image:
    """async-geotiff: windows of all quads together, its headers kept; one GDAL reproject."""
    from async_geotiff import GeoTIFF  # noqa: PLC0415 - a peer
    from async_geotiff import Window as Part  # noqa: PLC0415 - a peer

    async def opened(quad: dict[str, Any]) -> Any:
        key = f"{base}/{quad['path']}"
        if key not in _TIFFS:
            _TIFFS[key] = await GeoTIFF.open(quad["path"], store=_store(base))
        return _TIFFS[key]

    async def read() -> tuple[NDArray[Any], rasterio.Affine]:
        tiffs = await asyncio.gather(*[opened(quad) for quad in quads])
        spans: list[Any] = []
        openers = [
            (quad, tiff, tiff.transform, (tiff.height, tiff.width))
            for quad, tiff in zip(quads, tiffs, strict=True)
        ]

        def note(_: dict[str, Any], span: Window, tiff: Any) -> NDArray[Any]:
            spans.append((tiff, span))
            return np.zeros((3, int(span.height), int(span.width)), np.uint8)

        mosaic(note, openers, footprint)
        read = await asyncio.gather(
            *[
                tiff.read(
                    window=Part(
                        col_off=int(span.col_off),
                        row_off=int(span.row_off),
                        width=int(span.width),
                        height=int(span.height),
                    )
                )
                for tiff, span in spans
            ]
        )
        pixels = iter([array.data[:3] for array in read])
        return mosaic(lambda *_: next(pixels), openers, footprint)

    sheet, affine = _loop().run_until_complete(read())
    return warp(sheet, affine, quads[0]["epsg"], footprint)
