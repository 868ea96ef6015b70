"""A small world for whole builds: one town on one quarter quad."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pipelines.world.naip import Vintage
from pipelines.world.world import WorldParameters
from tests.worlds import square, world_of

NORTH, WEST = 38.53125, -121.46875
"""Middle of a quarter quad near Sacramento, so that every footprint of the town lies in it."""

TOWN = world_of(
    square(1, WEST - 0.014, NORTH + 0.014, 0.004, "leisure=golf_course"),
    square(2, WEST, NORTH + 0.014, 0.006, "landuse=forest"),
    square(3, WEST + 0.014, NORTH + 0.014, 0.003, "amenity=school"),
    square(4, WEST - 0.014, NORTH, 0.002, "amenity=hospital"),
    square(5, WEST, NORTH, 0.005, "natural=water,water=lake"),
    square(6, WEST + 0.014, NORTH, 0.0004, "leisure=pitch,sport=tennis"),
    square(7, WEST + 0.0145, NORTH + 0.0005, 0.0004, "leisure=pitch,sport=tennis"),
    square(8, WEST, NORTH - 0.014, 0.001, "building=yes,tower:type=observation"),
)


FLOWN = WorldParameters(vintages=(Vintage(date(2022, 9, 3), 1.0),), most_quads=1)
"""One flight at 1 m without a hole; a cloud stands over one place, so that some scenes are rejected."""


@dataclass(frozen=True)
class Town:
    osm: Path
    address: str

    def build(self, root: Path | str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Build to the end, with these environment variables added."""
        return subprocess.run(
            self.command(root, *more),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )

    @property
    def world(self) -> Path:
        """Folder of the rendered world."""
        return self.osm.parent / "world"

    def command(self, root: Path | str, *more: str) -> list[str]:
        place = ["--states", "CA", "--osm", str(self.osm), "--source", "stac", "--stac-url", self.address]
        return [sys.executable, "-m", "gl10m", "build", *place, "--root", str(root), *more]


def contents(root: Path) -> dict[str, bytes]:
    """Every published file with its bytes; the journal is not part of the data set."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".gl10m" not in path.parts
    }


def start(town: Town, root: Path | str, *more: str) -> "subprocess.Popen[str]":
    """A build in a process group of its own, as a terminal would start it."""
    return subprocess.Popen(
        town.command(root, *more),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(happened: Callable[[], bool], building: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 120
    while building.poll() is None and not happened():
        assert time.monotonic() < until, "the build did not get so far"
        time.sleep(0.05)
