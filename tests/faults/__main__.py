"""`make faults`: real builds of a small town that meet one fault after another, and a table of what came of them.

    python -m tests.faults                                   # everything, over an hour on two busy cores
    python -m tests.faults --only network --rate 0.3 --kind reset --kind stall --seed 7
    python -m tests.faults --only disks --only buckets

network: each kind of fault of `scripts.fault_proxy` alone and all together, at each rate, on a signed archive.
clocks:  token server, store, gateway and this machine disagree about the time, or it is set while the build runs.
losses:  workers and schedulers are killed while images are fetched; needs no privileges.
disks:   disks that are too small, then larger; needs root, who may mount them.
buckets: the data set's bucket is out for a while, shorter and longer than the build's patience.

A build that is not complete is run again, under the same faults, until it is. Wrong is whatever is lost then,
differs from the undisturbed build, was asked for again without need, or was told without a clear word; the exit
code is 1 then. docs/faults.md has the figures of the last long run.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from scripts.fault_proxy import KINDS
from tests.faults.clocks import skewed
from tests.faults.full_disks import full
from tests.faults.ledger import Ledger, Row
from tests.faults.losses import lost
from tests.faults.outages import LONG, PUT_LATE, SHORT, STARTS, bucket_server, outages
from tests.faults.proxied import ALL, RATES, proxied
from tests.faults.signed import signed
from tests.torture.arena import Arena, arena
from tests.wrong_clock import wrong_clock


def main() -> int:
    """Try what is chosen; 1 where anything is wrong."""
    asked = _parser().parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    ledger, began = Ledger(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gl10m-faults-") as folder, arena(Path(folder)) as ready:
        for part in asked.only or PARTS:
            try:
                ledger.take(PARTS[part](ready, seed, asked))
            except pytest.skip.Exception as error:
                ledger.skipped[part] = str(error.msg)
    print(f"\n{ledger}\n{time.monotonic() - began:.0f} s")
    return 1 if ledger.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="of all chance; a new one, and printed, if not given")
    parser.add_argument(
        "--only", action="append", choices=list(PARTS), help="this part alone; may be given several times"
    )
    parser.add_argument(
        "--rate",
        action="append",
        type=_share,
        help=f"share of requests that the network spoils; {', '.join(map(str, RATES))} if not given",
    )
    parser.add_argument(
        "--kind",
        action="append",
        choices=[*KINDS, ALL],
        help="what it does to them; each in its turn if not given",
    )
    parser.add_argument(
        "--least", type=_count, default=1, help="build again until so many faults met a rate and kind"
    )
    parser.add_argument("--most", type=_count, default=3, help="but so many times at most")
    parser.add_argument("--kills", type=_count, default=1, help="builds for each thing that is killed")
    return parser


def _share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (share := float(text)) < 1:
            return share
    raise argparse.ArgumentTypeError(f"a rate is a number between 0 and 1; got {text}")


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"a count is a whole number above 0; got {text}")


def _network(ready: Arena, seed: int, asked: argparse.Namespace) -> Iterator[Row]:
    kinds: Sequence[str] = asked.kind or (ALL, *KINDS)
    with signed(ready) as made:
        yield from proxied(made, asked.rate or RATES, kinds, seed, least=asked.least, most=asked.most)


def _clocks(ready: Arena, seed: int, _: argparse.Namespace) -> Iterator[Row]:
    folder = ready.place()
    folder.mkdir()
    clock = wrong_clock(folder)
    with signed(ready) as made:
        yield from skewed(made, clock, seed)


def _losses(ready: Arena, seed: int, asked: argparse.Namespace) -> Iterator[Row]:
    return lost(ready, seed, asked.kills)


def _disks(ready: Arena, _: int, __: argparse.Namespace) -> Iterator[Row]:
    return full(ready)


def _buckets(ready: Arena, _: int, __: argparse.Namespace) -> Iterator[Row]:
    with bucket_server() as store:
        yield from outages(ready, store, SHORT, tuple(STARTS))
        yield from outages(ready, store, LONG, PUT_LATE)


PARTS: dict[str, Callable[[Arena, int, argparse.Namespace], Iterator[Row]]] = {
    "network": _network,
    "clocks": _clocks,
    "losses": _losses,
    "disks": _disks,
    "buckets": _buckets,
}


if __name__ == "__main__":
    sys.exit(main())
