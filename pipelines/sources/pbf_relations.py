"""Relations of an .osm.pbf file that are areas: what they are made of, and as they stand for libosmium."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.sources.libosmium import LARGEST_ID
from pipelines.sources.osm_areas import Interest, survey
from pipelines.sources.pbf_blobs import RELATIONS, BlobFile, Block, UnusualFileError, frame
from pipelines.sources.pbf_fields import Ints, MalformedError, delimited, slices_of
from pipelines.sources.pbf_ways import RELATION_FIELD, among, messages, numbers_of, strings_of

_MEMBERS, _KINDS = 9, 10
_WAY = 1


@dataclass(frozen=True, slots=True)
class Relations:
    """Multipolygon and boundary relations of interest, by id."""

    ids: Ints
    sizes: Ints
    """How many of the members of each are ways."""

    members: Ints
    """Ids of those ways, one relation after the other."""

    contents: list[bytes]
    """Each as it stands in the file."""

    strings: list[bytes]
    """String tables."""

    table: Ints
    """Which string table each relation refers to."""

    def blocks(self, rows: slice) -> Iterable[bytes]:
        """Blocks of some of the relations.

        Args:
            rows: which, by their place.
        """
        tables = self.table[rows]
        for table in np.unique(tables).tolist():
            places = np.flatnonzero(tables == table) + rows.start
            group = b"".join(delimited(RELATION_FIELD, self.contents[place]) for place in places.tolist())
            yield delimited(1, self.strings[table]) + delimited(2, group)


def area_relations(blobs: BlobFile, interest: Interest, scratch: Path) -> Relations:
    """Find the relations that are areas of interest.

    Args:
        blobs: a sorted file.
        interest: which.
        scratch: a file to write all relations into, for libosmium to read their tags.

    Raises:
        OsmFileError: the file is damaged, or such a relation has an id below 1.
        MalformedError: a relation is damaged.
        UnusualFileError: the relations are not sorted.
    """
    last = 0
    with scratch.open("wb") as out:
        out.write(blobs.header)
        for block in blobs.blocks(RELATIONS):
            last = in_order(messages(block, RELATION_FIELD).ids, last)
            if any(
                0 in text for text in strings_of(block)
            ):  # libosmium ends strings by zeros: it would run on
                raise MalformedError("a zero byte within a string")
            groups = b"".join(delimited(2, block.content[first:end]) for first, end in block.groups)
            out.write(frame(delimited(1, block.content[slice(*block.strings)]) + groups))
    wanted = np.array(sorted(survey(scratch, interest).relations if last else []), np.int64)
    parts = [_part(block, wanted) for block in blobs.blocks(RELATIONS)] if wanted.size else []
    return _joined([part for part in parts if part.ids.size])


def _part(block: Block, wanted: Ints) -> Relations:
    """The relations of one block that are wanted."""
    found = messages(block, RELATION_FIELD, (_MEMBERS, _KINDS))
    content = np.frombuffer(block.content, np.uint8)
    chosen = among(found.ids, wanted)
    sizes, members = numbers_of(content, *(side[chosen] for side in found.fields[_MEMBERS]))
    kinds, kind_sizes = slices_of(content, *(side[chosen] for side in found.fields[_KINDS]))
    if not np.array_equal(sizes, kind_sizes):
        raise MalformedError("a relation with more members than kinds of members")
    of_way = kinds == _WAY
    counted = np.concatenate([[0], np.cumsum(of_way)])
    after = np.cumsum(sizes)
    starts, ends = found.starts[chosen].tolist(), found.ends[chosen].tolist()
    contents = [block.content[first:last] for first, last in zip(starts, ends, strict=True)]
    return Relations(
        found.ids[chosen],
        counted[after] - counted[after - sizes],
        members[of_way],
        contents,
        [block.content[slice(*block.strings)]],
        np.zeros(len(contents), np.int64),
    )


def _joined(parts: list[Relations]) -> Relations:
    none = np.empty(0, np.int64)
    return Relations(
        np.concatenate([none, *(part.ids for part in parts)]),
        np.concatenate([none, *(part.sizes for part in parts)]),
        np.concatenate([none, *(part.members for part in parts)]),
        [content for part in parts for content in part.contents],
        [table for part in parts for table in part.strings],
        np.repeat(np.arange(len(parts)), [len(part.ids) for part in parts]),
    )


def in_order(ids: Ints, last: int) -> int:
    """The largest of ids that must ascend.

    Raises:
        UnusualFileError: they do not, or begin below the last ones.
    """
    if not ids.size or ids[0] <= last or (ids[1:] <= ids[:-1]).any() or ids[-1] > LARGEST_ID:
        raise UnusualFileError("objects out of order, or beyond what ids there are")
    return int(ids[-1])
