"""Fields of protocol buffers: one at a time for what is small, whole arrays at once for what is large."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST_VARINT = 10
"""Bytes of a varint: 64 bits, seven a byte."""

DELIMITED = 2
"""Wire type of strings, messages and packed arrays; what a length stands before."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


class MalformedError(ValueError):
    """Bytes do not follow the protocol-buffer encoding."""


def varint(content: bytes, place: int) -> tuple[int, int]:
    """One varint: its value and the place after it.

    Raises:
        MalformedError: the content ends within it, or it is longer than 64 bits.
    """
    value = 0
    for step, byte in enumerate(content[place : place + LONGEST_VARINT]):
        value |= (byte & 127) << (7 * step)
        if byte < 128:  # noqa: PLR2004 - the eighth bit says that more follow
            return value, place + step + 1
    raise MalformedError(f"a varint at byte {place} does not end")


def fields(content: bytes, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Walk over the fields of a message.

    Args:
        content: what holds the message.
        first: place of its first byte.
        last: place after its last byte.

    Yields:
        Number, then value and -1 for a varint, or start and end of the content of a delimited field.

    Raises:
        MalformedError: a field reaches beyond the message or has a wire type that OSM does not use.
    """
    while first < last:
        key, first = varint(content, first)
        value, first = varint(content, first)
        wire = key & 7
        if wire == DELIMITED:
            if value > last - first:
                raise MalformedError(f"a field of {value} bytes in {last - first} that are left")
            yield key >> 3, first, first + value
            first += value
        elif wire == 0 and first <= last:
            yield key >> 3, value, -1
        else:
            raise MalformedError(f"a field of wire type {wire}")


def delimited(number: int, content: bytes) -> bytes:
    """A field of a message as bytes: tag, length, content."""
    return encoded_one(number << 3 | DELIMITED) + encoded_one(len(content)) + content


def encoded_one(value: int) -> bytes:
    """The varint of a value that is not negative."""
    parts = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits a byte
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def decoded(packed: Bytes) -> Ints:
    """All varints of a packed array; those above 63 bits wrap to negative ones.

    Raises:
        MalformedError: the last one does not end, or one is longer than 64 bits.
    """
    ends = np.flatnonzero(packed < 128)  # noqa: PLR2004 - the eighth bit says that more follow
    if ends.size == packed.size:
        return packed.astype(np.int64)
    if not ends.size or ends[-1] != packed.size - 1:
        raise MalformedError("a packed array ends within a varint")
    starts = np.concatenate([[0], ends[:-1] + 1])
    longer = ends - starts
    if longer.max() >= LONGEST_VARINT:
        raise MalformedError("a varint of more than 64 bits in a packed array")
    values: Ints = (packed[starts] & 127).astype(np.int64)
    step, live = 1, np.flatnonzero(longer)
    while live.size:
        values[live] |= (packed[starts[live] + step] & 127).astype(np.int64) << (7 * step)
        step += 1
        live = live[longer[live] >= step]
    return values


def encoded_lengths(values: Ints) -> Ints:
    """Bytes that each varint takes."""
    lengths = np.ones(len(values), np.int64)
    rest = values >> 7
    while rest.any():
        lengths += rest > 0
        rest >>= 7
    return lengths


def encoded(values: Ints) -> bytes:
    """Varints of values that are not negative, packed."""
    lengths = encoded_lengths(values)
    starts = np.cumsum(lengths) - lengths
    packed = np.empty(int(lengths.sum()), np.uint8)
    step, live = 0, np.arange(len(values))
    while live.size:
        more = lengths[live] > step + 1
        packed[starts[live] + step] = (values[live] >> (7 * step)) & 127 | (more * 128)
        live = live[more]
        step += 1
    return packed.tobytes()


def unzigzag(values: Ints) -> Ints:
    """Signed values of the zigzag encoding."""
    return ((values >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(values & 1)


def zigzag(values: Ints) -> Ints:
    """Zigzag encoding of signed values below 2^62."""
    return (values << 1) ^ (values >> 63)


def one_each(content: Bytes, places: Ints) -> tuple[Ints, Ints]:
    """Decode one varint at each of many places.

    Args:
        content: shape (n,), ending in at least ten zeros, so that none runs over the end.
        places: shape (m,), within the content without those.

    Returns:
        Values and the places after them, shape (m,) each.

    Raises:
        MalformedError: one is longer than 64 bits.
    """
    byte = content[places]
    values, places = (byte & 127).astype(np.int64), places + 1
    live = np.flatnonzero(byte > 127)  # noqa: PLR2004 - the eighth bit says that more follow
    step = 1
    while live.size:
        if step >= LONGEST_VARINT:
            raise MalformedError("a varint of more than 64 bits")
        byte = content[places[live]]
        values[live] |= (byte & 127).astype(np.int64) << (7 * step)
        places[live] += 1
        live = live[byte > 127]  # noqa: PLR2004
        step += 1
    return values, places


def slices_of(content: Bytes, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """All varints of many packed arrays.

    Args:
        content: what holds the arrays.
        starts: shape (m,), places of their first bytes.
        ends: shape (m,), places after their last ones, not before the first.

    Returns:
        The values of all, one array after the other, and how many each has, shape (m,).

    Raises:
        MalformedError: an array ends within a varint.
    """
    lengths = ends - starts
    total = int(lengths.sum())
    if not total:
        return np.empty(0, np.int64), np.zeros(len(starts), np.int64)
    after = np.cumsum(lengths)
    packed = content[np.repeat(starts - (after - lengths), lengths) + np.arange(total)]
    closing = packed < 128  # noqa: PLR2004
    if not closing[after[lengths > 0] - 1].all():
        raise MalformedError("a packed array ends within a varint")
    counted = np.concatenate([[0], np.cumsum(closing)])
    return decoded(packed), counted[after] - counted[after - lengths]
