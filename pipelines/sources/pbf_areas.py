"""Areas of a sorted .osm.pbf file, part by part: what is plain by numpy, the rest by libosmium.

Relations tell which ways are their members, ways tell which nodes are needed; where no node is
needed, only ids are decoded. Then come the areas, some thousand at a time: closed ways whose rings are
simple become polygons at once. Relations, and rings that cross or touch themselves, go with their ways and
nodes into small files for libosmium. Between the parts only ids, tags and places of nodes are held
(docs/decisions/0006-streaming-osm.md).
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.osm_areas import (
    Areas,
    FoundAreas,
    Interest,
    Survey,
    assemble,
    geometries,
    relation_areas,
)
from pipelines.sources.osm_file import damaged
from pipelines.sources.pbf_blobs import NODES, WAYS, BlobFile, Block, UnusualFileError, blob_file
from pipelines.sources.pbf_excerpt import Geometry, Places, write_excerpt
from pipelines.sources.pbf_fields import Ints, MalformedError
from pipelines.sources.pbf_nodes import Locations
from pipelines.sources.pbf_relations import Relations, area_relations, in_order
from pipelines.sources.pbf_rings import Look, Looks, look_at, rings
from pipelines.sources.pbf_ways import Flags, WayPart, WayReader, among, ascending
from pipelines.sources.scratch import scratch_folder

CORNERS_AT_ONCE = 100_000
"""Corners of the ways that become polygons together: numpy holds some 200 bytes for each meanwhile."""

MOST_CORNERS = 2_000_000
"""Corners of the ways of one block, which are never parted; blocks of real files have some 100,000."""

HELD_A_BYTE, HELD_ANYWAY = 4, 64 << 20
"""Bytes of refs and tags of areas that may be held for each byte of the file, and whatever its size. A ref
needs a node of some bytes, so real files stay far below; one that is packed a thousandfold does not."""

MOST_NODES = 2**31 - 1
"""Places of nodes take four bytes."""

CORNERS_BY_LIBOSMIUM = 1_000_000
"""Corners of the members of relations that libosmium assembles together: it answers 32 letters for each."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Areas among a run of ways."""

    ways: slice
    tags: Any
    """Of its areas: a pyarrow array of type TAGS."""

    lines: list[int]
    degenerate: list[int]


@dataclass(frozen=True, slots=True)
class _File:
    """What of a file is held between the parts."""

    name: str
    header: bytes
    geometry: Geometry
    is_area: Flags
    parts: list[_Part]
    relations: Relations


def quick_areas(path: Path, interest: Interest) -> Iterator[FoundAreas]:
    """Read the areas of interest of a sorted .osm.pbf file.

    The whole file is read before the first part comes.

    Returns:
        Parts: ways by id, then relations by id.

    Raises:
        OsmFileError: the file is damaged.
        UnusualFileError: the file is not sorted, or written in a way that only libosmium knows.
    """
    try:
        with blob_file(path) as blobs, scratch_folder() as folder:
            return _areas(_read(path.name, blobs, interest, folder / path.name))
    except MalformedError as error:
        raise damaged(path.name, error) from error


def _read(name: str, blobs: BlobFile, interest: Interest, scratch: Path) -> _File:
    if len(blobs) == 1:
        raise UnusualFileError("a file without objects")
    relations = area_relations(blobs, interest, scratch)
    most = HELD_ANYWAY + HELD_A_BYTE * blobs.size
    found = list(_ways(blobs.blocks(WAYS), interest, ascending(relations.members), most))
    parts = list(_parts(found))
    sizes, is_area = _joined(found, "sizes"), _joined(found, "is_area").astype(np.bool_)
    after = np.concatenate([[0], np.cumsum(sizes)])
    ids, refs = _joined(found, "ids"), [_joined(found, "refs")]
    del found
    nodes, place = _located(blobs.blocks(NODES), refs)
    return _File(name, blobs.header, Geometry(ids, sizes, after, place, nodes), is_area, parts, relations)


def _joined(found: list[WayPart], name: str) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in found)])


def _ways(blocks: Iterator[Block], interest: Interest, members: Ints, most: int) -> Iterator[WayPart]:
    reader, last, held = WayReader(interest, members), 0, 0
    for block in blocks:
        ids, part = reader.read(block)
        last = in_order(ids, last)
        if len(part.refs) > MOST_CORNERS:
            raise UnusualFileError(f"a block of ways of {len(part.refs)} nodes")
        held += part.refs.nbytes + part.tags.nbytes
        if held + reader.letters > most:
            raise UnusualFileError("more nodes and tags of areas than a file of its size holds")
        yield part


def _parts(found: list[WayPart]) -> Iterator[_Part]:
    """Runs of ways of at most so many corners, or of one block."""
    waiting: list[WayPart] = []
    done, corners = 0, 0
    for part in found:
        corners += len(part.refs)
        if waiting and corners > CORNERS_AT_ONCE:
            yield _part(waiting, done)
            done, waiting, corners = done + sum(len(one.ids) for one in waiting), [], len(part.refs)
        waiting.append(part)
    if waiting:
        yield _part(waiting, done)


