"""The grids that the two sensors deliver their pixels in: NAIP quarter quads and Sentinel-2 granules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyproj import Transformer

QUARTER_DEGREES = 0.0625
"""Side of a quarter quad, degrees: 3.75 minutes."""

QUAD_MARGIN_METRES = 300.0
"""How far a quarter quad reaches beyond its nominal square on every side."""

GRANULE_METRES = 109_800
"""Side of a Sentinel-2 granule: 10,980 pixels of 10 m."""

_SQUARE_METRES = 100_000
_SNAP_METRES = 60
_COLUMN_LETTERS = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")
_ROW_LETTERS = "ABCDEFGHJKLMNPQRSTUV"
_BAND_LETTERS = "CDEFGHJKLMNPQRSTUVWXX"
_LAST_NAD83_ZONE = 23

Bounds = tuple[float, float, float, float]
"""West, south, east, north."""


def utm_zone(longitude: float) -> int:
    """UTM zone of a longitude, 1..60."""
    return min(60, int((longitude + 180) // 6) + 1)


def wgs84_utm(zone: int, latitude: float) -> int:
    """EPSG code of a zone in WGS 84."""
    return (32600 if latitude >= 0 else 32700) + zone


def naip_utm(zone: int, latitude: float) -> int:
    """EPSG code of a zone as NAIP uses it: NAD 83 where that is defined, else WGS 84."""
    if latitude >= 0 and zone <= _LAST_NAD83_ZONE:
        return 26900 + zone
    return wgs84_utm(zone, latitude)


def from_degrees(epsg: int) -> Transformer:
    """Transformer from longitude and latitude to easting and northing."""
    return Transformer.from_crs(4326, epsg, always_xy=True)


def to_degrees(epsg: int) -> Transformer:
    """Transformer from easting and northing to longitude and latitude."""
    return Transformer.from_crs(epsg, 4326, always_xy=True)


@dataclass(frozen=True, slots=True)
class PixelFrame:
    """A rectangle of pixels on the lattice of one CRS, whose pixel (0, 0) lies south-east of the origin.

    Frames of one CRS and one step share their lattice: where two overlap, they have pixels in common.
    """

    epsg: int
    step: float
    """Metres a pixel."""
    column: int
    """First column; its western edge is at column * step."""
    row: int
    """First row; its northern edge is at -row * step."""
    width: int
    height: int

    @classmethod
    def covering(cls, epsg: int, step: float, bounds: Bounds, multiple: int = 1) -> "PixelFrame":
        """The smallest frame over `bounds` (metres) whose edges are whole multiples of `multiple` pixels."""
        west, south, east, north = (value / (step * multiple) for value in bounds)
        column, row = math.floor(west) * multiple, math.floor(-north) * multiple
        width = math.ceil(east) * multiple - column
        height = math.ceil(-south) * multiple - row
        return cls(epsg, step, column, row, width, height)

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north, metres."""
        west, north = self.column * self.step, -self.row * self.step
        return (west, -(self.row + self.height) * self.step, (self.column + self.width) * self.step, north)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine in the order of `affine.Affine`: easting = a * column + c, northing = e * row + f."""
        west, _, _, north = self.bounds
        return (self.step, 0.0, west, 0.0, -self.step, north)

    def corners(self) -> list[tuple[float, float]]:
        """Longitude and latitude of the corners: south-east, north-east, north-west, south-west."""
        west, south, east, north = self.bounds
        transformer = to_degrees(self.epsg)
        longitudes, latitudes = transformer.transform([east, east, west, west], [south, north, north, south])
        return list(zip(longitudes, latitudes, strict=True))


@dataclass(frozen=True, slots=True, order=True)
class QuarterQuad:
    """One cell of the grid of 3.75 minutes, counted from longitude 0 and latitude 0."""

    row: int
    """Cells north of the equator: the southern edge is at row * QUARTER_DEGREES."""
    column: int
    """Cells east of Greenwich."""

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north, degrees."""
        west, south = self.column * QUARTER_DEGREES, self.row * QUARTER_DEGREES
        return (west, south, west + QUARTER_DEGREES, south + QUARTER_DEGREES)

    @property
    def zone(self) -> int:
        """UTM zone of the centre."""
        return utm_zone((self.column + 0.5) * QUARTER_DEGREES)

    @property
    def name(self) -> str:
        """Number of the quad and its quarter as USGS writes them: 3008501_ne.

        The degree square is named after its south-eastern corner; its 64 quads count from the north-west.
        """
        column, row = self.column // 2, self.row // 2
        latitude, from_south = divmod(row, 8)
        from_west = column % 8
        east_edge = column // 8 + 1
        number = (7 - from_south) * 8 + from_west + 1
        quarter = ("s" if self.row % 2 == 0 else "n") + ("w" if self.column % 2 == 0 else "e")
        return f"{abs(latitude):02d}{abs(east_edge):03d}{number:02d}_{quarter}"

    def frame(self, step: float) -> PixelFrame:
        """Pixels of the quarter quad with its margin."""
        west, south, east, north = self.bounds
        epsg = naip_utm(self.zone, south)
        x, y = from_degrees(epsg).transform([west, east, west, east], [south, south, north, north])
        margin = QUAD_MARGIN_METRES
        outer = (min(x) - margin, min(y) - margin, max(x) + margin, max(y) + margin)
        return PixelFrame.covering(epsg, step, outer)


