"""Ranges over real HTTP: what comes back is what was asked for, or an error without a secret."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipelines.sources.byte_ranges import Ranges, Span
from pipelines.sources.imagery import SourceUnavailableError
from pipelines.sources.patience import Patience
from tests.pipelines.imagery_server import Fault, Request, World, serving

BODY = np.random.default_rng(1).bytes(100_000)
SPAN = Span(1000, 21_000)
PATIENCE = Patience(attempts=3, wait_initial=0.05, jitter=0.05)
QUICK = Ranges(patience=PATIENCE)


@pytest.fixture
def world() -> Iterator[World]:
    with serving(World(files={"x": BODY})) as running:
        yield running


def once(fault: Fault) -> Callable[[Request], Fault | None]:
    faults = itertools.chain([fault], itertools.repeat(None))
    return lambda _: next(faults)


WRONG = {
    "a page": Fault(200, b"<html>please log in</html>"),
    "the whole file": Fault(200, BODY),
    "another range": Fault(206, BODY[:20_000], {"Content-Range": "bytes 0-19999/100000"}),
    "half of the range": Fault(206, BODY[1000:11_000], {"Content-Range": "bytes 1000-20999/100000"}),
    "more than the range": Fault(206, BODY[1000:31_000], {"Content-Range": "bytes 1000-20999/100000"}),
    "compressed": Fault(
        206, BODY[1000:21_000], {"Content-Range": "bytes 1000-20999/100000", "Content-Encoding": "gzip"}
    ),
    "no place": Fault(206, BODY[1000:21_000]),
    "absurd place": Fault(206, BODY[:9], {"Content-Range": "bytes 9-1/" + "9" * 40}),
    "to a file": Fault(302, b"", {"Location": "file:///etc/passwd"}),
    "to nowhere": Fault(302, b""),
    "cut off": Fault(hang_up_after=9000),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_never_bytes_and_the_next_one_counts(world: World, name: str) -> None:
    world.fault = once(WRONG[name])
    assert QUICK.get(f"{world.url}/x", SPAN).body == BODY[1000:21_000]
    assert len(world.requests) == 2
    world.fault = lambda _: WRONG[name]
    with pytest.raises(SourceUnavailableError, match=r"/x could not be read in 2 attempts"):
        Ranges(patience=replace(PATIENCE, attempts=2)).get(f"{world.url}/x", SPAN)


def test_only_what_failed_is_asked_for_again(world: World) -> None:
    spans = [Span(start, start + 5000) for start in range(0, 50_000, 5000)]
    failed = threading.Event()

    def fail_one(request: Request) -> Fault | None:
        if request.range != "bytes=15000-19999" or failed.is_set():
            return None
        failed.set()
        return Fault(503)

    world.fault = fail_one
    pieces = list(QUICK.stream((f"{world.url}/x", span) for span in spans))
    assert [piece.body for piece in pieces] == [BODY[span.start : span.stop] for span in spans]
    asked = sorted(request.range or "" for request in world.requests)
    assert len(asked) == 11
    assert asked.count("bytes=15000-19999") == 2


def test_a_pause_that_the_server_asks_for_is_kept(world: World) -> None:
    world.fault = once(Fault(503, b"", {"Retry-After": "1"}))
    begun = time.monotonic()
    QUICK.get(f"{world.url}/x", SPAN)
    assert time.monotonic() - begun >= 1


def test_a_redirect_to_the_web_is_followed_a_few_times(world: World) -> None:
    world.fault = once(Fault(302, b"", {"Location": f"{world.url}/x"}))
    assert QUICK.get(f"{world.url}/elsewhere", SPAN).body == BODY[1000:21_000]
    world.fault = lambda _: Fault(302, b"", {"Location": f"{world.url}/x"})
    with pytest.raises(SourceUnavailableError, match="redirected: over 5 times"):
        Ranges(patience=replace(PATIENCE, attempts=1)).get(f"{world.url}/x", SPAN)


@pytest.mark.parametrize("requests", [1, 3])
def test_no_more_is_in_flight_than_allowed(world: World, requests: int) -> None:
    now, most, lock = [0], [0], threading.Lock()

    def count(_: Request) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    world.fault = count
    ranges = Ranges(patience=replace(PATIENCE, attempts=1, requests_in_flight=requests))
    spans = [Span(start, start + 100) for start in range(0, 2000, 100)]
    assert len(list(ranges.stream((f"{world.url}/x", span) for span in spans))) == 20
    assert most[0] <= requests


def test_bytes_that_were_asked_for_wait_to_be_taken(world: World) -> None:
    world.files["x"] = bytes(5 << 20)
    spans = [Span(start << 19, (start + 1) << 19) for start in range(10)]
    pieces = Ranges(patience=replace(PATIENCE, megabytes_in_flight=1)).stream(
        (f"{world.url}/x", span) for span in spans
    )
    next(pieces)
    time.sleep(0.2)
    assert len(world.requests) <= 3  # one taken, and one megabyte
    assert len(list(pieces)) == 9


def test_no_query_is_told(world: World) -> None:
    world.fault = lambda _: Fault(404)
    with pytest.raises(SourceUnavailableError) as lasting:
        Ranges(patience=replace(PATIENCE, attempts=1)).get(f"{world.url}/x?token=SECRET", SPAN)
    with pytest.raises(SourceUnavailableError) as gone:
        Ranges(patience=replace(PATIENCE, attempts=1)).get("http://127.0.0.1:9/x?token=SECRET", SPAN)
    for error in (lasting, gone):
        assert "SECRET" not in str(error.value)
        assert error.value.__context__ is None


def test_versions_are_told_apart(world: World) -> None:
    world.etags["x"] = '"one"'
    first = QUICK.get(f"{world.url}/x", SPAN)
    world.etags["x"] = '"two"'
    assert first.version != QUICK.get(f"{world.url}/x", SPAN).version
    assert first.version.size == len(BODY)


def test_a_body_that_comes_drop_by_drop_is_not_waited_for(world: World) -> None:
    hasty = replace(PATIENCE, attempts=1, seconds=1e-9)  # every body is too slow for that
    with pytest.raises(SourceUnavailableError, match=r"too slow: [0-9]+ bytes in 0 s"):
        Ranges(patience=hasty).get(f"{world.url}/x", SPAN)
