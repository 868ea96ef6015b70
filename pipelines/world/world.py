"""Renders a world: imagery and a STAC catalogue from the polygons of an OSM file."""

import hashlib
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from gl10m.manifest.parquet import replacing
from gl10m.scene.class_map import ClassMap
from gl10m.scene.footprint import FOOTPRINT_DEGREES
from gl10m.scene.states import REGION_CODE
from pipelines.stages.classes import map_classes
from pipelines.stages.polygons import read_polygons
from pipelines.world import catalogue
from pipelines.world.catalogue import IMAGERY_FOLDERS, NAIP, SENTINEL2, Item, naip_item, sentinel2_item
from pipelines.world.grids import (
    QUAD_MARGIN_METRES,
    QUARTER_DEGREES,
    Bounds,
    QuarterQuad,
    from_degrees,
    granules,
    quarter_quads,
)
from pipelines.world.landscape import Landscape
from pipelines.world.naip import Vintage, fly
from pipelines.world.sentinel2 import Acquisition, GranuleGround, observe, processing_time
from pipelines.world.sky import Sky

RECIPE = 1
"""Raised when the same polygons and parameters give other pixels than before: old files are then replaced."""

_MARGIN_DEGREES = 0.01
_SMALLEST_PART_METRES = 2_500.0
_MOST_SCATTER = 4
_METRES_A_DEGREE = 111_000
_BYTES_A_PIXEL = 1.3  # of a NAIP-like COG with its overviews, measured


class WorldTooLargeError(ValueError):
    """The polygons spread over more ground than the world may hold."""


@dataclass(frozen=True, slots=True)
class WorldParameters:
    """What is flown over the ground of a world, and when."""

    vintages: tuple[Vintage, ...] = (Vintage(date(2022, 9, 3), 1.0, hole_metres=700.0),)
    """NAIP flights; the day and the step tell them apart."""

    acquisitions: tuple[Acquisition, ...] = (
        Acquisition(date(2023, 2, 6), cloud_share=0.4),
        Acquisition(date(2023, 4, 27)),
        Acquisition(date(2023, 7, 16), swath_share=0.6, orbit=70),
        Acquisition(date(2023, 9, 4), "05.09"),
        Acquisition(date(2023, 9, 4), "05.10", date(2024, 10, 2)),
        Acquisition(date(2023, 11, 18)),
    )
    """Sentinel-2 passes; two of one day are two processings of one pass, and see the same sky."""

    standing_cloud_metres: float = 500.0
    """Radius of a cloud that stands over one place in every pass; 0 for none. Of the ground of one quarter
    quad it covers 1.1 %, so that the clear passes stay under the 2 % that a build allows."""

    most_quads: int = 24
    """Quarter quads at most; one is about 5.5 x 7 km."""

    bounds: Bounds | None = None
    """Only ground within west, south, east, north (degrees) is flown over; None for all."""

    quads: tuple[QuarterQuad, ...] = field(default=())
    """The quarter quads to fly; by default those that the footprints of the polygons touch."""


def render_world(
    polygons: pa.Table,
    out: Path,
    region: str,
    class_map: ClassMap,
    parameters: WorldParameters | None = None,
) -> None:
    """Render imagery and write its catalogue.

    A run that was cut short goes on where it stopped; finished files of the same recipe are left alone. The
    same polygons and parameters give the same bytes.

    Args:
        polygons: schema LABELLED_POLYGONS, of one region.
        out: folder of the world. Regions rendered into it before stay.
        region: two capital letters.
        class_map: names the classes of the polygons.
        parameters: what to fly; the default is one vintage at 1 m and five passes.

    Raises:
        ValueError: the region's code is not of its form, or there is no polygon.
        WorldTooLargeError: the polygons spread over more than `most_quads` quarter quads.
        OSError: the folder cannot be written.
    """
    render_region(polygons, out, region, class_map, parameters or WorldParameters())
    catalogue.assemble(out)


def world_from_osm(
    osm: Path, out: Path, region: str, class_map: ClassMap, parameters: WorldParameters | None = None
) -> None:
    """Render a world from an OSM file: what `gl10m world --osm FILE --out DIR` does.

    Args:
        osm: any OSM file, sorted or not.
        out: folder of the world.
        region: two capital letters.
        class_map: maps the objects to classes.
        parameters: what to fly.

    Raises:
        ValueError: as `render_world`, or the file is not OSM.
        WorldTooLargeError: the polygons spread over more than `most_quads` quarter quads.
        OSError: the file cannot be read or the folder cannot be written.
    """
    render_world(labelled_polygons(osm, region, class_map), out, region, class_map, parameters)


def labelled_polygons(osm: Path, region: str, class_map: ClassMap) -> pa.Table:
    """The polygons of an OSM file with their classes, schema LABELLED_POLYGONS, by the stages of the build.

    Raises:
        ValueError: the file is not OSM.
        OSError: the file cannot be read.
    """
    polygons = read_polygons(osm, region, class_map).kept
    return map_classes(polygons, region, class_map).kept


def render_region(
    polygons: pa.Table, out: Path, region: str, class_map: ClassMap, parameters: WorldParameters
) -> None:
    """As `render_world`, but leave the joint catalogue alone; regions may be rendered side by side.

    Raises:
        ValueError: the region's code is not of its form, or there is no polygon.
        WorldTooLargeError: the polygons spread over more than `most_quads` quarter quads.
        OSError: the folder cannot be written.
    """
    if not REGION_CODE.fullmatch(region):
        raise ValueError(f"a region is two capital letters, such as CA; asked for {region!r}")
    landscape = Landscape(polygons, class_map)
    quads = list(parameters.quads) or _quads_of(polygons, parameters)
    recipe = hashlib.sha256(repr((RECIPE, landscape.digest, parameters, quads)).encode()).hexdigest()
    finished = out / "regions" / f"{region}.finished"
    if _says(finished, recipe):
        return
    _begin(out, region, recipe)
    catalogue.write_part(out, region, NAIP, _fly_all(landscape, quads, out, region, parameters))
    catalogue.write_part(out, region, SENTINEL2, _pass_all(landscape, quads, out, region, parameters))
    with replacing(finished) as temporary:
        temporary.write_text(recipe, encoding="utf-8")


