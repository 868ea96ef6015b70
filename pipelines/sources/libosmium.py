"""All that libosmium does with a user's file. Runs in a child of `isolated`; answers in columns of bytes.

The functions find facts and judge nothing: the callers in `osm_file` and `osm_areas` do.
"""

import itertools
import math
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping

import osmium
from osmium.area import AreaManager
from osmium.filter import EntityFilter, IdFilter, KeyFilter
from osmium.geom import WKBFactory
from osmium.index import create_map
from osmium.io import Reader
from osmium.osm import ALL, AREA, NODE, NOTHING, RELATION, WAY
from osmium.osm.types import Area, Node, OSMEntity, Relation, Way

RING_NODES = 4
"""A ring has three corners and comes back to the first."""

MOST_NODES = 2000
"""Nodes of a way at most, by the rules of OpenStreetMap. What looks at crossings takes the square of them."""

AREA_RELATIONS = frozenset({"multipolygon", "boundary"})
"""Types of relations that are areas."""

LARGEST_ID = 1 << 40
"""Ids of OpenStreetMap stand at 2^34. libosmium's sets of ids take memory by the largest one they hold."""

NO_GEOMETRY = -1
"""Length of the WKB of an area whose rings do not fit together."""

ORDER = struct.Struct("<????q")
"""Several versions of objects; in order by the header; any object; in order; the first odd id, or 0."""

_ORDER = {"n": 0, "w": 1, "r": 2}

_Found = tuple[list[tuple[str, str]], bytes | None]


def order(path: str) -> Iterator[bytes]:
    """Whether the header says or a reading shows that the objects of a file are in order: ORDER."""
    with Reader(path, NOTHING) as reader:
        header = reader.header()
    if header.has_multiple_object_versions:
        yield ORDER.pack(True, False, False, False, 0)  # noqa: FBT003 - a record
    elif "Type_then_ID" in {
        header.get("sorting"),
        header.get("pbf_optional_feature_0").removeprefix("Sort."),
    }:
        yield ORDER.pack(False, True, True, True, 0)  # noqa: FBT003
    else:
        yield _order_read(path)


def _order_read(path: str) -> bytes:
    places = ((_ORDER.get(entity.type_str(), 3), entity.id) for entity in osmium.FileProcessor(path, ALL))
    first = next(places, None)
    in_order = True
    for before, after in itertools.pairwise(itertools.chain([first] if first else [], places)):
        if not 1 <= before[1] <= LARGEST_ID:
            return ORDER.pack(False, False, True, False, before[1])  # noqa: FBT003
        in_order = in_order and before < after
    return ORDER.pack(False, False, first is not None, in_order, 0)  # noqa: FBT003


def sort(path: str, copy: str) -> Iterator[bytes]:
    """Write a sorted copy of a file, which is held in memory as a whole. Answers nothing."""
    merged = osmium.MergeInputReader()
    merged.add_file(path)
    with osmium.SimpleWriter(copy) as writer:
        merged.apply(writer, simplify=True)
    yield from ()


def timestamp(path: str) -> Iterator[bytes]:
    """When the data are from by the header of a file, or nothing: text."""
    with Reader(path, NOTHING) as reader:
        yield reader.header().get("osmosis_replication_timestamp").encode()


def bounds(path: str) -> Iterator[bytes]:
    """West, south, east, north of a file by its header, else of all its nodes: doubles, degrees."""
    with Reader(path, NOTHING) as reader:
        box = reader.header().box()
    if box.valid():
        low, high = box.bottom_left, box.top_right
        yield array("d", [low.lon, low.lat, high.lon, high.lat]).tobytes()
        return
    west, south, east, north = math.inf, math.inf, -math.inf, -math.inf
    for node in osmium.FileProcessor(path, NODE):
        if isinstance(node, Node) and node.location.valid():
            place = node.location
            west, east = min(west, place.lon), max(east, place.lon)
            south, north = min(south, place.lat), max(north, place.lat)
    yield array("d", [west, south, east, north]).tobytes()


def survey(
    path: str,
    keys: tuple[str, ...],
    carries: Callable[[str, str], bool],
    is_line: Callable[[Mapping[str, str]], bool],
) -> Iterator[bytes]:
    """Find the closed ways and the relations that carry a tag of interest.

    Yields:
        Ids, int64, each column ascending: the first odd one if any, with which the search ends; ways;
        relations; member ways of those; ways that are lines; ways of too few or too many nodes.
    """
    found: dict[str, set[int]] = {
        name: set() for name in ("odd", "way", "relation", "member", "line", "unfit")
    }
    for entity in osmium.FileProcessor(path, WAY | RELATION).with_filter(KeyFilter(*keys)):
        tags = {tag.k: tag.v for tag in entity.tags}
        if not any(carries(key, value) for key, value in tags.items()):
            continue
        if not 1 <= entity.id <= LARGEST_ID:
            found["odd"].add(entity.id)
            break
        if isinstance(entity, Way):
            kind = _kind_of(entity, tags, is_line)
            if kind:
                found[kind].add(entity.id)
        elif isinstance(entity, Relation) and tags.get("type") in AREA_RELATIONS:
            found["relation"].add(entity.id)
            found["member"].update(member.ref for member in entity.members if member.type == "w")
    for numbers in found.values():
        yield array("q", sorted(numbers)).tobytes()


def _kind_of(way: Way, tags: Mapping[str, str], is_line: Callable[[Mapping[str, str]], bool]) -> str | None:
    if not way.nodes or not way.is_closed():
        return None
    if not RING_NODES <= len(way.nodes) <= MOST_NODES:
        return "unfit"
    return "line" if is_line(tags) else "way"


