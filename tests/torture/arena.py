"""Where builds are hurt: a town served from memory by a server that remembers every request, and what must hold.

Everything is a real process: `gl10m build`, `dask scheduler`, `dask worker`. A build runs in a session of its own
with temporary and cached files of its own, so that whatever it leaves anywhere can be found.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import ITEMS, MATCHED
from gl10m.scene.class_map import ClassMap
from gl10m.scene.footprint import Footprint
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from pipelines.sources.imagery import Sensor
from pipelines.sources.stac import StacImagery
from pipelines.stages.fetching import ItemLookup
from pipelines.world.world import world_from_osm
from tests.pipelines.imagery_server import Request, World, serving
from tests.pipelines.town import FLOWN, TOWN, Town, contents
from tests.worlds import write_world

LIMIT = 5
"""Scenes of a build: two batches, the second of one scene."""

PATIENCE = 180.0
"""Seconds after which a build that should have ended is taken to hang; machines may be busy."""

HUNG = "hung"
"""What is told of a build that was killed because it took too long."""

Ranges = frozenset[tuple[str, str | None]]
"""Paths of rasters and the ranges that were asked of them."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A build that ended, or was ended."""

    code: int
    said: str
    seconds: float


@dataclass(slots=True)
class Arena:
    """A town, its server, and what an undisturbed build of it gives."""

    folder: Path
    world: World
    town: Town
    reference: dict[str, bytes] = field(default_factory=dict)
    """Published files."""
    journal: set[str] = field(default_factory=set)
    """Names of the files below .gl10m that a finished build leaves."""
    ranges: dict[str, Ranges] = field(default_factory=dict)
    """By scene, what only its HR image asks of the server."""
    undisturbed: Path = Path()
    """Folder of the data set of the undisturbed build."""
    seconds: float = 0.0
    """What the undisturbed build took."""
    _count: int = 0

    def place(self) -> Path:
        """A folder for one trial."""
        self._count += 1
        return self.folder / f"trial-{self._count:04d}"

    def start(
        self,
        trial: Path,
        *more: str,
        before: Sequence[str] = (),
        program: Sequence[str] = (),
        **environment: str,
    ) -> "subprocess.Popen[str]":
        """A build into `trial/root`, in a session of its own.

        Args:
            trial: folder of the trial.
            more: arguments of the command.
            before: command that runs the command, such as strace.
            program: Python that runs in the place of `python -m gl10m`, with its own arguments.
            environment: variables to add.
        """
        for name in ("tmp", "cache"):
            (trial / name).mkdir(parents=True, exist_ok=True)
        python, _, _, *asked = self.town.command(trial / "root", "--limit", str(LIMIT), *more)
        run = ("-c", *program) if program else ("-m", "gl10m")
        return subprocess.Popen(
            [*before, python, *run, *asked],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(trial, **environment),
        )

    def environment(self, trial: Path, **more: str) -> dict[str, str]:
        """The environment of every process of a trial."""
        own = {"TMPDIR": str(trial / "tmp"), "XDG_CACHE_HOME": str(trial / "cache")}
        return {**os.environ, **own, **more}

    def run(self, trial: Path, *more: str, before: Sequence[str] = (), **environment: str) -> Ended:
        """A build that is left alone."""
        return finish(self.start(trial, *more, before=before, **environment))

    def measure(self, *more: str, **environment: str) -> None:
        """Build undisturbed: what every trial is compared with."""
        root = (trial := self.place()) / "root"
        ended = self.run(trial, *more, **environment)
        assert ended.code == 0, ended.said
        self.seconds, self.undisturbed = ended.seconds, root
        self.reference, self.journal = contents(root), journal_files(root)

    def rerun(self, trial: Path, *more: str) -> str | None:
        """The same command again, and what is wrong with what came of it; None if nothing is."""
        done, asked = self.committed(trial), len(self.world.requests)
        ended = self.run(trial, *more)
        if ended.code != 0:
            return f"the rerun ended with {ended.code}: {ended.said[-2000:]}"
        return self.fault(trial) or self.fetched_again(done, self.world.requests[asked:])

    def committed(self, trial: Path) -> set[str]:
        """Scenes that the journal says are finished."""
        receipts = Receipts(Journal(trial / "root")).load()
        return {str(name) for name in values(where(receipts, "outcome", {"kept", "rejected"}), "scene_id")}

    def fetched_again(self, done: set[str], requests: Sequence[Request]) -> str | None:
        """Whether what only finished scenes need was asked for."""
        asked = {(request.path, request.range) for request in requests}
        again = sorted(name for name in done if self.ranges.get(name, frozenset()) & asked)
        return f"{', '.join(again)} fetched again" if again else None

    def fault(self, trial: Path) -> str | None:
        """What a finished build left that an undisturbed one would not have."""
        root = trial / "root"
        differing = _differing(contents(root), self.reference)
        if differing:
            return f"differs from an undisturbed build: {', '.join(differing)}"
        own = journal_files(root)
        if own != self.journal:
            return f"journal: {sorted(own ^ self.journal)}"
        strays = self.strays(trial)
        return f"left behind: {strays}" if strays else None

    def strays(self, trial: Path) -> list[str]:
        """Files of a trial outside of its data set that no build should leave."""
        found = [path for name in ("tmp", "cache") for path in (trial / name).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(trial)) for path in found if path.name not in _DASK_LOCKS)

    def clear(self, trial: Path) -> None:
        """Forget a trial."""
        shutil.rmtree(trial, ignore_errors=True)