def _begin(out: Path, region: str, recipe: str) -> None:
    """Note by which recipe the region's files are made; files of another recipe go."""
    begun = out / "regions" / f"{region}.begun"
    if _says(begun, recipe):
        return
    (out / "regions" / f"{region}.finished").unlink(missing_ok=True)
    for name, pattern in (
        (NAIP, f"{region.lower()}_m_*.tif"),
        (SENTINEL2, f"S2*T{processing_time(region)}_*.tif"),
    ):
        for left_over in sorted((out / IMAGERY_FOLDERS[name]).glob(pattern)):
            left_over.unlink()
    with replacing(begun) as temporary:
        temporary.write_text(recipe, encoding="utf-8")


def _says(path: Path, recipe: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == recipe


def _quads_of(polygons: pa.Table, parameters: WorldParameters) -> list[QuarterQuad]:
    """Quarter quads that a footprint about any anchor touches."""
    anchors = np.column_stack([polygons["longitude"].to_numpy(), polygons["latitude"].to_numpy()])
    if parameters.bounds is not None:
        west, south, east, north = parameters.bounds
        anchors = anchors[((anchors >= (west, south)) & (anchors <= (east, north))).all(axis=1)]
    quads = quarter_quads([(float(x), float(y)) for x, y in anchors], FOOTPRINT_DEGREES / 2)
    if not quads:
        raise ValueError(
            f"a world needs ground to fly over; none of the {polygons.num_rows} polygons lies within the "
            f"bounds {parameters.bounds}. Widen them."
        )
    _check_size(quads, parameters)
    return quads


def _check_size(quads: list[QuarterQuad], parameters: WorldParameters) -> None:
    """Refuse what would fill the disk, or what lies so scattered that Sentinel-2 would fill the memory."""
    remedy = "Choose a part of the ground with --bounds, or allow more quads with --max-quads."
    if len(quads) > parameters.most_quads:
        size = len(quads) * sum(_bytes_of(vintage) * vintage.share for vintage in parameters.vintages)
        raise WorldTooLargeError(
            f"a world holds at most {parameters.most_quads} quarter quads of 3.75 minutes; these polygons "
            f"touch {len(quads)}, about {size / 1e9:.1f} GB of NAIP-like imagery. {remedy}"
        )
    rows, columns = ([getattr(quad, axis) for quad in quads] for axis in ("row", "column"))
    around = (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)
    most = _MOST_SCATTER * parameters.most_quads
    if around > most:
        raise WorldTooLargeError(
            f"the quads of a world lie together, in a rectangle of at most {most} quads; these "
            f"{len(quads)} lie scattered over {around}. {remedy}"
        )


def _bytes_of(vintage: Vintage) -> float:
    side = QUARTER_DEGREES * _METRES_A_DEGREE + 2 * QUAD_MARGIN_METRES
    return side**2 / vintage.gsd**2 * _BYTES_A_PIXEL


def _fly_all(
    landscape: Landscape, quads: list[QuarterQuad], out: Path, region: str, parameters: WorldParameters
) -> list[Item]:
    items = []
    for vintage in parameters.vintages:
        flown = vintage.flown(quads)
        for quad in flown:
            path = out / IMAGERY_FOLDERS[NAIP] / f"{vintage.name(quad, region)}.tif"
            fly(landscape, quad, vintage, path, hole=vintage.hole_metres > 0 and quad == flown[-1])
            items.append(naip_item(quad, vintage, region))
    return items


def _pass_all(
    landscape: Landscape, quads: list[QuarterQuad], out: Path, region: str, parameters: WorldParameters
) -> list[Item]:
    corners = np.array([quad.bounds for quad in quads])
    west, south = corners[:, :2].min(axis=0) - _MARGIN_DEGREES
    east, north = corners[:, 2:].max(axis=0) + _MARGIN_DEGREES
    items = []
    for granule, part in granules((west, south, east, north), _SMALLEST_PART_METRES):
        ground = GranuleGround(landscape, granule, part)
        for acquisition in parameters.acquisitions:
            sky = _sky(landscape.home, (west, south, east, north), region, acquisition, parameters)
            name = acquisition.name(granule, region)
            shares = observe(ground, acquisition, sky, out / IMAGERY_FOLDERS[SENTINEL2] / name)
            items.append(sentinel2_item(name, ground, acquisition, shares))
    return items


def _sky(
    home: int, bounds: Bounds, region: str, acquisition: Acquisition, parameters: WorldParameters
) -> Sky:
    """The sky of one pass: two processings of a pass see the same."""
    west, south, east, north = bounds
    x, y = from_degrees(home).transform([west, east], [south, north])
    seed = hashlib.sha256(f"{region} {acquisition.day.isoformat()}".encode()).digest()[:4]
    standing = (x[0] + 0.3 * (x[1] - x[0]), y[0] + 0.65 * (y[1] - y[0]), parameters.standing_cloud_metres)
    cut = acquisition.swath_share < 1
    return Sky(
        seed=int.from_bytes(seed, "little"),
        cloud_share=acquisition.cloud_share,
        standing=standing,
        edge=x[0] + acquisition.swath_share * (x[1] - x[0]) if cut else None,
        edge_north=(y[0] + y[1]) / 2,
    )
