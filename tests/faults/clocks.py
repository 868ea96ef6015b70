"""Clocks that disagree: ours, the token server's, the store's and the gateway's, and ours set while a build runs."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tests.faults.account import followed
from tests.faults.archive import LIFE, NOW, Clocks
from tests.faults.ledger import Row
from tests.faults.network import bad_network
from tests.faults.signed import LONGEST, Signed
from tests.torture.arena import finish
from tests.torture.kills import wait_for_stage
from tests.wrong_clock import WrongClock

TIMED = ("429 until", "expired token")
"""Faults of the network in which clocks have a say; every tenth answer is one."""

HOUR, DAY, DECADE = timedelta(hours=1), timedelta(days=1), timedelta(days=3652)


@dataclass(frozen=True, slots=True)
class Skew:
    """Whose clock is wrong, and how."""

    clocks: Clocks = field(default_factory=Clocks)
    machine: timedelta = NOW
    """How much ours is ahead from the start."""
    then: timedelta | None = None
    """And from the moment on at which images are fetched."""


SKEWS = {
    "tokens live 4 s": Skew(Clocks(life=timedelta(seconds=4))),
    "token server 10 years ahead": Skew(Clocks(ahead=DECADE)),
    "token server an hour behind, its answers undated": Skew(Clocks(ahead=-HOUR, dated=False)),
    "tokens end after 4 s and are told to live an hour": Skew(Clocks(life=timedelta(seconds=4), told=HOUR)),
    "tokens are told to have ended an hour ago": Skew(Clocks(told=-HOUR - LIFE)),
    "our clock a day behind": Skew(machine=-DAY),
    "our clock a day ahead, tokens undated": Skew(Clocks(dated=False), machine=DAY),
    "our clock a day behind, tokens undated, end after 4 s": Skew(
        Clocks(life=timedelta(seconds=4), dated=False), machine=-DAY
    ),
    "our clock set from 10 years ahead to 10 behind in the images": Skew(machine=DECADE, then=-DECADE),
}


def skewed(signed: Signed, clock: WrongClock, seed: int, names: list[str] | None = None) -> Iterator[Row]:
    """A row for each skew."""
    for number, name in enumerate(names or SKEWS):
        yield _trial(signed, clock, name, SKEWS[name], seed + number)
    clock.set(0)
    signed.archive.clocks = Clocks()


def _trial(signed: Signed, clock: WrongClock, name: str, skew: Skew, seed: int) -> Row:
    trial = signed.arena.place()
    signed.archive.clocks = skew.clocks
    clock.set(skew.machine.total_seconds())
    kinds = [word for kind in TIMED for word in ("--kind", kind)]
    # The gateway is the archive's, and its clock the token server's.
    ahead = ("--ahead", str(skew.clocks.ahead.total_seconds()))
    with bad_network(0.1, seed, *signed.archive.host, *kinds, *ahead) as network:
        course = signed.course(name, trial, network, **clock.environment)
        environment = signed.environment(network, **clock.environment)
        began = time.monotonic()
        building = signed.arena.start(trial, *signed.asked(trial), **environment)
        if skew.then is not None:
            wait_for_stage(building, trial / "root", "in the images")
            clock.set(skew.then.total_seconds())
        first = replace(finish(building, LONGEST), seconds=time.monotonic() - began)
        row = followed(course, first)
    signed.arena.clear(trial)
    return row
