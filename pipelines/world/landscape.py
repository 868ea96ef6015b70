"""The ground of a world at any place: polygons painted over a background, largest first."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.features import rasterize

from gl10m.scene.class_map import ClassMap
from gl10m.scene.footprint import LARGEST_LATITUDE
from pipelines.world.grids import PixelFrame, from_degrees, utm_zone, wgs84_utm
from pipelines.world.ground import BACKGROUNDS, Atlas, atlas, ground_of, smooth_noise

BLOCK_PIXELS = 1280
"""Frames are rendered in blocks of the lattice, so that two frames compute a shared pixel alike.

A multiple of five: so many pixels of 2 m make one of Sentinel-2."""

Reals = NDArray[np.floating[Any]]

RELIEF = 20
"""Grey levels between valley and hill that lie over every ground."""

_MOST_MIXTURES = 250
_LONGEST_EDGE_DEGREES = 0.005
_ZONE_REACH_DEGREES = 8.0
_RELIEF_CELL_METRES = 16
_BACKGROUND_CELL_METRES = 16


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a frame, rendered at once."""

    rows: slice
    """Rows of the frame."""
    columns: slice
    """Columns of the frame."""
    frame: PixelFrame
    """The same pixels as a frame of their own."""


def blocks(frame: PixelFrame, size: int = BLOCK_PIXELS) -> Iterator[Block]:
    """Cut a frame at whole multiples of `size` pixels of its lattice, north-west first."""
    for top, height in _cuts(frame.row, frame.height, size):
        for left, width in _cuts(frame.column, frame.width, size):
            part = PixelFrame(frame.epsg, frame.step, left, top, width, height)
            rows = slice(top - frame.row, top - frame.row + height)
            columns = slice(left - frame.column, left - frame.column + width)
            yield Block(rows, columns, part)


