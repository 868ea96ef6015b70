"""Workers that are killed over and over, and a scene that kills its reader: the build ends, and the next one mends."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import MATCHED, REJECTIONS
from tests.torture.arena import Arena, finish, gone
from tests.torture.kills import kill_every
from tests.torture.test_together import until

pytestmark = pytest.mark.slow

POISONED = """
import sys
from dataclasses import replace
import pipelines.build
from tests.pipelines.test_poison import Deadly
place = float(sys.argv.pop(1)), float(sys.argv.pop(1))
opened = pipelines.build.open_sources
def deadly(*asked):
    sources = opened(*asked)
    return replace(sources, lr=Deadly(sources.lr, *place))
pipelines.build.open_sources = deadly
sys.argv[0] = "gl10m"
from gl10m.cli import main
sys.exit(main())
"""
"""`gl10m` whose readers die of one place."""


def lost(root: Path) -> dict[str, str]:
    """Scenes that failed, with the reason."""
    table = parquet.read(root / "manifests" / "rejections.parquet", REJECTIONS)
    failed = where(table, "outcome", {"failed"})
    return dict(zip(values(failed, "subject"), values(failed, "reason"), strict=True))


def test_a_worker_is_killed_every_two_seconds_and_one_scene_kills_its_reader(ready: Arena) -> None:
    (matched,) = ready.undisturbed.glob(".gl10m/stages/CA/matching-*.kept.parquet")
    poison = pq.read_table(matched).select(MATCHED.names).to_pylist()[2]
    program = (POISONED, str(poison["longitude"]), str(poison["latitude"]))
    trial = ready.place()
    building = ready.start(trial, "--workers", "2", program=program)
    until("in the images", trial / "root")
    shot = kill_every(2.0, building)
    ended = finish(building)
    assert shot
    assert ended.code == 1, ended.said
    assert gone(building.pid)
    found = lost(trial / "root")
    # Of those that died under a shot too often nobody can tell that they are innocent.
    assert poison["scene_id"] in found
    assert set(found.values()) == {"WORKER_LOST"}
    again = finish(ready.start(trial, "--workers", "2", program=program))
    assert again.code == 1, again.said
    assert lost(trial / "root") == {poison["scene_id"]: "WORKER_LOST"}
    assert ready.rerun(trial, "--workers", "2") is None
