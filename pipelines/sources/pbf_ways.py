"""Ways of one block of an .osm.pbf file, found and decoded many at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.sources.libosmium import MOST_NODES, RING_NODES
from pipelines.sources.osm_areas import Interest
from pipelines.sources.pbf_blobs import Block, UnusualFileError
from pipelines.sources.pbf_fields import (
    DELIMITED,
    Bytes,
    Ints,
    MalformedError,
    delimited,
    encoded,
    encoded_lengths,
    encoded_one,
    one_each,
    slices_of,
    unzigzag,
    varint,
    zigzag,
)

MOST_FIELDS = 64
"""Fields of a way; writers use up to eight."""

_ID, _KEYS, _VALUES, _REFS = 1, 2, 3, 8
WAY_FIELD, RELATION_FIELD = 3, 4
"""Fields of a group that ways and relations stand in."""

_ID_TAG = bytes([_ID << 3])
_ONE_TAG = delimited(_KEYS, bytes([1])) + delimited(_VALUES, bytes([2]))

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Messages:
    """Objects of one kind in a block: where they lie and where their packed fields do."""

    ids: Ints
    starts: Ints
    """Places of their first bytes."""

    ends: Ints
    """Places after their last ones."""

    fields: dict[int, tuple[Ints, Ints]]
    """Start and end of each packed field, both 0 where an object has none."""


@dataclass(frozen=True, slots=True)
class WayPart:
    """Areas and members of relations among the ways of one block."""

    ids: Ints
    is_area: Flags
    """Whether a way is an area of interest; the others are members only."""

    sizes: Ints
    """How many nodes each has."""

    refs: Ints
    """Ids of the nodes of all, one way after the other."""

    tags: Any
    """Of the areas, keys in order: a pyarrow array of type TAGS."""

    lines: Ints
    """Ids of closed ways of interest that are lines by their tags."""

    degenerate: Ints
    """Ids of closed ways of interest of fewer than four nodes or more than MOST_NODES."""


class Words:
    """Strings of the tags that decide whether a way is a line, over a whole file, each with one number."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.letters = 0
        """Bytes of all of them."""
        self._numbers: dict[bytes, int] = {}

    def numbers(self, texts: list[bytes]) -> Ints:
        """Number of each text; a new one for one not seen before."""
        for text in texts:
            if text not in self._numbers:
                self._numbers[text] = len(self.texts)
                self.texts.append(text.decode())
                self.letters += len(text)
        return np.array([self._numbers[text] for text in texts], np.int64)


def messages(block: Block, kind: int, packed: tuple[int, ...] = ()) -> Messages:
    """Find the ways or the relations of a block.

    Args:
        block: all its groups hold objects of that kind.
        kind: WAY_FIELD or RELATION_FIELD.
        packed: numbers of the packed fields that are wanted.

    Raises:
        MalformedError: a message is not one.
        UnusualFileError: there is something else, or a field in a form that writers do not use.
    """
    starts, ends = _places(block, kind)
    content = np.frombuffer(block.content + bytes(16), np.uint8)  # zeros: no varint runs over the end
    count = len(starts)
    ids = np.zeros(count, np.int64)
    found = {number: (np.zeros(count, np.int64), np.zeros(count, np.int64)) for number in packed}
    at, live = starts.copy(), np.flatnonzero(starts < ends)
    for _ in range(MOST_FIELDS):
        if not live.size:
            return Messages(ids, starts, ends, found)
        key, place = one_each(content, at[live])
        value, place = one_each(content, place)
        delimited, number = (key & 7) == DELIMITED, key >> 3
        left = ends[live] - place
        if (left < 0).any() or (delimited & ((value < 0) | (value > left))).any():
            raise MalformedError("a field reaches beyond its object")
        if (~delimited & ((key & 7) != 0)).any():
            raise UnusualFileError("a field of a wire type that OSM does not use")
        ids[live[number == _ID]] = value[number == _ID]
        for wanted, (first, last) in found.items():
            chosen = number == wanted
            if (first[live[chosen]] > 0).any() or not delimited[chosen].all():
                raise UnusualFileError("a packed field in pieces")
            first[live[chosen]] = place[chosen]
            last[live[chosen]] = place[chosen] + value[chosen]
        at[live] = place + np.where(delimited, value, 0)
        live = live[at[live] < ends[live]]
    raise UnusualFileError(f"an object of more than {MOST_FIELDS} fields")


def _places(block: Block, kind: int) -> tuple[Ints, Ints]:
    """Start and end of every message; a plain loop, for each length tells where the next one stands."""
    content, tag = block.content, kind << 3 | DELIMITED
    starts: list[int] = []
    ends: list[int] = []
    for first, last in block.groups:
        place = first
        while place < last:
            if content[place] != tag:
                raise UnusualFileError("a group of objects of several kinds")
            size = content[place + 1] if place + 1 < last else 128
            place += 2
            if size > 127:  # noqa: PLR2004 - the eighth bit says that more follow
                size, place = varint(content, place - 1)
            starts.append(place)
            place += size
            ends.append(place)
        if place != last:
            raise MalformedError("an object reaches beyond its group")
    return np.array(starts, np.int64), np.array(ends, np.int64)


