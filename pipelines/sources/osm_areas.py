"""Areas of an OSM file: closed ways and multipolygon relations, assembled by libosmium."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import osmium
import shapely
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


def survey(
    path: Path,
    keys: Iterable[str],
    carries: Callable[[str, str], bool],
    is_line: Callable[[Mapping[str, str]], bool],
) -> Survey:
    """Find the closed ways and the relations that carry a tag of interest.

    Args:
        path: a sorted OSM file.
        keys: keys of the tags of interest; objects with none of them never reach Python.
        carries: whether a tag is of interest.
        is_line: whether a closed way with these tags is a line and no area.

    Raises:
        OsmFileError: such an object has an id below 1.
    """
    found = Survey()
    for entity in osmium.FileProcessor(str(path), WAY | RELATION).with_filter(KeyFilter(*keys)):
        tags = {tag.k: tag.v for tag in entity.tags}
        if not any(carries(key, value) for key, value in tags.items()):
            continue
        check_id(path, entity.id)
        if isinstance(entity, Way):
            _survey_way(found, entity, tags, is_line)
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
