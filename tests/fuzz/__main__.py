"""`python -m tests.fuzz`: the long form, with a tally by reader; exit code 1 where anything was found."""

import argparse
import random
import sys
import time

from tests.fuzz.driver import run, spread
from tests.fuzz.subject import SUBJECTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_800, help="inputs over all readers")
    parser.add_argument("--seed", type=int, help="a new one each time, and printed, if not given")
    parser.add_argument("--reader", action="append", help="try only readers with this in their name")
    parser.add_argument("--number", type=int, help="one input alone, of the reader named")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    chosen = [place for place in SUBJECTS if not asked.reader or any(part in place for part in asked.reader)]
    if not chosen:
        parser.error(f"a reader is one of {', '.join(SUBJECTS)}; got {', '.join(asked.reader)}")
    plan = spread(asked.count, chosen)
    if asked.number is not None:
        plan = [(place, asked.number, 1) for place in chosen]
    began = time.monotonic()
    tally = run(plan, seed)
    print(tally)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
