"""`make torture`: the long form, with a tally. `python -m tests.torture --help` tells what can be chosen."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import kills
from tests.torture.arena import arena


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help="of the moments; a new one each time, and printed, if not given"
    )
    parser.add_argument(
        "--embedded", type=int, default=60, help="kills of builds with a cluster of their own"
    )
    parser.add_argument(
        "--cluster", type=int, default=40, help="kills of builds on a running cluster, or of it"
    )
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    tally, began = kills.Tally(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gl10m-torture-") as folder, arena(Path(folder)) as ready:
        print(f"undisturbed: {ready.seconds:.1f} s", flush=True)
        kills.embedded(ready, asked.embedded, seed, tally)
        kills.on_a_cluster(ready, asked.cluster, seed, tally)
    print(tally)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
