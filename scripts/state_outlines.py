"""Makes gl10m/report/page/outlines/states.json: the outlines of the 48 states and DC for the report's map.

Source: the npm package us-atlas 3.0.1 (ISC), states-10m.json, made of public-domain files of the U.S. Census
Bureau. Borders are simplified arc by arc, so that neighbours keep a common border.

    npm pack us-atlas@3.0.1 && tar xzf us-atlas-3.0.1.tgz
    python -m scripts.state_outlines package/states-10m.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from gl10m.report.page.projection import ALBERS

TARGET = Path(__file__).parents[1] / "gl10m" / "report" / "page" / "outlines" / "states.json"

TOLERANCE_KM = 4
"""The map shows the United States on some 1,000 pixels: 5 km each."""

SMALLEST_RING_KM2 = 60
"""Islands smaller than this would be a point."""

NOT_DRAWN = {"02", "15", "60", "66", "69", "72", "78"}
"""FIPS codes outside of the conterminous United States, where NAIP does not fly."""

CODES = {
    "01": "AL", "04": "AZ", "05": "AR", "06": "CA", "08": "CO", "09": "CT", "10": "DE", "11": "DC",
    "12": "FL", "13": "GA", "16": "ID", "17": "IL", "18": "IN", "19": "IA", "20": "KS", "21": "KY",
    "22": "LA", "23": "ME", "24": "MD", "25": "MA", "26": "MI", "27": "MN", "28": "MS", "29": "MO",
    "30": "MT", "31": "NE", "32": "NV", "33": "NH", "34": "NJ", "35": "NM", "36": "NY", "37": "NC",
    "38": "ND", "39": "OH", "40": "OK", "41": "OR", "42": "PA", "44": "RI", "45": "SC", "46": "SD",
    "47": "TN", "48": "TX", "49": "UT", "50": "VT", "51": "VA", "53": "WA", "54": "WV", "55": "WI",
    "56": "WY",
}  # fmt: skip
"""Postal codes by FIPS code."""


def main() -> None:
    """Write the outlines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("topology", type=Path, help="states-10m.json of us-atlas")
    found = outlines(json.loads(parser.parse_args().topology.read_text(encoding="utf-8")))
    text = json.dumps(found, separators=(",", ":"))
    TARGET.write_text(text + "\n", encoding="utf-8")
    print(f"{TARGET.name}: {len(found)} outlines, {len(text):,} bytes")


def outlines(topology: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Outer rings of each state by its postal code, in the order of the codes.

    Raises:
        ValueError: the file holds other states than CODES, or one too small to be drawn.
    """
    states = {state["id"]: state for state in topology["objects"]["states"]["geometries"]}
    if different := states.keys() - NOT_DRAWN ^ CODES.keys():
        raise ValueError(f"the 48 states and DC are drawn; the file differs in FIPS {sorted(different)}")
    arcs = [_simplified(arc) for arc in _arcs_km(topology)]
    found = {code: _rings(states[fips], arcs) for fips, code in CODES.items()}
    if gone := [code for code, rings in found.items() if not rings]:
        raise ValueError(f"every state has a ring of {SMALLEST_RING_KM2} km2; {gone} have none. Lower it.")
    return dict(sorted(found.items()))


def _arcs_km(topology: dict[str, Any]) -> list[NDArray[np.float64]]:
    """Each arc, shape (points, 2), kilometres in the map's projection."""
    scale, shift = topology["transform"]["scale"], topology["transform"]["translate"]
    project = Transformer.from_crs("OGC:CRS84", ALBERS, always_xy=True)
    found = []
    for arc in topology["arcs"]:
        degrees = np.cumsum(np.array(arc), axis=0) * scale + shift
        found.append(np.stack(project.transform(*degrees.T), axis=1) / 1000)
    return found


def _simplified(arc: NDArray[np.float64]) -> NDArray[np.int64]:
    line = shapely.simplify(shapely.LineString(arc), TOLERANCE_KM, preserve_topology=False)
    return shapely.get_coordinates(line).round().astype(np.int64)


def _rings(state: dict[str, Any], arcs: list[NDArray[np.int64]]) -> list[list[int]]:
    """Outer rings of a state as x, y, x, y, ... in whole kilometres."""
    polygons = [state["arcs"]] if state["type"] == "Polygon" else state["arcs"]
    rings = []
    for polygon in polygons:
        parts = [arcs[number] if number >= 0 else arcs[~number][::-1] for number in polygon[0]]
        ring = np.concatenate([part[1:] for part in parts])
        if len(ring) > 3 and shapely.Polygon(ring).area >= SMALLEST_RING_KM2:  # noqa: PLR2004 - a triangle
            rings.append(ring.reshape(-1).tolist())
    return rings


if __name__ == "__main__":
    main()
