"""Writes drawn features as a sorted OSM file: nodes, then ways, then relations, each by ascending id."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import osmium
from osmium.osm import mutable

from gl10m.manifest.parquet import replacing

Point = tuple[float, float]
"""Longitude and latitude, degrees."""

DECIMALS = 7
"""OSM keeps coordinates to 1e-7 degrees; points that agree to that are one node."""

MISSING_WAY = 1
"""Id of a way that no file of ours holds: what a relation cut at an extract's edge refers to."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One object of the map."""

    tags: Mapping[str, str]
    rings: tuple[tuple[Point, ...], ...]
    """The outer ring, then its holes; none of them closed by a repeated point. An open line has one ring."""
    closed: bool = True
    """False for a line."""
    pieces: int = 1
    """Ways that the outer ring is cut into; more than one makes a relation."""
    hole_tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the holes' own ways."""
    broken: bool = False
    """Whether one member of the relation is missing."""

    @property
    def is_relation(self) -> bool:
        """Whether it takes a multipolygon to say it."""
        return len(self.rings) > 1 or self.pieces > 1 or self.broken


class _Numbers:
    """Gives out ids and collects what carries them."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.nodes: dict[Point, int] = {}
        self.ways: list[tuple[list[int], Mapping[str, str]]] = []
        self.relations: list[tuple[list[tuple[str, int, str]], Mapping[str, str]]] = []

    def node(self, point: Point) -> int:
        rounded = (round(point[0], DECIMALS), round(point[1], DECIMALS))
        return self.nodes.setdefault(rounded, self._first + len(self.nodes))

    def way(self, points: Iterable[Point], tags: Mapping[str, str]) -> int:
        self.ways.append(([self.node(point) for point in points], tags))
        return self._first + len(self.ways) - 1

    def add(self, feature: Feature) -> None:
        outer = feature.rings[0]
        if not feature.is_relation:
            self.way((*outer, outer[0]) if feature.closed else outer, feature.tags)
            return
        members = [("w", self.way(piece, {}), "outer") for piece in _cut((*outer, outer[0]), feature.pieces)]
        members += [
            ("w", self.way((*hole, hole[0]), feature.hole_tags), "inner") for hole in feature.rings[1:]
        ]
        if feature.broken:
            members[0] = ("w", MISSING_WAY, "outer")
        self.relations.append((members, {"type": "multipolygon", **feature.tags}))


def _cut(ring: tuple[Point, ...], pieces: int) -> list[tuple[Point, ...]]:
    """Cut a closed ring into ways that share their end points."""
    borders = [round(k * (len(ring) - 1) / pieces) for k in range(pieces + 1)]
    return [ring[a : b + 1] for a, b in itertools.pairwise(borders)]


def write_osm(path: Path, features: Iterable[Feature], first_id: int) -> None:
    """Write a sorted OSM file; the same features give the same bytes.

    Args:
        path: the file; its name says the format (.osm.pbf).
        features: in any order; ids are given in this order.
        first_id: of the nodes, of the ways and of the relations alike.

    Raises:
        OSError: the folder cannot be written.
    """
    numbers = _Numbers(first_id)
    for feature in features:
        numbers.add(feature)
    with replacing(path) as temporary, osmium.SimpleWriter(str(temporary)) as writer:
        for point, number in numbers.nodes.items():
            writer.add_node(mutable.Node(id=number, version=1, location=point))
        for place, (nodes, tags) in enumerate(numbers.ways):
            writer.add_way(mutable.Way(id=first_id + place, version=1, nodes=nodes, tags=dict(tags)))
        for place, (members, tags) in enumerate(numbers.relations):
            writer.add_relation(
                mutable.Relation(id=first_id + place, version=1, members=members, tags=dict(tags))
            )