def quarter_quads(centres: Sequence[tuple[float, float]], reach_degrees: float) -> list[QuarterQuad]:
    """All quarter quads within `reach_degrees` of any centre (longitude, latitude), in grid order."""
    if not len(centres):
        return []
    points = np.asarray(centres, float)
    low = np.floor((points - reach_degrees) / QUARTER_DEGREES).astype(int)
    high = np.floor((points + reach_degrees) / QUARTER_DEGREES).astype(int)
    found = {
        QuarterQuad(row, column)
        for (west, south), (east, north) in {
            (tuple(a), tuple(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)
        }
        for row in range(south, north + 1)
        for column in range(west, east + 1)
    }
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Granule:
    """One tile of the Sentinel-2 grid: a square of 100 km with its overlap to the east and the south."""

    epsg: int
    east: int
    """Hundreds of kilometres of the western edge."""
    north: int
    """Hundreds of kilometres of the southern edge of the square."""

    @property
    def name(self) -> str:
        """As in s2:mgrs_tile: 10SGJ."""
        zone = self.epsg % 100
        middle = (self.east * _SQUARE_METRES + _SQUARE_METRES / 2, (self.north + 0.5) * _SQUARE_METRES)
        _, latitude = to_degrees(self.epsg).transform(*middle)
        band = _BAND_LETTERS[int((latitude + 80) // 8)]
        column = _COLUMN_LETTERS[zone % 3][self.east - 1]
        row = _ROW_LETTERS[(self.north + (0 if zone % 2 else 5)) % 20]
        return f"{zone:02d}{band}{column}{row}"

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north of the whole granule, metres, on the lattice of 60 m."""
        west = math.floor(self.east * _SQUARE_METRES / _SNAP_METRES) * _SNAP_METRES
        north = math.ceil((self.north + 1) * _SQUARE_METRES / _SNAP_METRES) * _SNAP_METRES
        return (west, north - GRANULE_METRES, west + GRANULE_METRES, north)


def granules(bounds: Bounds, smallest_metres: float) -> list[tuple[Granule, Bounds]]:
    """Granules over a rectangle, in every UTM zone it touches.

    Args:
        bounds: west, south, east, north, degrees.
        smallest_metres: granules that meet less than this of the rectangle in either direction are left out.

    Returns:
        Each granule with the part of it that the rectangle meets, metres.
    """
    west, south, east, north = bounds
    found = []
    for zone in range(utm_zone(west), utm_zone(east) + 1):
        epsg = wgs84_utm(zone, south)
        # Granules reach into the neighbouring zone; they are listed where the rectangle meets their own.
        x, y = from_degrees(epsg).transform([west, east, west, east], [south, south, north, north])
        around = (min(x), min(y), max(x), max(y))
        for column in range(int(around[0] // _SQUARE_METRES) - 1, int(around[2] // _SQUARE_METRES) + 1):
            for row in range(int(around[1] // _SQUARE_METRES), int(around[3] // _SQUARE_METRES) + 2):
                granule = Granule(epsg, column, row)
                part = _intersection(granule.bounds, around)
                if 1 <= column <= 8 and min(part[2] - part[0], part[3] - part[1]) >= smallest_metres:  # noqa: PLR2004 - letters of a zone
                    found.append((granule, part))
    return found


def _intersection(first: Bounds, second: Bounds) -> Bounds:
    return (
        max(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        min(first[3], second[3]),
    )
