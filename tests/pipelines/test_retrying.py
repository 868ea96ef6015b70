"""The retry policy: what is asked again, when, how fast, and when not at all."""

import email.utils
import http.client
import logging
import pickle
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources import hosts
from pipelines.sources.passing import PassingFault, broken, raise_if_passing, retry_after
from pipelines.sources.patience import Patience
from pipelines.sources.retrying import GaveUpError, announce_retries, counted, persist

WHERE = "https://host.example/a/b.tif?sig=CANARY"
QUICK = Patience(
    attempts=4,
    wait_initial=0,
    wait_max=0.01,
    jitter=0,
    longest_wait=2,
    circuit_failures=3,
    circuit_seconds=0.3,
)


def failing(count: int, fault: Callable[[], Exception]) -> Callable[[int], str]:
    """Fails so often, then answers; the number of the attempt must be right each time."""
    made = []

    def ask(number: int) -> str:
        made.append(number)
        assert number == len(made)
        if number <= count:
            raise fault()
        return "good"

    return ask


def busy() -> PassingFault:
    return PassingFault("status 503")


def give_up(patience: Patience = QUICK, fault: Callable[[], Exception] = busy) -> str:
    with pytest.raises(GaveUpError) as error:
        persist(WHERE, failing(99, fault), patience)
    assert error.value.__context__ is None
    assert error.value.__cause__ is None
    return str(error.value)


