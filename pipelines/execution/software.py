"""Which software decides the bytes of a data set: the same versions give the same bytes on every machine."""

import functools
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import version

import pyproj
import rasterio
import shapely
from PIL import features

import gl10m

LIBRARIES = ("numba", "numpy", "osmium", "pillow", "pyarrow", "pyproj", "rasterio", "shapely")
"""Packages whose code places, reads, computes, encodes or writes what is published."""

PLACES = ("geos", "numpy", "osmium", "proj", "pyproj", "shapely")
"""What decides polygons, labels, footprints and the choice of items: part of the keys of those stages."""

PIXELS = ("gdal", "libjpeg-turbo", "numba", "numpy", "pillow", "rasterio")
"""What decides the bytes of an image: part of the key of every scene. pyarrow only writes them down."""


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


def versions(names: Collection[str]) -> dict[str, str]:
    """Those of `software` that decide the work of some stages, for its key.

    Args:
        names: PLACES or PIXELS.
    """
    return {name: software()[name] for name in sorted(names)}


def differences(own: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Where two sets of versions differ, in words: "pillow 11.1.0 in place of 11.3.0".

    Args:
        own: the first version that is told.
        other: the second.
    """
    return [
        f"{name} {own.get(name)} in place of {other.get(name)}"
        for name in sorted({*own, *other})
        if own.get(name) != other.get(name)
    ]