def strings_of(block: Block) -> list[bytes]:
    """The string table of a block.

    Raises:
        MalformedError: a string reaches beyond the table.
    """
    content, (place, last) = block.content, block.strings
    texts = []
    while place < last:
        if content[place] != 10:  # noqa: PLR2004 - field 1, delimited
            raise UnusualFileError("a string table of something else")
        size = content[place + 1] if place + 1 < last else 128
        place += 2
        if size > 127:  # noqa: PLR2004 - the eighth bit says that more follow
            size, place = varint(content, place - 1)
        if size > last - place:
            raise MalformedError("a string reaches beyond its table")
        texts.append(content[place : place + size])
        place += size
    return texts


class WayReader:
    """Picks the ways of interest out of blocks."""

    def __init__(self, interest: Interest, members: Ints) -> None:
        """Say what to pick.

        Args:
            interest: which closed ways.
            members: ids of ways to take whatever they are, ascending.
        """
        self._words = Words()
        self._interest = interest
        self._keys = frozenset(key.encode() for key in interest.keys)
        self._deciding = frozenset(key.encode() for key in interest.deciding)
        self._members = members
        self._carrying: dict[tuple[bytes, bytes], bool] = {}
        self._lines: dict[bytes, bool] = {}

    @property
    def letters(self) -> int:
        """Bytes of the strings that are remembered."""
        return self._words.letters

    def read(self, block: Block) -> tuple[Ints, WayPart]:
        """Ids of all ways of a block, and what it has of areas and members.

        Raises:
            MalformedError: the block is damaged.
            UnusualFileError: it is written in a way that this reader does not know.
        """
        found = messages(block, WAY_FIELD, (_KEYS, _VALUES, _REFS))
        content = np.frombuffer(block.content, np.uint8)
        texts = strings_of(block)
        keys, values, counts = _tags(content, found, len(texts))
        owner = np.repeat(np.arange(len(counts)), counts)
        tagged = np.zeros(len(counts), np.bool_)
        tagged[owner[self._of_interest(keys, values, texts)]] = True
        member = among(found.ids, self._members)
        chosen = np.flatnonzero(tagged | member)
        sizes, refs = numbers_of(content, *(side[chosen] for side in found.fields[_REFS]))
        closed = tagged[chosen] & _closed(sizes, refs)
        degenerate = closed & ((sizes < RING_NODES) | (sizes > MOST_NODES))
        ring = np.zeros(len(counts), np.bool_)
        ring[chosen[closed & ~degenerate]] = True
        line = self._are_lines(keys[ring[owner]], values[ring[owner]], counts[ring], texts)
        area = ring.copy()
        area[ring] = ~line
        kept = (area | member)[chosen]
        return found.ids, WayPart(
            found.ids[chosen[kept]],
            area[chosen[kept]],
            sizes[kept],
            refs[np.repeat(kept, sizes)],
            _tag_sets(keys[area[owner]], values[area[owner]], counts[area], texts),
            found.ids[ring][line],
            found.ids[chosen[degenerate]],
        )

    def _are_lines(self, keys: Ints, values: Ints, counts: Ints, texts: list[bytes]) -> Flags:
        """Which ways are lines: each set of the tags that decide it is asked about once."""
        decides = np.array([text in self._deciding for text in texts], np.bool_)
        telling = decides[keys] if keys.size else np.empty(0, np.bool_)
        pairs = self._numbers(keys[telling], texts) << 32 | self._numbers(values[telling], texts)
        after = np.concatenate([[0], np.cumsum(telling)])[np.cumsum(counts)].tolist()
        line, first, words = [], 0, self._words.texts
        for last in after:
            tags = pairs[first:last]
            first = last
            known = self._lines.get(tags.tobytes())
            if known is None:
                asked = {words[pair >> 32]: words[pair & 0xFFFFFFFF] for pair in tags.tolist()}
                known = self._lines[tags.tobytes()] = self._interest.is_line(asked)
            line.append(known)
        return np.array(line, np.bool_)

    def _of_interest(self, keys: Ints, values: Ints, texts: list[bytes]) -> Flags:
        """Which tags are of interest: each pair of key and value is asked about once."""
        wanted = np.array([text in self._keys for text in texts], np.bool_)
        hits = np.flatnonzero(wanted[keys]) if keys.size else np.empty(0, np.int64)
        pairs = keys[hits] << 32 | values[hits]
        flags = np.zeros(len(keys), np.bool_)
        distinct = ascending(pairs)
        asked = [self._asked(texts[pair >> 32], texts[pair & 0xFFFFFFFF]) for pair in distinct.tolist()]
        flags[hits] = np.array(asked, np.bool_)[np.searchsorted(distinct, pairs)]
        return flags

    def _asked(self, key: bytes, value: bytes) -> bool:
        known = self._carrying.get((key, value))
        if known is None:
            known = self._carrying[key, value] = self._interest.carries(key.decode(), value.decode())
        return known

    def _numbers(self, places: Ints, texts: list[bytes]) -> Ints:
        used = ascending(places)
        return self._words.numbers([texts[place] for place in used.tolist()])[np.searchsorted(used, places)]


