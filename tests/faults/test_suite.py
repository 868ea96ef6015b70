"""The short form of `make faults`: all kinds of faults at each rate, clocks that disagree, and a bucket that is out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.account import followed, in_folder
from tests.faults.clocks import skewed
from tests.faults.ledger import Row
from tests.faults.outages import SHORT, bucket_server, outages
from tests.faults.proxied import ALL, RATES, proxied
from tests.faults.signed import Signed, signed
from tests.torture.arena import Arena
from tests.wrong_clock import wrong_clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEED = 20260411
SKEWS = [
    "our clock a day ahead, tokens undated",
    "our clock set from 10 years ahead to 10 behind in the images",
]


@pytest.fixture(scope="module")
def behind_signatures(ready: Arena) -> Iterator[Signed]:
    with signed(ready) as made:
        yield made


def assert_nothing_is_lost(rows: Iterator[Row], capsys: pytest.CaptureFixture[str], most: int) -> None:
    found = list(rows)
    with capsys.disabled():
        print("", *found, sep="\n")
    assert [row.wrong for row in found] == [()] * most
    assert all(row.lost == 0 and row.same == row.builds for row in found)
    assert all(row.injected > 0 for row in found)


def test_all_kinds_of_faults_at_each_rate(
    behind_signatures: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = proxied(behind_signatures, RATES, [ALL], SEED, least=1, most=2)
    assert_nothing_is_lost(rows, capsys, len(RATES))


def test_clocks_that_disagree(
    behind_signatures: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = skewed(behind_signatures, wrong_clock(tmp_path), SEED, SKEWS)
    assert_nothing_is_lost(rows, capsys, len(SKEWS))


def test_a_bucket_that_nobody_answers_for_some_seconds(
    ready: Arena, capsys: pytest.CaptureFixture[str]
) -> None:
    with bucket_server() as store:
        (row,) = outages(ready, store, SHORT, ["the images"], [True])
    assert_nothing_is_lost(iter([row]), capsys, 1)
    assert row.survived == 1


def test_scenes_whose_raster_never_comes_are_lost_and_that_is_seen(ready: Arena, tmp_path: Path) -> None:
    trial = ready.place()
    taken = next(name for name in sorted(ready.world.files) if "/naip/" in name)  # of every scene
    kept = ready.world.files.pop(taken)
    (tmp_path / "soon.toml").write_text("[network]\nwait_initial = 0.01\nwait_max = 0.1\njitter = 0\n")
    arguments = ("--workers", "2", "--config", str(tmp_path / "soon.toml"))
    try:
        course = in_folder(ready, trial, "planted", lambda: ready.run(trial, *arguments), lambda: 1)
        row = followed(course, ready.run(trial, *arguments), most=1)
    finally:
        ready.world.files[taken] = kept
    assert row.lost > 0
    assert row.same == 0
    assert any("rows lost" in why for why in row.wrong)
    assert any("not complete after 1 reruns" in why for why in row.wrong)
    assert all("404" in why for why in row.failed)
