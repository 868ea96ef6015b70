"""Lays out one state's piece of the demo world: towns, fields and woods, drawn as features of a map."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.class_map import ClassMap
from pipelines.world.osm_writer import Feature, Point
from pipelines.world.plan import RURAL_ZONES, SHAPES, SITES, URBAN_ZONES, ZONES, Shape, Site, Zone

SITE_DEGREES = 0.125
"""Side of a site: two quarter quads."""

MARGIN_DEGREES = 0.005
"""How far the map reaches beyond the imagery: what lies there has no coverage."""

ZONE_METRES = 1440.0
LOT_METRES = 120.0
"""A zone is divided into lots, of which each thing takes as many as it needs."""

_METRES_A_DEGREE = 111_200.0
_TOWN_RADIUS_METRES = 3200.0
_TRIES = 12
_BUILT_SHARE = 0.4  # of the plan's counts: keeps the labels of a footprint near the paper's 6.2
_COURTYARD_CHANCE = 0.12
_COURTYARD_METRES = 60.0

Ring = NDArray[np.float64]
"""Shape (n, 2): metres east and north of the south-western corner, not closed."""


@dataclass(frozen=True, slots=True)
class _Plane:
    """Metres east and north of a site's south-western corner, near enough to degrees for a demo."""

    west: float
    south: float

    def degrees(self, ring: Ring) -> tuple[Point, ...]:
        shrink = math.cos(math.radians(self.south + SITE_DEGREES / 2))
        longitudes = self.west + ring[:, 0] / (_METRES_A_DEGREE * shrink)
        latitudes = self.south + ring[:, 1] / _METRES_A_DEGREE
        return tuple(zip(longitudes.tolist(), latitudes.tolist(), strict=True))


class _Tags:
    """Tags of each class: the examples of the class map that hold for a way of the given size."""

    def __init__(self, class_map: ClassMap) -> None:
        self._class_map = class_map
        self._concepts = {concept.slug: concept for concept in class_map.concepts}

    def draw(self, slug: str, area_m2: float, generator: np.random.Generator) -> Mapping[str, str]:
        """Tags for one thing; the rules that stand first in the map are the common ones."""
        concept = self._concepts[slug]
        fitting = [
            dict(rule.example)
            for rule in concept.rules
            if rule.example
            and concept.id in self._class_map.match(rule.example, closed_way=True, area_m2=area_m2).class_ids
        ]
        if not fitting:
            return {}
        weights = 0.5 ** np.arange(len(fitting))
        return fitting[int(generator.choice(len(fitting), p=weights / weights.sum()))]


def _box(length: float, width: float, generator: np.random.Generator) -> Ring:
    del generator
    return np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2


def _ellipse(length: float, width: float, generator: np.random.Generator) -> Ring:
    del generator
    angles = np.arange(24) * (2 * np.pi / 24)
    return np.column_stack([np.cos(angles) * length, np.sin(angles) * width]) / 2


def _blob(length: float, width: float, generator: np.random.Generator) -> Ring:
    angles = np.arange(32) * (2 * np.pi / 32)
    phases, radius = generator.uniform(0, 2 * np.pi, 4), np.full(32, 0.82)
    for wave, phase in enumerate(phases, start=2):
        radius += 0.18 / wave * np.cos(wave * angles + phase)
    east, north = radius * np.cos(angles) * length / 2, radius * np.sin(angles) * width / 2
    return np.column_stack([east, north])


_FORMS: dict[str, Callable[[float, float, np.random.Generator], Ring]] = {
    "box": _box,
    "ellipse": _ellipse,
    "blob": _blob,
}


def area_of(ring: Ring) -> float:
    """Area of a ring, square metres."""
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