def _part(found: list[WayPart], first: int) -> _Part:
    return _Part(
        slice(first, first + sum(len(part.ids) for part in found)),
        pa.concat_arrays([part.tags for part in found]),
        [number for part in found for number in part.lines.tolist()],
        [number for part in found for number in part.degenerate.tolist()],
    )


def _located(blocks: Iterator[Block], given: list[Ints]) -> tuple[Locations, Places]:
    """Where the nodes are, and for each ref the place of its node among them.

    Args:
        blocks: of nodes.
        given: the refs, the one large array that is let go of as soon as it has been put in order.
    """
    refs = given.pop()
    order = np.argsort(refs)
    refs = refs[order]
    new = np.ones(len(refs), np.bool_)
    np.not_equal(refs[1:], refs[:-1], out=new[1:])
    locations = Locations(refs[new])
    del refs
    if len(locations.ids) > MOST_NODES:
        raise UnusualFileError("more nodes than the quick reader counts")
    place = np.empty(len(order), np.int32)
    place[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    del order, new
    for block in blocks:
        locations.read(block)
    return locations, place


def _areas(file: _File) -> Iterator[FoundAreas]:
    """The areas, part by part."""
    looks = [_look(file, _places(file, part)) for part in file.parts]
    found = zip(file.parts, looks, strict=True)
    doubtful = np.concatenate(
        [np.empty(0, np.int64), *(_places(file, part)[look == Look.DOUBTFUL] for part, look in found)]
    )
    wanted = Survey(ways=set(file.geometry.ids[doubtful].tolist()))
    repaired = _assembled(file, doubtful, wanted, []) if wanted.ways else {}
    for number, look in enumerate(looks):
        part, file.parts[number] = file.parts[number], _Part(slice(0), None, [], [])
        yield _ways_of(file, part, look, repaired)
    for rows in _runs(file):
        yield _relations_of(file, rows)


def _places(file: _File, part: _Part) -> Ints:
    """Places of the areas of one part among the ways."""
    places: Ints = np.flatnonzero(file.is_area[part.ways])
    return places + np.int64(part.ways.start)


def _look(file: _File, ways: Ints) -> Looks:
    nodes, corners = file.geometry.nodes, file.geometry.corners(ways)
    return look_at(file.geometry.sizes[ways], nodes.longitude[corners], nodes.latitude[corners])


def _assembled(file: _File, ways: Ints, wanted: Survey, relations: Iterable[bytes]) -> Areas:
    """Areas by libosmium, from a file of some ways and relations."""
    with scratch_folder() as folder:
        excerpt = folder / file.name
        with excerpt.open("wb") as out:
            alone = np.array(sorted(wanted.ways), np.int64)
            write_excerpt(out, file.header, file.geometry, ways, alone=alone, relations=relations)
        return assemble(excerpt, wanted)


def _ways_of(file: _File, part: _Part, look: Looks, repaired: Areas) -> FoundAreas:
    """The areas of one part that are closed ways."""
    ways = _places(file, part)
    nodes, corners = file.geometry.nodes, file.geometry.corners(ways)
    numbers, plain = file.geometry.ids[ways], look == Look.PLAIN
    shapes = rings(file.geometry.sizes[ways], nodes.longitude[corners], nodes.latitude[corners], plain)
    doubtful = look == Look.DOUBTFUL
    shapes[doubtful] = geometries(repaired.get(("way", n)) for n in numbers[doubtful].tolist())
    none = np.empty(0, np.int64)
    return FoundAreas(numbers, none, part.tags, shapes, plain, [], [], part.lines, part.degenerate)


def _runs(file: _File) -> Iterator[slice]:
    """Relations that libosmium assembles together."""
    relations, ways = file.relations, file.geometry
    here = np.flatnonzero(among(relations.members, ways.ids))
    sizes = np.zeros(len(relations.members) + 1, np.int64)
    sizes[here + 1] = ways.sizes[np.searchsorted(ways.ids, relations.members[here])]
    after = np.cumsum(sizes)[np.cumsum(relations.sizes)]
    run = after // CORNERS_BY_LIBOSMIUM
    borders = np.flatnonzero(np.diff(run, prepend=-1, append=-1)).tolist()
    for first, last in itertools.pairwise(borders):
        yield slice(first, last)


def _relations_of(file: _File, rows: slice) -> FoundAreas:
    """The areas of some relations."""
    relations, ways = file.relations, file.geometry.ids
    after = np.concatenate([[0], np.cumsum(relations.sizes)])
    members = ascending(relations.members[after[rows.start] : after[rows.stop]])
    wanted = Survey(relations=set(relations.ids[rows].tolist()), members=set(members.tolist()))
    areas = _assembled(file, np.flatnonzero(among(ways, members)), wanted, relations.blocks(rows))
    return relation_areas(wanted, areas)
