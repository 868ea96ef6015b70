"""Downloads from a server that cuts, stalls, resets, refuses and changes its mind."""

import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import numpy as np
import pytest

from pipelines.sources.download import DownloadError, NotOfferedError, download, small_text
from pipelines.sources.partial_file import CacheError, Whole, partial_file
from pipelines.sources.patience import Patience
from tests.pipelines.unruly_server import Act, Unruly, unruly_server

CONTENT = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
QUICK = Patience(stall_seconds=0.3, attempts=4, wait_initial=0.01, wait_max=0.02, jitter=0.01, longest_wait=2)
FILE = "/us/town-250101.osm.pbf"


@pytest.fixture
def server() -> Iterator[Unruly]:
    with unruly_server() as world:
        yield world


def fetch(server: Unruly, target: Path, md5: str | None = MD5, patience: Patience = QUICK) -> None:
    download(server.address + FILE, target, md5=md5, patience=patience)


@pytest.mark.parametrize("how", ["close", "reset", "stall", "drip"])
def test_what_was_cut_goes_on_where_it_stopped(server: Unruly, tmp_path: Path, how: str) -> None:
    server.offer(FILE, CONTENT)
    server.acts = [Act(stop_after=1_000_000, then=how), Act(stop_after=500_000, then=how)]
    fetch(server, tmp_path / "town.osm.pbf")
    assert (tmp_path / "town.osm.pbf").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["town.osm.pbf"]
    spans = [int(span.removeprefix("bytes=")[:-1]) for span, _ in server.sent(FILE) if span]
    assert len(spans) == 2
    # A reset may throw away what the kernel still held; it never makes the part longer than what was sent.
    assert 0 < spans[0] <= 1_000_040
    assert spans[0] <= spans[1] <= 1_500_080
    assert [status for _, status in server.sent(FILE)] == [200, 206, 206]


def test_another_run_goes_on_where_one_gave_up(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, CONTENT)
    server.acts = [Act(stop_after=100_000)] * 2
    with pytest.raises(DownloadError, match=r"could not be read in 2 attempts: .*run the same command again"):
        fetch(server, tmp_path / "t", patience=replace(QUICK, attempts=2))
    assert (tmp_path / "t.part").stat().st_size == 200_000
    fetch(server, tmp_path / "t")
    assert server.sent(FILE)[-1] == ("bytes=200000-", 206)
    assert (tmp_path / "t").read_bytes() == CONTENT


