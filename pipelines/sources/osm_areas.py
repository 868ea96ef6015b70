"""Areas of an OSM file: closed ways and multipolygon relations, assembled by libosmium."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import osmium
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from osmium.area import AreaManager
from osmium.filter import EntityFilter, IdFilter, KeyFilter
from osmium.geom import WKBFactory
from osmium.index import create_map
from osmium.io import Reader
from osmium.osm import AREA, NODE, RELATION, WAY
from osmium.osm.types import Area, Relation, Way

from pipelines.sources.osm_file import check_id

RING_NODES = 4
"""A ring has three corners and comes back to the first."""

AREA_RELATIONS = frozenset({"multipolygon", "boundary"})
"""Types of relations that are areas."""


TAGS = pa.map_(pa.string(), pa.string())

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interest:
    """Which objects are of interest, by their tags."""

    keys: tuple[str, ...]
    """Keys of the tags of interest: objects with none of them are passed over."""

    carries: Callable[[str, str], bool]
    """Whether a tag with one of those keys is of interest."""

    is_line: Callable[[Mapping[str, str]], bool]
    """Whether a closed way with these tags is a line and no area."""

    deciding: frozenset[str]
    """Keys of all tags that `is_line` looks at."""


@dataclass(frozen=True, slots=True)
class FoundAreas:
    """Areas of interest of a file, or of a part of it, ways before relations, each by id."""

    ways: Ids
    """Closed ways."""

    relations: Ids
    """Relations whose rings fit together."""

    tags: Any
    """Tags of the ways, then of the relations, keys in order: a pyarrow array of type TAGS."""

    geometry: NDArray[np.object_]
    """Polygons and multipolygons in EPSG:4326, not all valid; None for a way that lacks a node."""

    valid: NDArray[np.bool_]
    """Which geometries are known to be valid; the others may be."""

    incomplete: list[int]
    """Relations of which a member way or a node is not in the file."""

    unfit: list[int]
    """Relations whose rings do not fit together."""

    lines: list[int]
    """Closed ways that are lines by their tags."""

    degenerate: list[int]
    """Closed ways of fewer than four nodes."""


@dataclass(slots=True)
class Survey:
    """The objects of a file that may be areas of interest, before any geometry."""

    ways: set[int] = field(default_factory=set)
    """Closed ways."""

    relations: set[int] = field(default_factory=set)
    """Multipolygon and boundary relations."""

    members: set[int] = field(default_factory=set)
    """Ways that those relations are made of."""

    lines: list[int] = field(default_factory=list)
    """Closed ways that are lines by their tags."""

    degenerate: list[int] = field(default_factory=list)
    """Closed ways of fewer than four nodes."""


@dataclass(frozen=True, slots=True)
class AssembledArea:
    """One area as libosmium gives it."""

    tags: dict[str, str]
    """All tags of the object but the `type` of a relation, which libosmium takes away."""

    wkb: str | None
    """Hexadecimal WKB of a multipolygon in EPSG:4326, or None where the rings do not fit together."""


Areas = dict[tuple[str, int], AssembledArea]
"""Areas by kind ("way" or "relation") and id."""


def found_areas(path: Path, interest: Interest) -> FoundAreas:
    """Read the areas of interest of a sorted file.

    Raises:
        OsmFileError: an object of interest has an id below 1.
    """
    wanted = survey(path, interest)
    areas = assemble(path, wanted)
    ways = sorted(wanted.ways)
    found = [areas.get(("way", number)) for number in ways]
    relations = relation_areas(wanted, areas)
    return FoundAreas(
        np.array(ways, np.int64),
        relations.relations,
        pa.concat_arrays([_tags(found), relations.tags]),
        np.concatenate([geometries(found), relations.geometry]),
        np.zeros(len(ways) + len(relations.relations), np.bool_),
        relations.incomplete,
        relations.unfit,
        sorted(wanted.lines),
        sorted(wanted.degenerate),
    )


def relation_areas(wanted: Survey, areas: Areas) -> FoundAreas:
    """What became of the relations of a survey.

    Args:
        wanted: the survey; its ways are passed over.
        areas: what was assembled.
    """
    found = {number: areas.get(("relation", number)) for number in sorted(wanted.relations)}
    whole = {number: area for number, area in found.items() if area is not None and area.wkb}
    return FoundAreas(
        np.empty(0, np.int64),
        np.array(list(whole), np.int64),
        _tags(whole.values()),
        geometries(whole.values()),
        np.zeros(len(whole), np.bool_),
        incomplete=[number for number, area in found.items() if area is None],
        unfit=[number for number, area in found.items() if area is not None and area.wkb is None],
        lines=[],
        degenerate=[],
    )


def _tags(areas: Iterable[AssembledArea | None]) -> Any:  # noqa: ANN401 - stubs lack maps
    return pa.array([sorted(area.tags.items()) if area is not None else [] for area in areas], TAGS)


def geometries(areas: Iterable[AssembledArea | None]) -> NDArray[np.object_]:
    """Geometry of each area, None where there is none."""
    wkb = np.array([area.wkb if area is not None else None for area in areas], dtype=object)
    return np.asarray(shapely.from_wkb(wkb))


def survey(path: Path, interest: Interest) -> Survey:
    """Find the closed ways and the relations that carry a tag of interest.

    Args:
        path: a sorted OSM file.
        interest: which; objects with none of its keys never reach Python.

    Raises:
        OsmFileError: such an object has an id below 1.
    """
    found = Survey()
    for entity in osmium.FileProcessor(str(path), WAY | RELATION).with_filter(KeyFilter(*interest.keys)):
        tags = {tag.k: tag.v for tag in entity.tags}
        if not any(interest.carries(key, value) for key, value in tags.items()):
            continue
        check_id(path, entity.id)
        if isinstance(entity, Way):
            _survey_way(found, entity, tags, interest.is_line)
        elif isinstance(entity, Relation) and tags.get("type") in AREA_RELATIONS:
            found.relations.add(entity.id)
            found.members.update(member.ref for member in entity.members if member.type == "w")
    return found


def _survey_way(
    found: Survey, way: Way, tags: Mapping[str, str], is_line: Callable[[Mapping[str, str]], bool]
) -> None:
    if not way.nodes or not way.is_closed():
        return
    if len(way.nodes) < RING_NODES:
        found.degenerate.append(way.id)
    elif is_line(tags):
        found.lines.append(way.id)
    else:
        found.ways.add(way.id)


class _Collector:
    """Takes the areas from libosmium, which calls `area` for each."""

    def __init__(self, wanted: Survey) -> None:
        self.areas: Areas = {}
        self._wanted = wanted
        self._wkb = WKBFactory()

    def area(self, area: Area) -> None:
        number, from_way = area.orig_id(), area.from_way()
        if number not in (self._wanted.ways if from_way else self._wanted.relations):
            return
        whole = area.num_rings()[0] > 0  # libosmium gives areas without rings where assembly failed
        self.areas["way" if from_way else "relation", number] = AssembledArea(
            {tag.k: tag.v for tag in area.tags},
            self._wkb.create_multipolygon(area) if whole else None,
        )


class _Rings:
    """Takes closed ways as they stand, for a repair of what libosmium could not assemble."""

    def __init__(self) -> None:
        self.areas: Areas = {}

    def way(self, way: Way) -> None:
        if all(node.location.valid() for node in way.nodes):
            ring = shapely.Polygon([(node.lon, node.lat) for node in way.nodes])
            self.areas["way", way.id] = AssembledArea(
                {tag.k: tag.v for tag in way.tags}, shapely.to_wkb(ring, hex=True)
            )


def assemble(path: Path, wanted: Survey) -> Areas:
    """Build the areas that a survey found.

    Args:
        path: the sorted OSM file that was surveyed.
        wanted: what to build.

    Returns:
        Objects whose nodes and ways are all in the file. A closed way that crosses itself is there as it
        stands, invalid; a relation whose rings do not fit together is there without a geometry.
    """
    manager, filename = AreaManager(), str(path)
    if wanted.relations:
        chosen = IdFilter(wanted.relations)
        with Reader(filename, RELATION) as reader:
            osmium.apply(reader, chosen, manager.first_pass_handler())
    locations = create_map("flex_mem")
    with_locations = osmium.NodeLocationsForWays(locations)
    with_locations.ignore_errors()
    collector, only_areas = _Collector(wanted), EntityFilter(AREA)
    needed = IdFilter(wanted.ways | wanted.members)
    needed.enable_for(WAY)
    with Reader(filename, NODE | WAY) as reader:
        osmium.apply(reader, needed, with_locations, manager.second_pass_handler(only_areas, collector))
    built = {number for (kind, number), area in collector.areas.items() if kind == "way" and area.wkb}
    refused, rings = IdFilter(wanted.ways - built), _Rings()
    if wanted.ways - built:
        with Reader(filename, WAY) as reader:
            osmium.apply(reader, refused, with_locations, rings)
    return collector.areas | rings.areas
