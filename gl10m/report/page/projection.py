"""From degrees to the plane of the report's map."""

import functools
import json
from importlib.resources import files
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

ALBERS: Final = "EPSG:5070"
"""Equal-area conic of the conterminous United States: the map that its readers know."""

CONTERMINOUS: Final = (-125.0, 24.0, -66.0, 50.0)
"""West, south, east, north, degrees: where ALBERS and the outlines of the states serve."""


def plane_of(longitudes: NDArray[np.float64], latitudes: NDArray[np.float64]) -> tuple[str, bool]:
    """The projection for some points: ALBERS where they fit, else an equal-area one about their middle.

    Returns:
        The CRS, and True where the outlines of the states belong on the map.
    """
    west, south, east, north = CONTERMINOUS
    inside = (longitudes >= west) & (longitudes <= east) & (latitudes >= south) & (latitudes <= north)
    if inside.all():
        return ALBERS, True
    longitude, latitude = float(np.median(longitudes)), float(np.median(latitudes))
    return f"+proj=laea +lon_0={longitude:.4f} +lat_0={latitude:.4f} +datum=WGS84 +units=m", False


def project(crs: str, degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on the map.

    Args:
        crs: as of `plane_of`.
        degrees: shape (n, 2), longitude and latitude, EPSG:4326.

    Returns:
        Shape (n, 2), kilometres east and north; infinite where a point has no place on the map.
    """
    to_plane = Transformer.from_crs("OGC:CRS84", crs, always_xy=True)
    return np.stack(to_plane.transform(degrees[:, 0], degrees[:, 1]), axis=1) / 1000


def project_geometry(crs: str, geometry: shapely.Geometry) -> shapely.Geometry:
    """A geometry in degrees as one in kilometres."""
    projected: shapely.Geometry = shapely.transform(geometry, lambda points: project(crs, points))
    return projected


@functools.cache
def state_outlines() -> dict[str, list[list[int]]]:
    """Outer rings of the 48 states and DC by postal code: x, y, x, y, ... in kilometres of ALBERS.

    Made by scripts/state_outlines.py; the licence stands beside them, in outlines/NOTICE.txt.
    """
    text = files("gl10m.report.page").joinpath("outlines", "states.json").read_text(encoding="utf-8")
    outlines: dict[str, list[list[int]]] = json.loads(text)
    return outlines
