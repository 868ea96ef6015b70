"""How an input is spoiled: byte by byte, or inside of what JSON means; always the same for the same chance."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

Chance = random.Random
Change = Callable[[bytes, Chance], bytes]


def flip(content: bytes, chance: Chance) -> bytes:
    """One to four bits the other way."""
    some = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        some[chance.randrange(len(some))] ^= 1 << chance.randrange(8)
    return bytes(some)


def cut(content: bytes, chance: Chance) -> bytes:
    return content[: chance.randrange(len(content))]


def overwrite(content: bytes, chance: Chance) -> bytes:
    """A run of zeros, of 0xff, of noise, or of another part of the same file."""
    length = min(len(content), chance.choice([1, 2, 4, 8, 64, 512]))
    place, other = (chance.randrange(len(content) - length + 1) for _ in range(2))
    run = chance.choice(
        [bytes(length), b"\xff" * length, chance.randbytes(length), content[other : other + length]]
    )
    return content[:place] + run + content[place + length :]


def shift(content: bytes, chance: Chance) -> bytes:
    """Some bytes more or fewer, so that lengths before them no longer hold."""
    place, length = chance.randrange(len(content)), chance.choice([1, 2, 3, 5, 100])
    if chance.random() < 0.5:
        return content[:place] + content[place + length :]
    return content[:place] + chance.randbytes(length) + content[place:]


def append(content: bytes, chance: Chance) -> bytes:
    return content + chance.choice([bytes(1), content[-30:], content, chance.randbytes(20)])


BYTES: tuple[Change, ...] = (flip, flip, flip, cut, overwrite, overwrite, shift, append)


def spoiled(content: bytes, chance: Chance) -> bytes:
    """Bytes that are no longer these ones; flips most often."""
    for _ in range(20):
        found = chance.choice(BYTES)(content, chance) if content else chance.randbytes(9)
        if found != content:
            return found
    return content + b"\0"


DEEP = "[" * 100_000
"""Nested further than any reader can follow."""

STRANGE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    3.5,
    2**31,
    2**53,
    2**63,
    -(2**63),
    2**64,
    10**40,
    1e308,
    -1e-320,
    float("nan"),
    float("inf"),
    "",
    " ",
    "0",
    "x" * 3000,
    "a\0b",
    "\n",
    "\ud800",
    "ä" * 300,
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "CON",
    "C:\\Windows\\x",
    "a/b",
    "<script>alert(1)</script>",
    "file:///etc/passwd",
    "/vsicurl/http://127.0.0.1/x",
    "http://169.254.169.254/latest/meta-data",
    "https://user:word@x.org/a.tif",
    "s3://bucket/key",
    "2023-02-30T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    [],
    [[]],
    [None],
    ["a"],
    [1, 2],
    {},
    {"": None},
    {"type": "Polygon"},
    {"type": "Point", "coordinates": [0, 0]},
    [[[0, 0], [1, 1], [0, 0]]],
    [[[1e308, 1e308], [-1e308, 0], [0, 1e308], [1e308, 1e308]]],
)
"""Values that somebody might write where another one is expected."""


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, (*path, number))


def strange(value: Any, chance: Chance, changes: int = 2) -> Any:
    """A JSON value with one or two of its parts replaced, left out, or put under another name."""
    found = copy.deepcopy(value)
    for _ in range(chance.randint(1, changes)):
        path = chance.choice(list(_places(found)))
        if not path:
            if chance.random() < 0.05:
                return copy.deepcopy(chance.choice(STRANGE))
            continue
        owner = found
        for step in path[:-1]:
            owner = owner[step]
        kind = chance.randrange(8)
        if kind == 0:
            del owner[path[-1]]
        elif kind == 1 and isinstance(owner, dict):
            owner[str(chance.choice(["extra", "", "x" * 300, "__class__", "id"]))] = owner.pop(path[-1])
        else:
            owner[path[-1]] = copy.deepcopy(chance.choice(STRANGE))
    return found


def json_text(value: Any) -> bytes:
    """JSON as hostile servers write it: also what JSON does not allow."""
    return json.dumps(value, allow_nan=True).encode("utf-8", "surrogatepass")


def spoiled_json(content: bytes, chance: Chance) -> bytes:
    """A JSON text, spoiled as a value three times in four, else as bytes."""
    if chance.random() < 0.01:
        return DEEP.encode()
    if chance.random() < 0.75:
        return json_text(strange(json.loads(content), chance))
    return spoiled(content, chance)


WORDS = (
    b"0", b"-1", b"1e999", b"nan", b"inf", b"true", b'""', b"[]", b"{}", b'"x"', b"[[1]]", b"9" * 5000, b"1979-05-27",
    b"0x7fffffffffffffffff", b'"\\ud800"', b'"\\u0000"', b"'''", b"#", b"=", b"\n[", b"a.b.c", b"\xff\xfe", b"\0",
    b"[" * 2000, b'"' + b"y" * 300 + b'"',
)  # fmt: skip
"""Words that stand in the place of others in a text of settings."""


def spoiled_text(content: bytes, chance: Chance) -> bytes:
    """A text with a value, a word or a line replaced, doubled, left out or moved; sometimes its bytes."""
    if chance.random() < 0.25:
        return spoiled(content, chance)
    lines = content.split(b"\n")
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(6)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(other, lines[place])
    elif kind == 2:
        lines[place], lines[other] = lines[other], lines[place]
    elif kind == 3 and b"=" in lines[place]:
        lines[place] = lines[place].partition(b"=")[0] + b"= " + chance.choice(WORDS)
    else:
        words = lines[place].split(b" ")
        words[chance.randrange(len(words))] = chance.choice(WORDS)
        lines[place] = b" ".join(words)
    return b"\n".join(lines)