def _cuts(first: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    at, end = first, first + length
    while at < end:
        stop = min(end, (at // size + 1) * size)
        yield at, stop - at
        at = stop


class Landscape:
    """What lies where. Every answer depends on the place alone."""

    def __init__(self, polygons: pa.Table, class_map: ClassMap) -> None:
        """Order the polygons for painting.

        Args:
            polygons: schema LABELLED_POLYGONS, at least one row.
            class_map: names the classes.

        Raises:
            ValueError: there is no polygon.
        """
        if not polygons.num_rows:
            raise ValueError(
                "a world is rendered from the labelled polygons of an OSM file, and this one has none. "
                "`gl10m candidates --osm FILE` tells why its objects were let go."
            )
        shapes = shapely.from_wkb(polygons["geometry"].to_numpy(zero_copy_only=False))
        # Small things lie on large ones; the identity settles what is equally large.
        order = np.lexsort(
            (np.asarray(polygons["osm_id"].to_pylist()), -polygons["area_m2"].to_numpy(zero_copy_only=False))
        )
        self._shapes = shapely.segmentize(shapes[order], _LONGEST_EDGE_DEGREES)
        mixtures = [tuple(ids or ()) for ids in polygons["class_ids"].to_pylist()]
        anchors = polygons["anchor_class"].to_pylist()
        self.mixtures, values = _mixtures([mixtures[k] for k in order], [anchors[k] for k in order])
        self._values = values + len(BACKGROUNDS)
        self._slugs = [concept.slug for concept in class_map.concepts]
        # The middle of the anchors: one polygon around half the globe must not move it.
        middle = tuple(float(np.median(polygons[axis].to_numpy())) for axis in ("longitude", "latitude"))
        self.home = wgs84_utm(utm_zone(middle[0]), middle[1])
        self._sheets: dict[int, tuple[NDArray[np.object_], shapely.STRtree]] = {}
        self.digest = hashlib.sha256(
            b"".join(shapely.to_wkb(self._shapes))
            + self._values.tobytes()
            + repr((self.mixtures, self._slugs)).encode()
        ).hexdigest()

    def atlas(self, winter: float) -> Atlas:
        """The grounds of this landscape between summer (0) and winter (1)."""
        return atlas([[ground_of(self._slugs[k]) for k in mixture] for mixture in self.mixtures], winter)

    def grounds(self, frame: PixelFrame) -> NDArray[np.uint16]:
        """Which ground of the atlas lies at the centre of each pixel.

        Returns:
            Shape (height, width).
        """
        shapes, tree = self._sheet(frame.epsg)
        west, south, east, north = frame.bounds
        pad = 2 * frame.step
        hits = np.sort(tree.query(shapely.box(west, south, east, north)))
        parts = shapely.clip_by_rect(shapes[hits], west - pad, south - pad, east + pad, north + pad)
        painted = np.zeros((frame.height, frame.width), np.uint16)
        solid = [
            (part, int(value))
            for part, value in zip(parts, self._values[hits], strict=True)
            if not part.is_empty
        ]
        if solid:
            rasterize(solid, out=painted, transform=Affine(*frame.transform))
        bare = painted == 0
        if bare.any():
            x, y = self._home_coordinates(frame)
            background = _lookup(_background_table(), _BACKGROUND_CELL_METRES, x, y)
            painted = np.where(bare, background, painted)
        return painted

    def pixels(self, frame: PixelFrame, looks: Sequence[Atlas]) -> list[NDArray[np.uint32]]:
        """Packed pixels of a frame without noise.

        Args:
            frame: at most one block of the lattice.
            looks: what the grounds look like; all of the same texel.

        Returns:
            One array a look, of shape (height, width); the four bytes of an element are red, green, blue and
            near infrared.
        """
        x, y = self._home_coordinates(frame)
        size = looks[0].table.shape[1]
        column = np.floor(x / looks[0].texel).astype(np.int32) % size
        row = np.floor(y / looks[0].texel).astype(np.int32) % size
        place = self.grounds(frame).astype(np.int32) * (size * size) + (row * size + column)
        relief = _lookup(_relief_table(), _RELIEF_CELL_METRES, x, y)
        return [np.take(look.table.ravel(), place) + relief for look in looks]

    def _home_coordinates(self, frame: PixelFrame) -> tuple[Reals, Reals]:
        """Pixel centres in the home zone, metres: two arrays that broadcast to (height, width).

        Patterns are laid out in one zone, so that they run on across the border to the next.
        """
        columns = (np.arange(frame.column, frame.column + frame.width) + 0.5) * frame.step
        rows = -(np.arange(frame.row, frame.row + frame.height) + 0.5) * frame.step
        if frame.epsg % 100 == self.home % 100:  # NAD 83 and WGS 84 are the same here, to the metre
            return columns[None, :], rows[:, None]
        return _bilinear(_between(frame.epsg, self.home), columns, rows, frame)

    def _sheet(self, epsg: int) -> tuple[NDArray[np.object_], shapely.STRtree]:
        """The polygons in one CRS and their index."""
        if epsg not in self._sheets:
            transformer = from_degrees(epsg)

            def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
                return np.column_stack(transformer.transform(points[:, 0], points[:, 1]))

            projected = shapely.transform(_near_zone(self._shapes, epsg % 100), project)
            self._sheets[epsg] = (projected, shapely.STRtree(projected))
        return self._sheets[epsg]


def _near_zone(shapes: NDArray[np.object_], zone: int) -> NDArray[np.object_]:
    """The shapes without what lies so far from a zone that its projection gives nonsense."""
    meridian = 6 * zone - 183
    west, east = meridian - _ZONE_REACH_DEGREES, meridian + _ZONE_REACH_DEGREES
    bounds = shapely.bounds(shapes)
    far = (bounds[:, 0] < west) | (bounds[:, 2] > east)
    near = shapes.copy()
    near[far] = shapely.clip_by_rect(shapes[far], west, -LARGEST_LATITUDE, east, LARGEST_LATITUDE)
    return near


def _mixtures(
    classes: list[tuple[int, ...]], anchors: list[int]
) -> tuple[list[tuple[int, ...]], NDArray[np.uint16]]:
    """Number the combinations of classes; where they are too many, only the anchor's class is shown."""
    numbers: dict[tuple[int, ...], int] = {}
    for alone in sorted(set(anchors)):
        numbers[(alone,)] = len(numbers)
    values = []
    for ids, anchor in zip(classes, anchors, strict=True):
        if ids not in numbers and len(numbers) + len(BACKGROUNDS) < _MOST_MIXTURES:
            numbers[ids] = len(numbers)
        values.append(numbers.get(ids, numbers[(anchor,)]))
    return list(numbers), np.asarray(values, np.uint16)


def _lookup(table: NDArray[Any], cell: int, x: Reals, y: Reals) -> NDArray[Any]:
    """Values of a table that repeats over the plane."""
    size = table.shape[0]
    found: NDArray[Any] = table[
        np.floor(y / cell).astype(np.int32) % size, np.floor(x / cell).astype(np.int32) % size
    ]
    return found


@functools.cache
def _relief_table() -> NDArray[np.uint32]:
    """Brightness added to all four bands: 512 cells of 16 m."""
    hills = smooth_noise(512, 1.6, seed=11)
    levels = np.clip(np.rint(RELIEF / 2 + hills * RELIEF / 5), 0, RELIEF).astype(np.uint32)
    return levels * np.uint32(0x01010101)


@functools.cache
def _background_table() -> NDArray[np.uint16]:
    """Which background lies where: 512 cells of 16 m."""
    height = smooth_noise(512, 1.9, seed=12)
    limits = np.quantile(height, np.arange(1, len(BACKGROUNDS)) / len(BACKGROUNDS))
    return np.digitize(height, limits).astype(np.uint16)


@functools.cache
def _between(epsg: int, home: int) -> Transformer:
    return Transformer.from_crs(epsg, home, always_xy=True)


def _bilinear(
    transformer: Transformer, columns: Reals, rows: Reals, frame: PixelFrame
) -> tuple[Reals, Reals]:
    """Coordinates in another zone, bilinear between the corners of the lattice's block: exact to a few mm.

    The corners are those of the whole block, whatever part of it is asked for, so that every frame finds the
    same coordinates.
    """
    size = BLOCK_PIXELS * frame.step
    left = np.floor(columns[0] / size) * size
    top = np.ceil(rows[0] / size) * size
    x, y = transformer.transform([left, left + size, left, left + size], [top, top, top - size, top - size])
    right, down = (columns - left) / size, (top - rows) / size
    return _blend(np.asarray(x), right, down), _blend(np.asarray(y), right, down)


def _blend(corners: Reals, right: Reals, down: Reals) -> Reals:
    upper = corners[0] + (corners[1] - corners[0]) * right
    lower = corners[2] + (corners[3] - corners[2]) * right
    blended: Reals = upper[None, :] + (lower - upper)[None, :] * down[:, None]
    return blended
