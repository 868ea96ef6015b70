"""The 11 states of GL-10M and the codes that stand for regions (paper A.4)."""

import csv
import functools
import re
from dataclasses import dataclass

from gl10m.resources import bundled

REGION_CODE = re.compile(r"[A-Z]{2}")
"""A region is two capital letters. The 11 states of the paper are regions; with an OSM file of their own,
users may build any other."""

SCENE_ID = re.compile(r"[A-Z]{2}-[wr][0-9]{1,19}")
"""A scene is named after its region and the OSM object at its anchor: CA-w123456, ME-r98."""


@dataclass(frozen=True, slots=True)
class State:
    """One of the paper's 11 states."""

    code: str
    """Two letters: CA."""

    name: str
    """California."""

    split: str
    """train, val or test (A.4)."""

    geofabrik: str
    """Path of the state's extract at Geofabrik: us/california."""


@functools.cache
def states() -> dict[str, State]:
    """The 11 states by code, in alphabetical order, from manifests/state_split.csv."""
    with bundled("manifests", "state_split.csv").open(encoding="utf-8", newline="") as table:
        return {row["code"]: State(**row) for row in csv.DictReader(table)}


def scene_id(region: str, osm_id: str) -> str:
    """The stable name of the scene about one OSM object.

    Args:
        region: two capital letters.
        osm_id: "way/123" or "relation/5".

    Raises:
        ValueError: either is not of that form.
    """
    kind, _, number = osm_id.partition("/")
    name = f"{region}-{kind[:1]}{number}"
    if kind not in {"way", "relation"} or not SCENE_ID.fullmatch(name):
        raise ValueError(
            "a scene is named after a region such as CA and an OSM object such as way/123 or relation/5; "
            f"asked for {region!r} and {osm_id!r}"
        )
    return name


def osm_id_of(scene: str) -> str:
    """The OSM object that a scene is named after, way/123 or relation/5; the inverse of `scene_id`.

    Args:
        scene: a name of the form SCENE_ID.
    """
    return f"{'way' if scene[3] == 'w' else 'relation'}/{scene[4:]}"
