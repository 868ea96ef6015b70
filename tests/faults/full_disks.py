"""Disks that are full at some point of a build, and get more room before the same command comes again."""

from collections.abc import Iterator, Sequence

from tests.faults.account import followed, in_folder
from tests.faults.ledger import Row
from tests.torture.arena import Arena, Ended
from tests.torture.disks import ENOUGH, SIZES, remount, small_disk


def full(arena: Arena, shorts: Sequence[str] = tuple(SIZES)) -> Iterator[Row]:
    """A row for each thing that there is no room for."""
    for short in shorts:
        yield _full(arena, short)


def _full(arena: Arena, short: str) -> Row:
    trial = arena.place()

    def again() -> Ended:
        remount(trial / "root", f"size={ENOUGH}")
        return arena.run(trial, "--workers", "1")

    with small_disk(trial / "root", str(SIZES[short](arena.undisturbed))):
        course = in_folder(arena, trial, f"disk full: no room {short}", again, lambda: 1)
        row = followed(course, arena.run(trial, "--workers", "1"))
    arena.clear(trial)
    return row
