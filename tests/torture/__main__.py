"""`make torture`: the long form, with a tally. `python -m tests.torture --help` tells what can be chosen."""

import argparse
import contextlib
import math
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.torture import kills, points, repertoire
from tests.torture.arena import Arena, arena
from tests.torture.calls import at_calls
from tests.torture.tally import Tally
from tests.torture.trials import Trials, hurt


def main() -> int:
    asked = _parser().parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if asked.seed is None else asked.seed
    began = time.monotonic()
    tally = Tally(seed, until=began + asked.seconds)
    with (
        contextlib.suppress(KeyboardInterrupt),  # the tally tells what was done until then
        tempfile.TemporaryDirectory(prefix="gl10m-torture-") as folder,
        arena(Path(folder)) as ready,
    ):
        print(f"seed {seed}; a build undisturbed: {ready.seconds:.1f} s", flush=True)
        kills.embedded(ready, asked.embedded, seed, tally)
        kills.on_a_cluster(ready, asked.cluster, seed, tally)
        if asked.points:
            number = points.every_point(ready, tally, step=asked.points, first=asked.first)
            print(f"the driver has {number} kill points once all is fetched")
        if asked.moments or asked.calls:
            _commands(ready, asked, seed, tally)
    print(tally)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if tally.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description="Kill real commands with SIGKILL, run the same commands again, compare every byte of "
        "what they leave with what they leave undisturbed, and print a tally: what was killed how often, at "
        "which moments, and with what faults. A fault ends the whole with exit code 1; its line names seed "
        "and moment.",
        epilog="Without options some 200 kills and every kill point of a driver: hours on two cores. Only "
        "the training, for minutes: --embedded 0 --cluster 0 --points 0 --only train-reference --moments 20",
    )
    whole = parser.add_argument_group("all")
    whole.add_argument(
        "--seed", type=int, help="of the moments; a new one each time, and printed, if not given"
    )
    whole.add_argument("--seconds", type=float, default=math.inf, help="hurt nothing more after so long")
    builds = parser.add_argument_group("gl10m build")
    builds.add_argument(
        "--embedded",
        type=int,
        default=60,
        metavar="KILLS",
        help="of builds with a cluster of their own [default: %(default)s]",
    )
    builds.add_argument(
        "--cluster",
        type=int,
        default=40,
        metavar="KILLS",
        help="of builds on a running cluster, or of it [default: %(default)s]",
    )
    builds.add_argument(
        "--points", type=int, default=1, metavar="STEP", help="try every so many kill points; 0 for none"
    )
    builds.add_argument("--first", type=int, default=1, metavar="POINT", help="the kill point to begin with")
    others = parser.add_argument_group(
        "other commands", "split, export, train-reference with its feature cache, reproduce, compact, repair"
    )
    others.add_argument(
        "--moments",
        type=int,
        default=8,
        metavar="KILLS",
        help="of each command, at random moments, spread over its stages [default: %(default)s]",
    )
    others.add_argument(
        "--calls",
        type=int,
        default=4,
        metavar="KILLS",
        help="of each command, at random calls that make, write, rename or remove a file; needs strace "
        "[default: %(default)s]",
    )
    others.add_argument("--only", default="", metavar="NAME", help="commands whose name contains this")
    return parser


def _commands(ready: Arena, asked: argparse.Namespace, seed: int, tally: Tally) -> None:
    """The commands beside the build."""
    folder = ready.folder / "commands"
    commands = (
        *repertoire.commands(folder),
        *repertoire.commands_on_builds(folder / "on-builds", ready.undisturbed),
    )
    chosen = [command for command in commands if asked.only in command.name]
    if not chosen:
        raise SystemExit(
            f"--only {asked.only} names no command: one of {', '.join(command.name for command in commands)}, "
            "or a part of its name"
        )
    traced = shutil.which("strace") is not None
    if asked.calls and not traced:
        print("no kills at calls: strace is not installed", flush=True)
    for command in chosen:
        if not tally.over:
            trials = Trials(command, folder)
            trials.undisturbed()
            hurt(trials, asked.moments, seed, tally)
            if traced and asked.calls:
                at_calls(trials, asked.calls, seed, tally)
            print(f"{command.name}: {tally.of(command.name)} kills", flush=True)


if __name__ == "__main__":
    sys.exit(main())
