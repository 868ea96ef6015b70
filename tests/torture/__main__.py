"""`make torture`: the long form, with a tally. `python -m tests.torture --help` tells what can be chosen."""

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import kills, points
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
    parser.add_argument("--points", type=int, default=1, help="try every so many kill points; 0 for none")
    parser.add_argument("--first", type=int, default=1, help="the kill point to begin with")
    parser.add_argument("--seconds", type=float, default=math.inf, help="hurt nothing more after so long")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    began = time.monotonic()
    tally = kills.Tally(seed, until=began + asked.seconds)
    with tempfile.TemporaryDirectory(prefix="gl10m-torture-") as folder, arena(Path(folder)) as ready:
        print(f"undisturbed: {ready.seconds:.1f} s", flush=True)
        kills.embedded(ready, asked.embedded, seed, tally)
        kills.on_a_cluster(ready, asked.cluster, seed, tally)
        if asked.points:
            number = points.every_point(ready, tally, step=asked.points, first=asked.first)
            print(f"the driver has {number} kill points once all is fetched")
    print(tally)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