def _tags(content: Bytes, found: Messages, texts: int) -> tuple[Ints, Ints, Ints]:
    """Keys and values of all tags by their place in the string table, and how many each object has."""
    keys, counts = slices_of(content, *found.fields[_KEYS])
    values, value_counts = slices_of(content, *found.fields[_VALUES])
    if not np.array_equal(counts, value_counts):
        raise MalformedError("an object with more keys than values")
    for places in (keys, values):
        if places.size and not 0 <= places.min() <= places.max() < texts:
            raise MalformedError("a tag that is not in the string table")
    return keys, values, counts


def _tag_sets(keys: Ints, values: Ints, counts: Ints, texts: list[bytes]) -> Any:  # noqa: ANN401 - stubs lack maps
    """Tags of objects with their keys in order.

    Raises:
        UnusualFileError: an object has one key twice.
    """
    used = ascending(np.concatenate([keys, values]))
    words = [texts[place].decode() for place in used.tolist()]
    keys, values = np.searchsorted(used, keys), np.searchsorted(used, values)
    of_keys = ascending(keys).tolist()
    ranks = {word: number for number, word in enumerate(sorted({words[place] for place in of_keys}))}
    rank = np.zeros(len(words), np.int64)
    rank[of_keys] = [ranks[words[place]] for place in of_keys]
    ranked = np.repeat(np.arange(len(counts)), counts) * len(words) + rank[keys]
    order = np.argsort(ranked)
    if (np.diff(ranked[order]) == 0).any():
        raise UnusualFileError("an object with one key twice")
    known: Any = pa.array(words, pa.string())
    offsets: Any = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.MapArray.from_arrays(
        offsets, known.take(pa.array(keys[order])), known.take(pa.array(values[order]))
    )


def _closed(sizes: Ints, refs: Ints) -> Flags:
    """Which ways end where they begin."""
    after = np.cumsum(sizes)
    closed = sizes > 0
    some = np.flatnonzero(closed)
    closed[some] = refs[after[some] - sizes[some]] == refs[after[some] - 1]
    return np.asarray(closed)


def numbers_of(content: Bytes, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Ids packed as differences, of nodes or members: how many each object has, and those of all."""
    deltas, sizes = slices_of(content, starts, ends)
    sums = np.cumsum(unzigzag(deltas))
    before = np.concatenate([[0], sums])[np.cumsum(sizes) - sizes]
    return sizes, sums - np.repeat(before, sizes)


def among(numbers: Ints, ascending_ones: Ints) -> Flags:
    """Which numbers are in an ascending array."""
    if not ascending_ones.size:
        return np.zeros(len(numbers), np.bool_)
    place = np.minimum(np.searchsorted(ascending_ones, numbers), len(ascending_ones) - 1)
    return np.asarray(ascending_ones[place] == numbers)


def ascending(numbers: Ints) -> Ints:
    """Distinct numbers in order: what `np.unique` gives, in a fraction of its time."""
    ordered = np.sort(numbers)
    new = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]


def ways_block(ids: Ints, sizes: Ints, refs: Ints, rings: Ints) -> bytes:
    """A block of ways for libosmium to assemble.

    Args:
        ids: shape (n,), ascending.
        sizes: shape (n,), how many nodes each has.
        refs: shape (sum of sizes,), ids of the nodes.
        rings: ids of the ways to make areas of on their own, ascending; libosmium does so for tagged ones.
    """
    before = np.concatenate([[0], refs[:-1]])
    before[(np.cumsum(sizes) - sizes)[sizes > 0]] = 0
    deltas = zigzag(refs - before)
    packed, after = encoded(deltas), np.concatenate([[0], np.cumsum(encoded_lengths(deltas))])
    ends = np.cumsum(sizes)
    parts = []
    for number, first, last, alone in zip(
        ids.tolist(),
        after[ends - sizes].tolist(),
        after[ends].tolist(),
        among(ids, rings).tolist(),
        strict=True,
    ):
        tags = _ONE_TAG if alone else b""
        parts.append(
            delimited(WAY_FIELD, _ID_TAG + encoded_one(number) + tags + delimited(_REFS, packed[first:last]))
        )
    strings = b"".join(delimited(1, text) for text in (b"", b"area", b"yes"))
    return delimited(1, strings) + delimited(2, b"".join(parts))
