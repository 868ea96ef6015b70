"""A cluster on two hosts, one of which is cut off in the middle of a build."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.pipelines.town import contents
from tests.torture.arena import Arena, journal_files, session
from tests.torture.hosts import Site, freeze, site, two_hosts

pytestmark = pytest.mark.slow

MOST_LOST = 45.0
"""Seconds that a build may lose with a host."""


def finish(building: "subprocess.Popen[bytes]", folder: Path) -> float:
    began = time.monotonic()
    assert building.wait(timeout=240) == 0, (folder / "log").read_text()[-3000:]
    return time.monotonic() - began


def until_first_fragment(root: Path) -> None:
    until = time.monotonic() + 120
    while not any(root.glob(".gl10m/fragments/[!.]*.parquet")):
        assert time.monotonic() < until, "no image is fetched"
        time.sleep(0.02)


@pytest.mark.parametrize("frozen", [False, True], ids=["goes on writing", "wakes up after the end"])
def test_a_host_that_is_cut_off_costs_some_seconds_and_does_no_harm(
    ready: Arena, frozen: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, osm = ready.place(), ready.town.osm
    with two_hosts() as hosts, site(hosts, ready.folder / "world", folder) as cluster:
        undisturbed = folder / "undisturbed"
        began = time.monotonic()
        finish(cluster.build(osm, undisturbed, *cluster.scheduler), folder)
        took = time.monotonic() - began
        root = folder / "root"
        began = time.monotonic()
        building = cluster.build(osm, root, *cluster.scheduler)
        until_first_fragment(root)
        cluster.second.cut()
        if frozen:
            freeze(cluster.far_worker.pid)
        after = finish(building, folder)
        lost = time.monotonic() - began - took
        with capsys.disabled():
            print(f"\nundisturbed {took:.1f} s; ended {after:.1f} s after the cut, {lost:.1f} s lost")
        assert contents(root) == contents(undisturbed)
        if frozen:
            freeze(cluster.far_worker.pid, thaw=True)
        _until_quiet(cluster)
        assert journal_files(root) == journal_files(undisturbed)
        assert after < MOST_LOST


def _until_quiet(cluster: Site) -> None:
    """Until the lost worker has given up, or a while has passed."""
    until = time.monotonic() + 20
    while len(session(cluster.far_worker.pid)) > 1 and time.monotonic() < until:
        time.sleep(0.2)
