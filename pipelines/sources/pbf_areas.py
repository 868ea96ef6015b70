"""Areas of a sorted .osm.pbf file: what is plain by numpy, the rest by libosmium.

Relations tell which ways are their members, ways tell which nodes are needed; where no node is
needed, only ids are decoded. Closed ways whose rings are simple become polygons at once. Relations, and
rings that cross or touch themselves, go with their ways and nodes into a small file for libosmium.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.sources.libosmium import LARGEST_ID
from pipelines.sources.osm_areas import (
    TAGS,
    FoundAreas,
    Interest,
    Survey,
    assemble,
    geometries,
    survey,
    told_apart,
)
from pipelines.sources.osm_file import damaged
from pipelines.sources.pbf_blobs import (
    NODES,
    RELATIONS,
    WAYS,
    BlobFile,
    Block,
    UnusualFileError,
    blob_file,
    frame,
)
from pipelines.sources.pbf_fields import Ints, MalformedError
from pipelines.sources.pbf_nodes import NOWHERE, Locations, dense_blocks
from pipelines.sources.pbf_rings import rings
from pipelines.sources.pbf_ways import (
    RELATION_FIELD,
    Flags,
    WayReader,
    among,
    ascending,
    messages,
    strings_of,
    ways_block,
)
from pipelines.sources.scratch import scratch_folder

HELD_A_BYTE, HELD_ANYWAY = 2, 4_000_000
"""Refs, tags and letters of areas that may be held for each byte of the file, and whatever its size. A ref
needs a node of some bytes, so real files stay far below; one that is packed a thousandfold does not."""

WAYS_A_BLOCK = 2000
"""In the file for libosmium. A way has at most 2,000 nodes, which keeps a blob below its limit of bytes."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """Areas and members of relations of the whole file, by id."""

    ids: Ints
    is_area: Flags
    sizes: Ints
    refs: Ints
    tags: Any
    """Of the areas, of type TAGS."""
    lines: list[int]
    degenerate: list[int]

    def chosen(self, mask: Flags) -> "_Chosen":
        corners = np.repeat(mask, self.sizes)
        return _Chosen(self.ids[mask], self.sizes[mask], self.refs[corners], corners)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Some of the ways."""

    ids: Ints
    sizes: Ints
    refs: Ints
    corners: Flags
    """Which refs of all ways are theirs."""


@dataclass(frozen=True, slots=True)
class _Nodes:
    """Nodes of the ways."""

    found: Locations
    place: Ints
    """For each ref of the ways the place of its node among the locations."""


def quick_areas(path: Path, interest: Interest) -> FoundAreas:
    """Read the areas of interest of a sorted .osm.pbf file.

    Raises:
        OsmFileError: the file is damaged.
        UnusualFileError: the file is not sorted, or written in a way that only libosmium knows.
    """
    try:
        with blob_file(path) as blobs, scratch_folder() as folder:
            return _areas(blobs, interest, folder / path.name)
    except MalformedError as error:
        raise damaged(path.name, error) from error


def _areas(blobs: BlobFile, interest: Interest, extra: Path) -> FoundAreas:
    if len(blobs) == 1:
        raise UnusualFileError("a file without objects")
    first_way, first_relation = blobs.first_of(WAYS), blobs.first_of(RELATIONS)
    wanted = _relations(blobs, first_relation, interest, extra)
    members = np.array(sorted(wanted.members), np.int64)
    most = HELD_ANYWAY + HELD_A_BYTE * blobs.size
    ways = _ways(_blocks(blobs, first_way, first_relation, WAYS), interest, members, most)
    nodes = _located(_blocks(blobs, 1, first_way, NODES), ways.refs)
    corners = nodes.place[np.repeat(ways.is_area, ways.sizes)]
    numbers, sizes = ways.ids[ways.is_area], ways.sizes[ways.is_area]
    closed = rings(sizes, nodes.found.longitude[corners], nodes.found.latitude[corners])
    doubtful = numbers[closed.doubtful]
    wanted.ways = set(doubtful.tolist())
    chosen = ways.chosen(among(ways.ids, ascending(np.append(members, doubtful))))
    with extra.open("wb") as out:
        blobs.copy(0, 1, out)
        _write(out, chosen, nodes, doubtful)
        blobs.copy(first_relation, len(blobs), out)
    assembled = assemble(extra, wanted) if wanted.ways or wanted.relations else {}
    incomplete, unfit, whole = told_apart(wanted, assembled)
    closed.geometry[closed.doubtful] = geometries(assembled.get(("way", n)) for n in doubtful.tolist())
    relations = [assembled["relation", number] for number in whole]
    tags: Any = pa.array([sorted(area.tags.items()) for area in relations], TAGS)
    return FoundAreas(
        numbers,
        np.array(whole, np.int64),
        pa.concat_arrays([ways.tags, tags]),
        np.concatenate([closed.geometry, geometries(relations)]),
        incomplete,
        unfit,
        ways.lines,
        ways.degenerate,
    )


