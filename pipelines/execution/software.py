"""Which software decides the bytes of a data set: the same versions give the same bytes on every machine."""

import functools
import sys
from importlib.metadata import version

import pyproj
import rasterio
import shapely
from PIL import features

import gl10m

LIBRARIES = ("numba", "numpy", "osmium", "pillow", "pyarrow", "pyproj", "rasterio", "shapely")
"""Packages whose code places, reads, computes, encodes or writes what is published."""


@functools.cache
def software() -> dict[str, str]:
    """Versions of what decides bytes in this process; nothing of clock, host, user or number of workers."""
    return {
        "gl10m": gl10m.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **{name: version(name) for name in LIBRARIES},
        "gdal": rasterio.__gdal_version__,
        "geos": shapely.geos_version_string,
        "proj": pyproj.proj_version_str,
        "libjpeg-turbo": str(features.version("libjpeg_turbo")),
    }
