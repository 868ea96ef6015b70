"""The account sees what is lost: a check that could not fail would say nothing."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest import parquet
from gl10m.manifest.schema import REJECTIONS, SCENES
from tests.faults.account import Course, followed, rows
from tests.faults.ledger import Ledger, Row
from tests.pipelines.town import contents
from tests.torture.arena import Ended

COMPLETE = Ended(0, "", 5.0)
STOPPED = Ended(2, "gl10m: the disk is full. Run the same command again.", 2.0)


def course(built: Path, root: Path, *runs: Ended) -> Course:
    """Of a build whose next runs end like this, and leave what lies in a folder."""
    coming = iter(runs)
    return Course(
        fault="planted",
        root=lambda: root,
        again=lambda: next(coming),
        differing=lambda: None if contents(root) == contents(built) else "differs",
        undisturbed=built,
        seconds=4.0,
        requests=lambda: 30,
        injected=lambda: 3,
    )


def without_a_scene(built: Path, root: Path, failed: str | None = None) -> None:
    """A copy of a data set that lacks a scene; it says so where a reason is given."""
    shutil.copytree(built, root)
    manifests = root / "manifests"
    scenes = pq.read_table(manifests / "scenes.parquet")
    lost = scenes.column("scene_id")[0].as_py()
    parquet.write(manifests / "scenes.parquet", scenes.slice(1).cast(SCENES.schema), SCENES, {})
    if failed is not None:
        rejected = pq.read_table(manifests / "rejections.parquet").to_pylist()
        row = {**rejected[0], "subject": lost, "outcome": "failed", "reason": "Lost", "detail": failed}
        table = pa.Table.from_pylist([*rejected, row], schema=REJECTIONS.schema)
        parquet.write(manifests / "rejections.parquet", table, REJECTIONS, {})


def test_a_build_that_lost_nothing(built: Path) -> None:
    row = followed(course(built, built), COMPLETE)
    assert (row.survived, row.reruns, row.lost, row.same, row.wrong) == (1, 0, 0, 1, ())
    assert (row.requests, row.injected, row.seconds, row.undisturbed) == (30, 3, 5.0, 4.0)
    assert len(rows(built)) > 7


def test_a_build_that_stopped_and_was_run_again(built: Path) -> None:
    row = followed(course(built, built, COMPLETE), STOPPED)
    assert (row.survived, row.reruns, row.lost, row.same, row.wrong) == (0, 1, 0, 1, ())
    assert row.failed == Counter(["build stopped"])
    assert row.seconds == 7.0


def test_a_row_that_is_lost_without_a_word_is_seen(built: Path, tmp_path: Path) -> None:
    without_a_scene(built, tmp_path / "root")
    row = followed(course(built, tmp_path / "root"), COMPLETE)
    assert (row.survived, row.lost, row.same) == (1, 1, 0)
    assert row.wrong == ("1 rows lost", "differs")


def test_a_scene_that_fails_for_ever_is_lost(built: Path, tmp_path: Path) -> None:
    without_a_scene(built, tmp_path / "root", "x could not be read in 6 attempts: status 404: not here")
    again = Ended(1, "imagery: 1 scenes to fetch", 1.0)
    row = followed(course(built, tmp_path / "root", again, again), Ended(1, "", 1.0), most=2)
    assert row.failed == Counter(["Lost (status 404)"])
    assert (row.reruns, row.lost) == (2, 1)
    assert row.wrong == ("not complete after 2 reruns: 1", "1 rows lost", "differs")


def test_a_rerun_that_asks_for_too_much_is_seen(built: Path, tmp_path: Path) -> None:
    without_a_scene(built, tmp_path / "root", "gone")
    again = Ended(0, "imagery: 5 scenes to fetch", 1.0)
    row = followed(course(built, tmp_path / "root", again), Ended(1, "", 1.0))
    assert row.wrong[0].startswith("1 scenes had failed, and the next run asked for others")


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended(2, "gl10m: it went wrong", 1.0), "ended with 2"),
        (Ended(1, "Traceback (most recent call last):", 1.0), "a traceback"),
        (Ended(0, "Traceback (most recent call last):", 1.0), "a traceback"),
        (Ended(-9, "(hung: ended after 180 s)", 180.0), "took too long"),
    ],
)
def test_a_build_that_tells_no_remedy_or_a_traceback_is_wrong(built: Path, ended: Ended, said: str) -> None:
    row = followed(course(built, built, COMPLETE), ended)
    assert said in row.wrong[0]


def test_the_table_sums_builds_and_says_what_is_wrong() -> None:
    row = Row(fault="reset, 1%", injected=2, survived=1, same=1, seconds=9.0, undisturbed=8.0, requests=1200)
    sad = replace(
        row, survived=0, failed=Counter({"Lost": 2}), reruns=1, lost=2, same=0, wrong=("2 rows lost",)
    )
    ledger = Ledger(7)
    ledger.take([row + row, sad])
    lines = str(ledger).splitlines()
    assert lines[2] == "| reset, 1% | 2 | 2,400 | 4 | 2 | 0 | 0 | 0 | 2 | 18 | 16 |"
    assert lines[3] == "| reset, 1% | 1 | 1,200 | 2 | 0 | 2 Lost | 1 | 2 | 0 | 9 | 8 |"
    assert {line.count("|") for line in lines[:4]} == {12}
    assert lines[5].startswith("seed 7: 3 builds, 6 faults, 2 builds survived at once, 1 reruns, 2 rows lost")
    assert lines[-1] == "WRONG reset, 1%: 2 rows lost"