def test_a_killed_downloader_is_gone_on_with(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, CONTENT)
    server.acts = [Act(stop_after=1_000_000, then="stall")]
    code = (
        "import sys; from pathlib import Path; from pipelines.sources.download import download;"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, server.address + FILE, tmp_path / "t"]) as running:
        part = tmp_path / "t.part"
        until = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size == 1_000_000):
            assert time.monotonic() < until
            assert running.poll() is None
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
    fetch(server, tmp_path / "t")
    assert server.sent(FILE)[-1] == ("bytes=1000000-", 206)
    assert (tmp_path / "t").read_bytes() == CONTENT


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changed_is_fetched_anew(server: Unruly, tmp_path: Path, *, etags: bool) -> None:
    server.etags = etags  # without one, and without Last-Modified, no part can be trusted
    server.offer(FILE, OTHER)
    server.acts = [Act(stop_after=1_000_000)]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "t", patience=replace(QUICK, attempts=1))
    server.offer(FILE, CONTENT)
    fetch(server, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert server.sent(FILE)[-1][1] == 200


@pytest.mark.parametrize("careless", [Act(), Act(blind=True)])
def test_a_file_that_changes_during_one_run_is_fetched_anew(
    server: Unruly, tmp_path: Path, careless: Act
) -> None:
    server.offer(FILE, OTHER)
    server.acts = [Act(stop_after=1_000_000, then_offer=CONTENT), careless]
    fetch(server, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert server.sent(FILE)[1][0] == "bytes=1000000-"
    assert server.sent(FILE)[-1][1] == 200


def test_a_part_that_does_not_say_of_which_version_is_not_taken(server: Unruly, tmp_path: Path) -> None:
    """No MD5 would find out: a careless proxy sends the rest of the new file for the start of the old."""
    server.offer(FILE, OTHER)
    server.acts = [Act(stop_after=1_000_000)]
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "t", patience=replace(QUICK, attempts=1))
    server.etags = False
    server.offer(FILE, CONTENT)
    server.acts = [Act(blind=True)]
    fetch(server, tmp_path / "t", md5=None)
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert [status for _, status in server.sent(FILE)] == [200, 206, 200]


def test_a_redirect_that_moved_on_mixes_nothing(server: Unruly, tmp_path: Path) -> None:
    """Two dated files of one ETag: only the address tells them apart."""
    server.offer(FILE, CONTENT)
    server.offer("/us/town-250102.osm.pbf", CONTENT)
    latest = "/us/town-latest.osm.pbf"
    server.redirects[latest] = server.address + FILE
    server.acts = [Act(stop_after=1_000_000)]
    with pytest.raises(DownloadError):
        download(server.address + latest, tmp_path / "t", patience=replace(QUICK, attempts=1))
    server.redirects[latest] = server.address + "/us/town-250102.osm.pbf"
    whole = download(server.address + latest, tmp_path / "t", patience=QUICK)
    assert whole.address.endswith("town-250102.osm.pbf")
    assert server.sent("/us/town-250102.osm.pbf") == [("bytes=1000000-", 206), (None, 200)]
    assert (tmp_path / "t").read_bytes() == CONTENT


@pytest.mark.parametrize("act", [Act(no_ranges=True), Act(wrong_range=True), Act(status=416)])
def test_servers_that_do_not_resume_send_the_whole_again(server: Unruly, tmp_path: Path, act: Act) -> None:
    server.offer(FILE, CONTENT)
    server.acts = [Act(stop_after=1_000_000), act]
    fetch(server, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == CONTENT


def test_a_busy_server_is_waited_for_as_long_as_it_asks(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, CONTENT)
    server.acts = [Act(status=503, retry_after="1"), Act(status=429)]
    begun = time.monotonic()
    fetch(server, tmp_path / "t")
    assert time.monotonic() - begun >= 1
    assert (tmp_path / "t").read_bytes() == CONTENT
    (agent,) = server.agents
    assert agent.startswith("gl10m/")


@pytest.mark.parametrize("as_date", [False, True])
def test_too_many_requests_is_answered_by_the_wait_asked_for(
    server: Unruly, tmp_path: Path, *, as_date: bool
) -> None:
    server.offer(FILE, CONTENT)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # whole seconds
    server.acts = [Act(status=429, retry_after=soon if as_date else "1")]
    begun = time.monotonic()
    fetch(server, tmp_path / "t")
    assert 0.9 <= time.monotonic() - begun < 10
    assert [status for _, status in server.sent(FILE)] == [429, 200]


def test_too_long_a_wait_is_told_and_not_waited_for(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, CONTENT)
    server.acts = [Act(status=503, retry_after="3600")]
    with pytest.raises(DownloadError, match=r"come back in 3,600 s"):
        fetch(server, tmp_path / "t")


def test_a_wrong_checksum_deletes_and_explains(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, OTHER)
    with pytest.raises(DownloadError, match=f"promises {MD5}: .*is deleted; run the same command again"):
        fetch(server, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_asked_for_once(server: Unruly, tmp_path: Path) -> None:
    with pytest.raises(NotOfferedError, match="Check the address"):
        fetch(server, tmp_path / "t")
    assert len(server.asked) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="could not be read in 2 attempts"):
        download("http://127.0.0.1:9/t", tmp_path / "t", patience=replace(QUICK, attempts=2))


def test_a_file_larger_than_the_disk_is_refused_before_it_is_fetched(server: Unruly, tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    with partial_file(tmp_path / "t") as part:
        size = room.f_bavail * room.f_frsize + 10**12
        with pytest.raises(CacheError, match=r"has room for .*XDG_CACHE_HOME"):
            part.begin(Whole(address=server.address, etag=None, modified=None, size=size))


def test_a_full_disk_is_one_error_and_keeps_what_came(server: Unruly, tmp_path: Path) -> None:
    """The limit on the size of files stands in for a full disk: the same write fails."""
    server.offer(FILE, CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(CacheError, match=r"t cannot be written into .*Make room"):
            fetch(server, tmp_path / "t")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "t.part").stat().st_size == 1_000_000
    fetch(server, tmp_path / "t")
    assert server.sent(FILE)[-1] == ("bytes=1000000-", 206)


def test_a_folder_that_cannot_be_written_is_named(server: Unruly, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(CacheError, match=r"cannot be written into .*cache"):
        fetch(server, tmp_path / "cache" / "osm" / "t")


def test_two_runs_do_not_write_into_one_file(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, CONTENT)
    with partial_file(tmp_path / "t"), pytest.raises(CacheError, match="another run is downloading"):
        fetch(server, tmp_path / "t")


def test_a_server_that_accepts_and_stays_silent_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/t"
        with pytest.raises(DownloadError, match="could not be read in 2 attempts: timeout"):
            download(address, tmp_path / "t", patience=replace(QUICK, attempts=2))


def test_redirects_that_lead_nowhere_or_away_from_http_are_told(server: Unruly, tmp_path: Path) -> None:
    server.redirects = {"/round": "/round", "/away": "file:///etc/hostname"}
    for path in server.redirects:
        with pytest.raises(DownloadError, match="cannot be read"):
            download(server.address + path, tmp_path / "t", patience=QUICK)
    assert not (tmp_path / "t").exists()


def test_longer_than_allowed_is_refused(server: Unruly, tmp_path: Path) -> None:
    server.offer(FILE, CONTENT)
    with pytest.raises(DownloadError, match="longer than 1,000,000 bytes"):
        download(server.address + FILE, tmp_path / "t", patience=QUICK, most_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DownloadError, match="longer than 10 bytes"):
        small_text(server.address + FILE, 10, QUICK)