KINDS = ("node", "open line", "closed way", "area relation", "relation")
"""What an object is made of; `tagged` answers with places in this row."""


def tagged(path: str, keys: tuple[str, ...], carries: Callable[[str, str], bool]) -> Iterator[bytes]:
    """Find all objects that carry a tag of interest, areas or not.

    Yields:
        One row an object, in the order of the file: its place among KINDS (one byte); its id (int64); how
        many tags it has (int64); the length of each key and value (int64) and the texts (UTF-8).
    """
    kinds, numbers, counts, texts = bytearray(), array("q"), array("q"), list[bytes]()
    for entity in osmium.FileProcessor(path, NODE | WAY | RELATION).with_filter(KeyFilter(*keys)):
        tags = {tag.k: tag.v for tag in entity.tags}
        if any(carries(key, value) for key, value in tags.items()):
            kinds.append(_made_of(entity, tags))
            numbers.append(entity.id)
            counts.append(len(tags))
            texts += [text.encode() for tag in tags.items() for text in tag]
    yield bytes(kinds)
    yield numbers.tobytes()
    yield counts.tobytes()
    yield array("q", map(len, texts)).tobytes()
    yield b"".join(texts)


def _made_of(entity: OSMEntity, tags: Mapping[str, str]) -> int:
    if isinstance(entity, Way):
        return KINDS.index("closed way" if entity.nodes and entity.is_closed() else "open line")
    if isinstance(entity, Relation):
        return KINDS.index("area relation" if tags.get("type") in AREA_RELATIONS else "relation")
    return KINDS.index("node")


class _Collector:
    """Takes the areas from libosmium, which calls `area` for each."""

    def __init__(self, ways: frozenset[int], relations: frozenset[int]) -> None:
        self.found: dict[tuple[bool, int], _Found] = {}
        self._ways, self._relations = ways, relations
        self._wkb = WKBFactory()

    def area(self, area: Area) -> None:
        number, from_way = area.orig_id(), area.from_way()
        if number not in (self._ways if from_way else self._relations):
            return
        whole = area.num_rings()[0] > 0  # libosmium gives areas without rings where assembly failed
        wkb = bytes.fromhex(self._wkb.create_multipolygon(area)) if whole else None
        self.found[from_way, number] = ([(tag.k, tag.v) for tag in area.tags], wkb)


class _Rings:
    """Takes closed ways as they stand, for a repair of what libosmium could not assemble."""

    def __init__(self) -> None:
        self.found: dict[tuple[bool, int], _Found] = {}

    def way(self, way: Way) -> None:
        closed = len(way.nodes) >= RING_NODES and way.is_closed()  # a second way of the same id may not be
        if closed and all(node.location.valid() for node in way.nodes):
            corners = [side for node in way.nodes for side in (node.lon, node.lat)]
            wkb = struct.pack(f"<BIII{len(corners)}d", 1, 3, 1, len(way.nodes), *corners)  # one ring
            self.found[True, way.id] = ([(tag.k, tag.v) for tag in way.tags], wkb)


def assemble(path: str, ways: bytes, relations: bytes, members: bytes) -> Iterator[bytes]:
    """Build areas.

    Args:
        path: a sorted file.
        ways: ids of closed ways to build, int64.
        relations: ids of relations to build.
        members: ids of the ways that those are made of.

    Yields:
        One row an area: whether it is a way (one byte); its id (int64); how many tags it has (int64); the
        length of each key and value (int64) and the texts (UTF-8); the length of its WKB or NO_GEOMETRY
        (int64) and the WKB of a polygon or multipolygon in EPSG:4326.
    """
    wanted = frozenset(_ids(ways))
    whole = frozenset(_ids(relations))
    manager = AreaManager()
    if whole:
        chosen = IdFilter(whole)
        with Reader(path, RELATION) as reader:
            osmium.apply(reader, chosen, manager.first_pass_handler())
    with_locations = osmium.NodeLocationsForWays(create_map("flex_mem"))
    with_locations.ignore_errors()
    collector, only_areas = _Collector(wanted, whole), EntityFilter(AREA)
    needed = IdFilter(wanted.union(number for number in _ids(members) if 1 <= number <= LARGEST_ID))
    needed.enable_for(WAY)
    with Reader(path, NODE | WAY) as reader:
        osmium.apply(reader, needed, with_locations, manager.second_pass_handler(only_areas, collector))
    rings = _Rings()
    refused = wanted - {number for (is_way, number), (_, wkb) in collector.found.items() if is_way and wkb}
    if refused:
        left = IdFilter(refused)
        with Reader(path, WAY) as reader:
            osmium.apply(reader, left, with_locations, rings)
    yield from _columns(collector.found | rings.found)


def _columns(found: Mapping[tuple[bool, int], _Found]) -> Iterator[bytes]:
    yield bytes(is_way for is_way, _ in found)
    yield array("q", [number for _, number in found]).tobytes()
    yield array("q", [len(tags) for tags, _ in found.values()]).tobytes()
    texts = [text.encode() for tags, _ in found.values() for tag in tags for text in tag]
    yield array("q", map(len, texts)).tobytes()
    yield b"".join(texts)
    shapes = [wkb for _, wkb in found.values()]
    yield array("q", [NO_GEOMETRY if wkb is None else len(wkb) for wkb in shapes]).tobytes()
    yield b"".join(wkb for wkb in shapes if wkb is not None)


def _ids(packed: bytes) -> Iterable[int]:
    numbers: array[int] = array("q")
    numbers.frombytes(packed)
    return numbers