def _write(out: BinaryIO, ways: "_Chosen", nodes: "_Nodes", alone: Ints) -> None:
    """Write blobs of nodes and ways for libosmium.

    Args:
        out: a file open for writing.
        ways: to write, without their tags.
        nodes: of the file; those of the ways are written.
        alone: ids of the ways to make areas of on their own.
    """
    where = nodes.found
    used = np.zeros(len(where.ids), np.bool_)
    used[nodes.place[ways.corners]] = True
    used &= where.longitude != NOWHERE
    nodes_of_ways = dense_blocks(where.ids[used], where.longitude[used], where.latitude[used])
    out.writelines(map(frame, nodes_of_ways))
    after = np.concatenate([[0], np.cumsum(ways.sizes)])
    for first in range(0, len(ways.ids), WAYS_A_BLOCK):
        part = slice(first, first + WAYS_A_BLOCK)
        refs = ways.refs[after[first] : after[min(first + WAYS_A_BLOCK, len(ways.ids))]]
        out.write(frame(ways_block(ways.ids[part], ways.sizes[part], refs, alone)))


def _blocks(blobs: BlobFile, first: int, last: int, kind: int) -> Iterator[Block]:
    """Blocks of one kind of objects and no other."""
    for number in range(first, last):
        block = blobs.block(number)
        if block.kinds() != {kind}:
            raise UnusualFileError("a block of objects of several kinds, or out of order")
        yield block


def _relations(blobs: BlobFile, first: int, interest: Interest, extra: Path) -> Survey:
    """What is to be assembled of relations."""
    last = 0
    for block in _blocks(blobs, first, len(blobs), RELATIONS):
        last = _in_order(messages(block, RELATION_FIELD).ids, last)
        if any(0 in text for text in strings_of(block)):  # libosmium ends strings by zeros, and would run on
            raise MalformedError("a zero byte within a string")
    if first == len(blobs):
        return Survey()
    with extra.open("wb") as out:
        blobs.copy(0, 1, out)
        blobs.copy(first, len(blobs), out)
    return survey(extra, interest)


def _in_order(ids: Ints, last: int) -> int:
    """The largest id."""
    if not ids.size or ids[0] <= last or (ids[1:] <= ids[:-1]).any() or ids[-1] > LARGEST_ID:
        raise UnusualFileError("objects out of order, or beyond what ids there are")
    return int(ids[-1])


def _ways(blocks: Iterator[Block], interest: Interest, members: Ints, most: int) -> _Ways:
    reader, parts, last, held = WayReader(interest, members), [], 0, 0
    for block in blocks:
        ids, part = reader.read(block)
        last = _in_order(ids, last)
        parts.append(part)
        held += len(part.refs) + len(part.keys)
        if held + reader.words.letters > most:
            raise UnusualFileError("more nodes and tags of areas than a file of its size holds")

    def joined(name: str) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])

    tags = _tags(joined("keys"), joined("values"), joined("tag_counts"), reader.words.texts)
    return _Ways(
        joined("ids"),
        joined("is_area").astype(np.bool_),
        joined("sizes"),
        joined("refs"),
        tags,
        joined("lines").tolist(),
        joined("degenerate").tolist(),
    )


def _tags(keys: Ints, values: Ints, counts: Ints, texts: list[str]) -> Any:  # noqa: ANN401 - stubs lack maps
    """Tags of objects with their keys in order."""
    used = ascending(keys)
    rank = np.empty(len(texts), np.int64)
    rank[sorted(used.tolist(), key=texts.__getitem__)] = np.arange(len(used))
    owner = np.repeat(np.arange(len(counts)), counts)
    ranked = owner * len(used) + rank[keys]
    order = np.argsort(ranked)
    if (np.diff(ranked[order]) == 0).any():
        raise UnusualFileError("an object with one key twice")
    words: Any = pa.array(texts, pa.string())
    offsets: Any = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.MapArray.from_arrays(
        offsets, words.take(pa.array(keys[order])), words.take(pa.array(values[order]))
    )


def _located(blocks: Iterator[Block], refs: Ints) -> _Nodes:
    """Where the nodes are, and for each ref the place of its node among them."""
    order = np.argsort(refs)
    ordered = refs[order]
    new = np.ones(len(refs), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    locations = Locations(ordered[new])
    place = np.empty(len(refs), np.int64)
    place[order] = np.cumsum(new) - 1
    for block in blocks:
        locations.read(block)
    return _Nodes(locations, place)
