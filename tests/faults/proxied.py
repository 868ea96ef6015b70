"""Faults of the network at a rate: each kind alone, and all together."""

from collections.abc import Iterator, Sequence

from scripts.fault_proxy import KINDS
from tests.faults.ledger import Row
from tests.faults.signed import Signed

RATES = (0.01, 0.1, 0.3)
ALL = "all kinds together"


def proxied(
    signed: Signed, rates: Sequence[float], kinds: Sequence[str], seed: int, *, least: int, most: int
) -> Iterator[Row]:
    """A row for each rate and kind.

    Args:
        signed: where.
        rates: shares of requests that are spoiled.
        kinds: of the proxy's, or ALL.
        seed: of the proxy; that of the next build is one more.
        least: build again until so many faults were injected; at 1 % one build meets few.
        most: but not more often than this.
    """
    for rate in rates:
        for kind in kinds:
            chosen = KINDS if kind == ALL else (kind,)
            named = f"{kind}, {rate:.0%}"
            row = signed.trial(named, rate, seed, chosen)
            while row.injected < least and row.builds < most:
                row += signed.trial(named, rate, seed + row.builds, chosen)
            yield row
