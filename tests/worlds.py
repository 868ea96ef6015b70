"""Small OSM worlds in text, and the shapes of things for hypothesis.

A world is OPL: one object a line, `n1 x-121.0 y37.0` for a node, `w9 Nn1,n2,n3,n1 Tleisure=park` for a way,
`r5 Ttype=multipolygon,natural=water Mw9@outer` for a relation. A tag's blanks, commas and equal signs are
written as `%20%`, `%2c%` and `%3d%`.
"""

import textwrap
from pathlib import Path

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint

REAL_OSM = Path(__file__).parents[1] / "../shared/data/osm"
"""Real extracts; tests that read them skip where they are absent."""


def write_world(path: Path, text: str) -> Path:
    """Write an OSM world given in OPL, indented or not."""
    path.write_text(textwrap.dedent(text).strip() + "\n", encoding="utf-8")
    return path


def square(number: int, longitude: float, latitude: float, side: float, tags: str) -> str:
    """OPL lines of a closed way around a square.

    Args:
        number: id of the way; its nodes are 10 * number + 1 to 10 * number + 4.
        longitude: of the centre, degrees.
        latitude: of the centre, degrees.
        side: degrees.
        tags: as in OPL, "landuse=forest,name=Home".
    """
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    nodes = [
        f"n{10 * number + place} x{longitude + x * side / 2:.7f} y{latitude + y * side / 2:.7f}"
        for place, (x, y) in enumerate(corners, start=1)
    ]
    ring = ",".join(f"n{10 * number + place}" for place in (1, 2, 3, 4, 1))
    return "\n".join([*nodes, f"w{number} T{tags} N{ring}"])


def world_of(*objects: str) -> str:
    """One world of several objects, sorted as OSM files are."""
    lines = [line.strip() for text in objects for line in text.splitlines() if line.strip()]
    return "\n".join(sorted(lines, key=lambda line: ("nwr".index(line[0]), int(line.split(" ")[0][1:]))))


def footprints() -> st.SearchStrategy[Footprint]:
    """Footprints anywhere that one can stand."""
    return st.builds(
        Footprint,
        st.floats(-179.9, 179.9, allow_nan=False),
        st.floats(-84.9, 84.9, allow_nan=False),
    )


@st.composite
def blobs(draw: st.DrawFn, reach: float = 0.03) -> shapely.Polygon:
    """A polygon about the origin with up to a dozen corners, star-shaped and so always valid; degrees."""
    corners = draw(st.integers(3, 12))
    centre = draw(st.tuples(st.floats(-reach, reach), st.floats(-reach, reach)))
    radii = draw(st.lists(st.floats(0.0005, reach), min_size=corners, max_size=corners))
    angles = 2 * np.pi * np.arange(corners) / corners
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]
    return shapely.Polygon(ring + np.array(centre))


def points(most: int = 60, reach: float = 0.1) -> st.SearchStrategy[NDArray[np.float64]]:
    """Shape (n, 2): points about the origin, many of them near to each other or in one place; degrees."""
    coarse = st.integers(-20, 20).map(lambda steps: steps * reach / 20)
    place = st.one_of(st.floats(-reach, reach, allow_nan=False), coarse)
    return st.lists(st.tuples(place, place), min_size=1, max_size=most).map(np.array)
