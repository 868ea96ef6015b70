"""Damage as disks, networks and people do it: one change of one file, by a seed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Files = Mapping[str, bytes]
"""Name below the root to content."""

Change = Callable[[np.random.Generator, bytes, bytes], bytes | None]
"""Takes a file and another of its kind, gives what stands there afterwards; None for nothing."""


def flip(generator: np.random.Generator, content: bytes, other: bytes) -> bytes:
    del other
    changed = bytearray(content)
    changed[generator.integers(len(content))] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def cut(generator: np.random.Generator, content: bytes, other: bytes) -> bytes:
    del other
    return content[: generator.integers(len(content))]


def zero(generator: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """A page, a sector or a few bytes of zeros, as after a crash."""
    del other
    length = min(len(content), int(generator.choice([1, 16, 512, 4096])))
    start = int(generator.integers(len(content) - length + 1))
    return content[:start] + bytes(length) + content[start + length :]


def append(generator: np.random.Generator, content: bytes, other: bytes) -> bytes:
    del other
    return content + generator.bytes(int(generator.integers(1, 100)))


def replace(generator: np.random.Generator, content: bytes, other: bytes) -> bytes:
    del generator, content
    return other


def delete(generator: np.random.Generator, content: bytes, other: bytes) -> None:
    del generator, content, other


CHANGES: tuple[Change, ...] = (flip, flip, flip, flip, cut, zero, zero, append, replace, delete)
"""Bits flip most often."""


@dataclass(frozen=True)
class Mutation:
    """Which file was changed how."""

    number: int
    name: str
    change: str
    content: bytes | None

    def __str__(self) -> str:
        return f"mutation {self.number}: {self.change} {self.name}"


def mutation(files: Files, number: int) -> Mutation:
    """The change of one number; each kind of file has its turn, shards every other time."""
    generator = np.random.default_rng([7, number])
    shards = [name for name in sorted(files) if name.startswith("data/")]
    others = [name for name in sorted(files) if not name.startswith("data/")]
    while True:
        name = str(generator.choice(shards if number % 2 else others))
        folder = name.partition("/")[0]
        of_its_kind = [own for own in sorted(files) if own.startswith(folder) and files[own] != files[name]]
        change = CHANGES[int(generator.integers(len(CHANGES)))]
        other = files[str(generator.choice(of_its_kind))] if of_its_kind else b""
        content = change(generator, files[name], other)
        # A data set need not be split: without its splits it is whole.
        if content != files[name] and not (content is None and name.endswith("splits.parquet")):
            return Mutation(number, name, change.__name__, content)