_DASK_LOCKS = {"global.lock", "purge.lock"}
"""Files by which workers of Dask keep apart; empty, and there for good."""


def _differing(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def journal_files(root: Path) -> set[str]:
    """Names below .gl10m; of the log, however often it was rotated, one."""
    own = root / ".gl10m"
    return {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}


def finish(process: "subprocess.Popen[str]", patience: float = PATIENCE) -> Ended:
    """Wait for a build and whatever it started; one that takes too long is killed and told to hang."""
    began = time.monotonic()
    try:
        said, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        said, _ = process.communicate()
        said = f"{said}\n({HUNG}: ended after {patience:.0f} s)"
    return Ended(process.returncode, said, time.monotonic() - began)


def unclear(ended: Ended) -> str | None:
    """What is wrong with the words of a build that could not go on."""
    if ended.code < 0:
        return None
    said = [line for line in ended.said.splitlines() if line.startswith("gl10m:")]
    remedies = ("same command again", "Start one with `dask scheduler`", "try again later")
    remedy = any(words in ended.said for words in remedies)
    clear = len(said) == 1 and remedy and "Traceback" not in ended.said
    return None if clear else f"ended with {ended.code} and said {ended.said[-3000:]}"


def session(leader: int) -> dict[int, list[str]]:
    """Processes of a session that live, with their commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                command = (folder / "cmdline").read_bytes().split(b"\0")
                found[int(folder.name)] = [part.decode(errors="replace") for part in command]
    return found


def workers_of(leader: int) -> list[int]:
    """Worker processes of an embedded cluster, or of `dask worker`."""
    return sorted(
        number
        for number, command in session(leader).items()
        if number != leader and any("spawn_main" in part for part in command)
    )


def kill_session(leader: int) -> None:
    """SIGKILL for all at once, as when the power fails."""
    for number in session(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def gone(leader: int, seconds: float = 20.0) -> bool:
    """Whether no process of a session is left, soon."""
    until = time.monotonic() + seconds
    while session(leader):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def arena(folder: Path) -> Iterator[Arena]:
    """Render the town, serve it, and build it undisturbed."""
    osm = write_world(folder / "town-230601.osm.opl", TOWN)
    world_from_osm(osm, folder / "world", "CA", ClassMap.bundled(), FLOWN)
    with serving(served(folder / "world")) as world:
        ready = Arena(folder, world, Town(osm, world.url))
        ready.measure("--workers", "1")
        ready.ranges = _own_ranges(ready)
        yield ready


def served(folder: Path) -> World:
    """A rendered world in memory."""
    rasters = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.tif")}
    lines = [line for file in sorted(folder.glob("stac/*/items.ndjson")) for line in file.open()]
    return World(files=rasters, items=[json.loads(line) for line in lines])


def _own_ranges(ready: Arena) -> dict[str, Ranges]:
    """What the HR image of each scene, and of no other, asks of the server: read each alone and look."""
    stages = ready.undisturbed / ".gl10m" / "stages" / "CA"
    (matched,), (items,) = stages.glob("matching-*.kept.parquet"), stages.glob("items-*.parquet")
    lookup = ItemLookup(pq.read_table(items).cast(ITEMS.schema), Sensor.NAIP)
    source = StacImagery(url=ready.world.url)
    asked: dict[str, Ranges] = {}
    for row in pq.read_table(matched).cast(MATCHED.schema).to_pylist():
        before = len(ready.world.requests)
        source.read_naip(lookup.rows(row["naip_items"]), Footprint(row["longitude"], row["latitude"]))
        asked[row["scene_id"]] = frozenset((r.path, r.range) for r in ready.world.requests[before:])
    times = Counter(span for ranges in asked.values() for span in ranges)
    # A header is read once a process, whatever scene comes first.
    own = {span for span, number in times.items() if number == 1 and not str(span[1]).startswith("bytes=0-")}
    return {name: ranges & own for name, ranges in asked.items()}


def free_port() -> int:
    """A port of the loopback where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
