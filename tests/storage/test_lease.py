"""One writer at a time, and a dead one is not waited for."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gl10m.storage import client, lease, register
from gl10m.storage.lease import (
    Lease,
    LeaseHeldError,
    LeaseLostError,
    UnsafeStoreError,
    held,
    holder_of,
    refuse_if_held,
)
from gl10m.storage.place import BucketPath
from gl10m.storage.register import Entry
from tests.storage.object_server import Proxy
from tests.wrong_clock import YEAR, wrong_clock

HOLD = """
    import sys
    from gl10m.storage.lease import held
    with held(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
"""


def test_a_second_writer_is_told_who_holds_it_until_when(root: BucketPath) -> None:
    with held(root.root.address):
        started = time.monotonic()
        with pytest.raises(LeaseHeldError, match=r"process \d+, who holds it until 20\d\d-") as told:
            Lease(root.root.address, "b" * 12).acquire(60)
        assert time.monotonic() - started < 5
        assert "--root" in str(told.value)
        assert holder_of(root.root.address) is not None
    assert holder_of(root.root.address) is None
    with held(root.root.address):
        pass


def test_to_look_whether_somebody_holds_it_makes_no_register(root: BucketPath) -> None:
    refuse_if_held(root.root.address)
    assert register.read(root.root.address) is None
    with held(root.root.address), pytest.raises(LeaseHeldError, match="another build"):
        refuse_if_held(root.root.address)
    refuse_if_held(root.root.address)


def test_the_lease_of_a_process_killed_on_this_machine_is_free_at_once(root: BucketPath) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), root.root.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LeaseHeldError, match=f"process {holder.pid}"), held(root.root.address):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with held(root.root.address):
        pass


def test_a_silent_holder_elsewhere_is_taken_over_when_its_time_is_up_and_publishes_nothing(
    root: BucketPath, elsewhere: Callable[[str, float], Lease]
) -> None:
    zombie = elsewhere(root.root.address, 1.0)
    time.sleep(2.2)  # a store tells whole seconds
    with held(root.root.address) as taken:
        taken.commit({"data/new.parquet": Entry("data/new.parquet", 3, None)})
        before = client.read(root.root.address, register.REGISTER)[0]
        with pytest.raises(LeaseLostError, match=r"took .* over .* Nothing was published"):
            zombie.commit({"data/zombie.parquet": Entry("data/zombie.parquet", 3, None)})
        with pytest.raises(LeaseLostError):
            zombie.renew()
        assert client.read(root.root.address, register.REGISTER)[0] == before
    with pytest.raises(LeaseLostError):
        zombie.commit({})
    left = register.read(root.root.address)
    assert left is not None
    assert list(left.register.files) == ["data/new.parquet"]


def test_the_clock_of_this_machine_decides_nothing(
    root: BucketPath, elsewhere: Callable[[str, float], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fast(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Fast":
            del tz
            return cls(2199, 1, 1, tzinfo=UTC)

    elsewhere(root.root.address, 60.0)
    monkeypatch.setattr(lease, "datetime", Fast)
    with pytest.raises(LeaseHeldError), held(root.root.address):
        pass


@pytest.mark.slow
def test_a_holder_that_renews_keeps_it(root: BucketPath) -> None:
    with held(root.root.address, seconds=1.5) as taken:
        time.sleep(3.5)
        with pytest.raises(LeaseHeldError):
            Lease(root.root.address, "b" * 12).acquire(60)
        taken.commit({})


COMMIT = """
    import sys
    from gl10m.storage.lease import held
    with held(sys.argv[1], seconds=1.5) as lease:
        print("held", flush=True)
        sys.stdin.read()
        lease.commit(lease.files)
        print("committed", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_is_set_while_it_is_held_loses_no_lease_and_wins_none(
    root: BucketPath, tmp_path: Path, years: int
) -> None:
    """The machine of holder and rival is set; the rival comes after the lease would have ended twice over."""
    clock = wrong_clock(tmp_path)
    hold = [sys.executable, "-c", textwrap.dedent(COMMIT), root.root.address]
    environment = {**os.environ, **clock.environment}
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        clock.set(years * YEAR)
        time.sleep(3.5)
        rival = subprocess.run(hold, capture_output=True, text=True, check=False, env=environment)
        assert "LeaseHeldError" in rival.stderr
        holder.stdin.close()
        assert holder.stdout.read() == b"committed\n"


def test_a_put_whose_answer_was_lost_is_no_defeat(s3: Proxy, root: BucketPath) -> None:
    """The store has the new register, the client gets 503, sends it again and is told that it came second."""
    with held(root.root.address) as taken:
        lost: list[str] = []

        def lose(method: str, path: str) -> int | None:
            if method == "PUT" and path.endswith("gl10m.json") and not lost:
                lost.append(path)
                return 503
            return None

        s3.after = lose
        taken.commit({"data/new.parquet": Entry("data/new.parquet", 3, None)})
        assert lost
    left = register.read(root.root.address)
    assert left is not None
    assert list(left.register.files) == ["data/new.parquet"]


def test_a_store_without_conditional_puts_is_refused(s3: Proxy, root: BucketPath) -> None:
    s3.kept_back = {"if-none-match"}
    with pytest.raises(UnsafeStoreError, match="If-None-Match"), held(root.root.address):
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"gl10m": 2, "files": {}}',
        b'{"gl10m": 1, "files": {"data/../../x": {"key": "data/x", "size": 1, "sha256": null}}}',
        b'{"gl10m": 1, "files": {"data/x": {"key": "../other/x", "size": 1, "sha256": null}}}',
        b'{"gl10m": 1, "files": {"data/x": {"key": "data/x", "size": "1", "sha256": null}}}',
    ],
)
def test_an_altered_register_is_refused_and_reaches_nothing_outside(root: BucketPath, content: bytes) -> None:
    client.put(root.root.address, register.REGISTER, content)
    with pytest.raises(register.RegisterError), held(root.root.address):
        pass


def test_the_register_at_rest_is_a_function_of_the_files(root: BucketPath) -> None:
    seen = set()
    for _ in range(2):
        with held(root.root.address):
            pass
        seen.add(client.read(root.root.address, register.REGISTER)[0])
    assert len(seen) == 1
    assert b"lease" not in seen.pop()