class SiteMap:
    """Draws one site. The region's code alone decides what comes out."""

    def __init__(self, region: str, class_map: ClassMap) -> None:
        """Choose the place and the towns.

        Args:
            region: one of SITES.
            class_map: gives the tags.
        """
        self._site: Site = SITES[region]
        self._tags = _Tags(class_map)
        seed = int.from_bytes(hashlib.sha256(f"site {region}".encode()).digest()[:8], "little")
        self._generator = np.random.default_rng(seed)
        self._plane = _Plane(self._site.west, self._site.south)
        shrink = math.cos(math.radians(self._site.south + SITE_DEGREES / 2))
        self._size = np.array([shrink, 1.0]) * SITE_DEGREES * _METRES_A_DEGREE
        self._margin = MARGIN_DEGREES * _METRES_A_DEGREE
        self._towns = self._generator.uniform(0.2, 0.8, (2, 2)) * self._size

    def features(self) -> Iterator[Feature]:
        """All objects of the site, in an order that never changes."""
        counts = np.ceil((self._size + 2 * self._margin) / ZONE_METRES).astype(int)
        for row in range(counts[1]):
            for column in range(counts[0]):
                corner = np.array([column, row]) * ZONE_METRES - self._margin
                yield from self._zone(ZONES[self._zone_at(corner + ZONE_METRES / 2)], corner)
        yield self._river()
        yield from self._broken_things()

    def _zone_at(self, middle: NDArray[np.float64]) -> str:
        distance = float(np.hypot(*(self._towns - middle).T).min())
        urban = self._generator.random() < math.exp(-((distance / _TOWN_RADIUS_METRES) ** 2))
        weights = URBAN_ZONES if urban else RURAL_ZONES[self._site.climate]
        share = np.array(list(weights.values())) / sum(weights.values())
        return list(weights)[int(self._generator.choice(len(share), p=share))]

    def _zone(self, zone: Zone, corner: NDArray[np.float64]) -> Iterator[Feature]:
        middle = corner + ZONE_METRES / 2
        for slug, chance in zone.grounds.items():
            if self._generator.random() < chance:
                size = self._generator.uniform(0.85, 0.97, 2) * ZONE_METRES
                yield from self._thing(slug, middle, (size[0], size[1]), 0.0)
        lots = np.zeros((round(ZONE_METRES / LOT_METRES),) * 2, bool)
        for slug, mean in zone.things.items():
            for _ in range(int(self._generator.poisson(mean * _BUILT_SHARE))):
                yield from self._placed(slug, corner, lots)
        if zone.streets:
            yield from self._streets(corner, lots)

    def _placed(self, slug: str, corner: NDArray[np.float64], lots: NDArray[np.bool_]) -> Iterator[Feature]:
        """Put one thing on free lots; where there is no room, there is no thing."""
        shape: Shape = SHAPES[slug]
        length = self._generator.uniform(*shape.length)
        width = length * self._generator.uniform(*shape.aspect)
        size = (width, length) if self._generator.random() < 0.5 else (length, width)  # noqa: PLR2004 - a coin
        columns, rows = (min(lots.shape[0], math.ceil(side / LOT_METRES)) for side in size)
        for _ in range(_TRIES):
            left = int(self._generator.integers(0, lots.shape[1] - columns + 1))
            bottom = int(self._generator.integers(0, lots.shape[0] - rows + 1))
            taken = lots[bottom : bottom + rows, left : left + columns]
            if not taken.any():
                taken[:] = True
                room = np.array([columns, rows]) * LOT_METRES
                slack = np.maximum(0.0, room - size)
                offset = room / 2 + (self._generator.random(2) - 0.5) * slack * 0.8
                middle = corner + np.array([left, bottom]) * LOT_METRES + offset
                turn = self._generator.uniform(-0.12, 0.12) if min(slack) > 0.25 * max(size) else 0.0
                yield from self._thing(slug, middle, size, turn)
                return

    def _thing(
        self, slug: str, middle: NDArray[np.float64], size: tuple[float, float], turn: float
    ) -> Iterator[Feature]:
        ring = _FORMS[SHAPES[slug].form](*size, self._generator)
        cosine, sine = math.cos(turn), math.sin(turn)
        placed = ring @ np.array([[cosine, sine], [-sine, cosine]]) + middle
        tags = self._tags.draw(slug, area_of(ring), self._generator)
        if not tags:
            return
        rings = [self._plane.degrees(placed)]
        hole_tags: Mapping[str, str] = {}
        if slug == "forest" and min(size) > ZONE_METRES / 2:
            clearing = _blob(260.0, 180.0, self._generator) + middle + self._generator.uniform(-200, 200, 2)
            rings.append(self._plane.degrees(clearing))
            hole_tags = self._tags.draw("pond", area_of(clearing), self._generator)
        elif min(size) > _COURTYARD_METRES and self._generator.random() < _COURTYARD_CHANCE:
            rings.append(self._plane.degrees((placed - middle) * 0.3 + middle))
        pieces = 3 if len(rings) > 1 and len(ring) > 8 else 1  # noqa: PLR2004 - a box stays whole
        yield Feature(tags, tuple(rings), pieces=pieces, hole_tags=hole_tags)

    def _streets(self, corner: NDArray[np.float64], lots: NDArray[np.bool_]) -> Iterator[Feature]:
        """Lines between the lots, and houses on those that are free: neither has a class."""
        for street in range(0, lots.shape[0], 3):
            along = np.array([[0.0, street * LOT_METRES], [ZONE_METRES, street * LOT_METRES]]) + corner
            yield Feature({"highway": "residential"}, (self._plane.degrees(along),), closed=False)
        for row, column in np.argwhere(~lots)[::4]:
            middle = corner + (np.array([column, row]) + 0.5) * LOT_METRES
            ring = _box(16.0, 11.0, self._generator) + middle
            yield Feature({"building": "house"}, (self._plane.degrees(ring),))

    def _river(self) -> Feature:
        """A river from the south to the north, its bank in several ways of one relation."""
        y = np.linspace(-self._margin, self._size[1] + self._margin, 60)
        phase, swing = self._generator.uniform(0, 2 * np.pi), self._generator.uniform(400, 900)
        x = self._size[0] * self._generator.uniform(0.3, 0.7) + swing * np.sin(y / 2300 + phase)
        half = 22 + 10 * np.sin(y / 700)
        banks = np.concatenate([np.column_stack([x - half, y]), np.column_stack([x + half, y])[::-1]])
        tags = self._tags.draw("river", area_of(banks), self._generator)
        return Feature(tags, (self._plane.degrees(banks),), pieces=4)

    def _broken_things(self) -> Iterator[Feature]:
        """What real maps hold as well: objects that are no valid area."""

        def at(x: float, y: float, ring: Ring) -> tuple[Point, ...]:
            return self._plane.degrees(ring + self._size * (x, y))

        square = _box(80.0, 80.0, self._generator)
        crossing = square[[0, 2, 1, 3]]
        crumb = _box(2.0, 1.5, self._generator)
        yield Feature({"leisure": "park", "name": "Crossed Banks Park"}, (at(0.31, 0.43, crossing),))
        yield Feature({"natural": "wood"}, (at(0.66, 0.61, square * 3),), pieces=2, broken=True)
        yield Feature({"amenity": "parking"}, (at(0.52, 0.37, crumb),))
        yield Feature({"leisure": "swimming_pool"}, (at(0.44, 0.71, crumb),))
        yield Feature({"leisure": "park", "area": "no"}, (at(0.73, 0.28, square),))
        yield Feature({"highway": "tertiary"}, (at(0.27, 0.66, square * 2),))
        yield Feature({"landuse": "forest", "boundary": "administrative"}, (at(0.5, 0.5, square * 8),))