FAULTS: dict[str, Callable[[], Exception]] = {
    "status 503": busy,
    "timeout": lambda: requests.ReadTimeout("CANARY"),
    "connection broken": lambda: ConnectionResetError("CANARY"),
    "cut short": lambda: PassingFault("cut short: 3 of 10 bytes"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_passes_is_asked_again_and_told(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    announce_retries()
    with caplog.at_level(logging.DEBUG):
        assert persist(WHERE, failing(3, FAULTS[kind]), QUICK) == "good"
    lines = [record.getMessage() for record in caplog.records if record.name == "gl10m"]
    assert len(lines) == 3
    assert all(f"https://host.example/a/b.tif: {kind}" in line for line in lines)
    assert "CANARY" not in caplog.text
    assert counted().faults == {kind: 3}
    assert counted().faults == {}


def test_what_does_not_pass_is_not_asked_again() -> None:
    def ask(_: int) -> str:
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError, match="gone"):
        persist(WHERE, ask, QUICK)


def test_the_end_names_the_place_the_count_and_the_last_fault() -> None:
    assert give_up() == "https://host.example/a/b.tif could not be read in 4 attempts: status 503"
    assert "CANARY" not in give_up(fault=lambda: PassingFault("https://x/y?sig=CANARY: no query"))


def test_time_ends_patience_too() -> None:
    slow = Patience(attempts=1000, seconds=0.2, wait_initial=0.05, wait_max=0.05, jitter=0)
    begun = time.monotonic()
    give_up(slow)
    assert 0.15 < time.monotonic() - begun < 2


def test_a_server_is_waited_for_as_long_as_it_asks() -> None:
    begun = time.monotonic()
    assert persist(WHERE, failing(1, lambda: PassingFault("status 429", wait=0.3)), QUICK) == "good"
    assert 0.3 <= time.monotonic() - begun < 2


def test_a_server_that_asks_for_too_much_is_left_alone_at_once() -> None:
    said = give_up(fault=lambda: PassingFault("status 429", wait=600))
    assert said == "https://host.example/a/b.tif asks to come back in 600 s (status 429)"
    assert "left alone for another 600 s" in give_up()
    assert counted().opened == {"host.example": 1}


def test_while_one_thread_is_asked_to_wait_no_other_asks() -> None:
    times = []

    def note(_: int) -> str:
        times.append(time.monotonic())
        return "good"

    begun = time.monotonic()
    waiting = threading.Thread(
        target=persist, args=(WHERE, failing(1, lambda: PassingFault("status 429", wait=0.4)), QUICK)
    )
    waiting.start()
    time.sleep(0.1)
    persist(WHERE, note, QUICK)
    waiting.join()
    assert times[0] - begun >= 0.4


def test_a_host_is_asked_no_faster_than_agreed() -> None:
    begun = time.monotonic()
    slow = Patience(requests_per_second=20, burst=4)
    for _ in range(10):
        persist(WHERE, failing(0, busy), slow)
    assert 0.29 <= time.monotonic() - begun < 2  # 4 at once, then 6 at 20 a second
    begun = time.monotonic()
    persist("https://other.example/", failing(0, busy), slow)
    assert time.monotonic() - begun < 0.04


def test_a_circuit_opens_tries_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        assert "in 4 attempts" in give_up()
    assert "circuit open: host.example is left alone" in caplog.text
    assert "was not asked for: host.example is left alone for another 0 s after 3 failed calls" in give_up()
    assert persist("https://other.example/x", failing(0, busy), QUICK) == "good"
    time.sleep(0.31)
    assert "in 1 attempt:" in give_up()  # half open: one try, and it opens again
    assert "left alone" in give_up()
    time.sleep(0.31)
    assert persist(WHERE, failing(0, busy), QUICK) == "good"
    assert persist(WHERE, failing(3, busy), QUICK) == "good"  # closed: all attempts again
    assert counted().opened == {"host.example": 2}


def test_only_one_call_tries_a_host_that_was_left_alone() -> None:
    for _ in range(3):
        give_up()
    time.sleep(0.31)
    tried = threading.Event()
    end = threading.Event()

    def slowly(_: int) -> str:
        tried.set()
        end.wait(5)
        return "good"

    trying = threading.Thread(target=persist, args=(WHERE, slowly, QUICK))
    trying.start()
    tried.wait(5)
    assert "left alone" in give_up()
    end.set()
    trying.join()
    assert persist(WHERE, failing(0, busy), QUICK) == "good"


def test_a_damaged_file_is_no_fault_of_its_host() -> None:
    for _ in range(5):
        give_up(fault=lambda: PassingFault("damaged", by_host=False))
    assert persist(WHERE, failing(0, busy), QUICK) == "good"


def test_what_ends_a_call_lets_the_next_one_try() -> None:
    for _ in range(3):
        give_up()
    time.sleep(0.31)

    def stopped(_: int) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        persist(WHERE, stopped, QUICK)
    assert persist(WHERE, failing(0, busy), QUICK) == "good"


def test_new_work_waits_until_a_host_may_be_asked_again() -> None:
    for _ in range(3):
        give_up()
    begun = time.monotonic()
    hosts.wait_for_hosts(0.1)
    assert 0.1 <= time.monotonic() - begun < 0.2
    hosts.wait_for_hosts(10)
    assert 0.25 < time.monotonic() - begun < 2
    hosts.wait_for_hosts(10)
    assert persist(WHERE, failing(0, busy), QUICK) == "good"


def test_a_host_that_never_took_a_connection_is_asked_twice() -> None:
    refused = lambda: ConnectionRefusedError("CANARY")  # noqa: E731 - the shape of the others
    assert give_up(fault=refused).endswith("in 2 attempts: no connection")
    persist(WHERE, failing(0, busy), QUICK)
    assert give_up(fault=refused).endswith("in 4 attempts: no connection")


def test_retry_after_is_a_number_or_a_date_by_the_servers_clock() -> None:
    assert retry_after({"Retry-After": "7"}) == 7
    now = datetime.now(UTC)
    later = email.utils.format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after({"Retry-After": later}) == pytest.approx(90, abs=2)
    behind = email.utils.format_datetime(now + timedelta(seconds=80), usegmt=True)
    assert retry_after({"Retry-After": later, "Date": behind}) == 10
    assert retry_after({"Retry-After": behind, "Date": later}) == 0
    assert retry_after({}) is None


def test_a_date_far_away_is_not_believed_where_the_server_does_not_tell_its_time() -> None:
    """Our clock may be an hour behind: a wait of a second looks like one of an hour."""
    now = datetime.now(UTC)
    then = email.utils.format_datetime(now + timedelta(hours=1), usegmt=True)
    assert retry_after({"Retry-After": then}) is None
    assert retry_after({"Retry-After": then, "Date": email.utils.format_datetime(now, usegmt=True)}) == 3600


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{1,30}", fullmatch=True), st.text(max_size=40))
def test_whatever_a_server_writes_there_is_a_number_or_nothing(text: str, date: str) -> None:
    said = retry_after({"Retry-After": text, "Date": date})
    assert said is None or said >= 0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_statuses_that_pass(status: int) -> None:
    with pytest.raises(PassingFault, match=f"status {status}") as error:
        raise_if_passing(status, {"Retry-After": "3"})
    assert error.value.wait == 3


@pytest.mark.parametrize("status", [200, 206, 301, 400, 401, 403, 404, 410, 416, 501])
def test_statuses_that_do_not(status: int) -> None:
    raise_if_passing(status, {"Retry-After": "3"})


def test_broken_connections_are_told_by_kind() -> None:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", 9, retries=False, timeout=0.5)
    with pytest.raises(urllib3.exceptions.HTTPError) as refused:
        pool.request("GET", "/?sig=CANARY")
    assert (str(broken(refused.value)), broken(refused.value).connected) == ("no connection", False)
    with pytest.raises(requests.ConnectionError) as wrapped:
        requests.get("http://127.0.0.1:9/?sig=CANARY", timeout=1)
    assert (str(broken(wrapped.value)), broken(wrapped.value).connected) == ("no connection", False)
    assert str(broken(http.client.IncompleteRead(b"", 3))) == "connection broken"
    assert str(broken(TimeoutError())) == "timeout"


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(GaveUpError("x", kind="timeout")))  # noqa: S301 - our own
    assert (str(error), error.kind) == ("x", "timeout")


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"seconds": -1}, {"requests_per_second": float("nan")}])
def test_impossible_patience_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Patience(**wrong)  # type: ignore[arg-type]
