"""Byte ranges of files over HTTP: asked for together, checked one by one, asked again one by one.

What comes back is the range that was asked for, of one version of the file, or an error; never a page of
HTML, the file from its start, or half of the range. Measured for the 12 ranges of 54 MB of one NAIP scene,
from the loopback: threads over urllib3's pools 14 ms of CPU, http.client 12, aiohttp 21, obstore 29,
httpx 69.
"""

import functools
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import requests.utils
import stamina
import urllib3
from urllib3.exceptions import HTTPError

from pipelines.sources.asset_urls import NoQueries, redacted, unsigned, without_queries
from pipelines.sources.imagery import SourceUnavailableError
from pipelines.sources.signing import Signer

Result = TypeVar("Result")

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 60.0
"""Patience with a connection, and with a pause within an answer."""

LONGEST_PAUSE_SECONDS = 60.0
"""A Retry-After beyond this is cut to it."""

GRACE_SECONDS, SLOWEST_BYTES_A_SECOND = 20.0, 50_000
"""A body may take so long, and a second more for so many bytes; then it is asked for again."""

PIECE_BYTES = 1 << 20
"""Bytes taken from a connection at a time."""

MOST_REDIRECTS = 5
"""Redirects followed for one range."""

_MOVED = frozenset({301, 302, 303, 307, 308})
_EXPIRED = frozenset({401, 403})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})\Z")


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(NoQueries())


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to `stop`, which is not among them."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one version of a file from another."""

    size: int
    tag: str
    """ETag, or the date of the last change, or nothing."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range that came back whole."""

    body: bytes
    version: Version


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """How much one worker asks for at the same time."""

    requests: int = 16
    """Requests under way; a scene of NAIP has some 12."""

    megabytes: int = 256
    """Bytes asked for and not yet decoded; a scene of NAIP has some 54 MB."""

    def __post_init__(self) -> None:
        """Refuse what stands still.

        Raises:
            ValueError: a bound is not positive.
        """
        if self.requests < 1 or self.megabytes < 1:
            raise ValueError(f"at least 1 request and 1 megabyte are in flight; got {self}")


class RangeFault(Exception):  # noqa: N818 - one failed attempt; what is left after all of them are two errors
    """A range did not come back as asked; the text is without queries."""

    def __init__(self, said: str, *, status: int = 0, pause: float | None = None) -> None:
        super().__init__(said)
        self.status, self.pause = status, pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Asks for ranges of files. Small; connections are the process's, kept between scenes."""

    signer: Signer = Signer.NONE
    """Who signs the addresses."""

    attempts: int = 6
    """How often a range is asked for."""

    in_flight: InFlight = InFlight()

    def get(self, href: str, span: Span, *, whole: bool = True) -> Piece:
        """Ask for one range until it comes.

        Args:
            href: unsigned address.
            span: what to ask for.
            whole: whether the file must reach to its end.

        Raises:
            SourceUnavailableError: it did not come at any attempt.
            RefusedAddressError: no http or https address.
        """
        said = ""
        try:
            for attempt in asked_again(_again, self.attempts):
                with attempt:
                    return self._once(unsigned(href), span, whole=whole)
        except RangeFault as fault:
            said = str(fault)
        # Raised outside the handler, so that no exception with a signed address hangs on to it.
        raise SourceUnavailableError(
            f"{redacted(href)} could not be read in {self.attempts} attempts: {said}"
        )

    def stream(self, wanted: Iterable[tuple[str, Span]]) -> Iterator[Piece]:
        """Ask for many ranges together; they come in the order of asking.

        Raises:
            SourceUnavailableError: one did not come at any attempt.
        """
        budget, held = self.in_flight.megabytes << 20, 0
        waiting: deque[tuple[int, Future[Piece]]] = deque()
        try:
            for href, span in wanted:
                size = span.stop - span.start
                while waiting and (held + size > budget):
                    taken, future = waiting.popleft()
                    yield future.result()
                    held -= taken
                waiting.append((size, _threads(self.in_flight.requests).submit(self.get, href, span)))
                held += size
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            for _, future in waiting:
                future.cancel()

    def together(self, work: Callable[[str], Result], hrefs: Sequence[str]) -> list[Result]:
        """Do some asking for several files at the same time; the first that fails says so."""
        if len(hrefs) < 2:  # noqa: PLR2004 - nothing to do together
            return [work(href) for href in hrefs]
        return list(_threads(self.in_flight.requests).map(work, hrefs))

    def _once(self, address: str, span: Span, *, whole: bool) -> Piece:
        signed = self.signer.sign(address)
        try:
            return _ask(signed, span, self.in_flight.requests, whole=whole)
        except RangeFault as fault:
            if fault.status in _EXPIRED:
                self.signer.forget(signed)
            raise


def asked_again(
    on: type[Exception] | Callable[[Exception], bool | float], attempts: int
) -> Iterable[stamina.Attempt]:
    """The one place where what failed is asked for again: with growing pauses, for 5 minutes at most."""
    return stamina.retry_context(
        on=on, attempts=attempts, timeout=300, wait_initial=0.2, wait_max=10, wait_jitter=0.5
    )


def _again(error: Exception) -> bool | float:
    """Whether to ask again, and after how many seconds if the server said so."""
    if not isinstance(error, RangeFault):
        return False
    return True if error.pause is None else error.pause


def _ask(signed: str, span: Span, connections: int, *, whole: bool) -> Piece:
    """One request and its answer.

    Raises:
        RangeFault: the answer is not the range.
    """
    headers = {"Range": f"bytes={span.start}-{span.stop - 1}", "Accept-Encoding": "identity"}
    try:
        for _ in range(MOST_REDIRECTS):
            manager = _manager(_proxy(signed), connections)
            answer = manager.request(
                "GET", signed, headers=headers, preload_content=False, redirect=False, retries=False
            )
            if answer.status not in _MOVED:
                return _checked(answer, span, whole=whole)
            answer.drain_conn()
            signed = _moved(signed, answer.headers.get("Location", ""))
    except (HTTPError, OSError, ValueError) as error:
        said = without_queries(" ".join(str(error).split()))[:300]
        fault = f"{type(error).__name__}: {said}"
    else:
        fault = f"over {MOST_REDIRECTS} redirects"
    raise RangeFault(fault)


def _moved(address: str, location: str) -> str:
    """Where a redirect leads; never from https to http, nor to another scheme."""
    there = urljoin(address, location)
    schemes = urlsplit(address).scheme, urlsplit(there).scheme
    if schemes not in {("http", "http"), ("http", "https"), ("https", "https")}:
        raise RangeFault(f"redirected from {schemes[0]} to {schemes[1] or 'nowhere'}, which is not followed")
    return there


def _checked(answer: urllib3.BaseHTTPResponse, span: Span, *, whole: bool) -> Piece:
    """The body of an answer that is the range.

    Raises:
        RangeFault: it is not.
    """
    partial = 206
    place = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    if answer.status != partial or place is None or answer.headers.get("Content-Encoding"):
        answer.close()
        told = answer.headers.get("Retry-After", "")
        pause = min(float(told), LONGEST_PAUSE_SECONDS) if told.isdigit() else None
        raise RangeFault(f"HTTP response code {answer.status}, no range", status=answer.status, pause=pause)
    first, last, size = map(int, place.groups())
    stop = span.stop if whole else min(span.stop, size)
    if (first, last + 1) != (span.start, stop):
        answer.close()
        raise RangeFault(f"asked for bytes {span.start} to {stop}, answered with {first} to {last + 1}")
    length = stop - span.start
    body = _body(answer, length + 1)  # one byte more would tell of a surplus
    if len(body) != length:
        answer.close()
        raise RangeFault(f"{length} bytes expected, {len(body)} came")
    answer.release_conn()
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return Piece(body, Version(size, tag))


def _body(answer: urllib3.BaseHTTPResponse, most: int) -> bytes:
    """What an answer brings, up to `most` bytes, if it does not come drop by drop.

    Raises:
        RangeFault: it does.
    """
    pieces: list[bytes] = []
    came, begun = 0, time.monotonic()
    while came < most and (piece := answer.read1(min(most - came, PIECE_BYTES), decode_content=False)):
        pieces.append(piece)
        came += len(piece)
        if time.monotonic() - begun > GRACE_SECONDS + came / SLOWEST_BYTES_A_SECOND:
            answer.close()
            raise RangeFault(f"{came} bytes in {time.monotonic() - begun:.0f} s: too slow to wait for")
    return b"".join(pieces)


def _proxy(address: str) -> str | None:
    """The proxy that the environment names for an address."""
    proxies = requests.utils.get_environ_proxies(address)
    return requests.utils.select_proxy(address, proxies) if proxies else None


@functools.cache
def _manager(proxy: str | None, connections: int) -> urllib3.PoolManager:
    """Kept connections; certificates are checked."""
    environment = os.environ
    authorities = (
        environment.get("REQUESTS_CA_BUNDLE")
        or environment.get("CURL_CA_BUNDLE")
        or requests.utils.DEFAULT_CA_BUNDLE_PATH
    )
    options: dict[str, Any] = {
        "num_pools": 16,
        "maxsize": connections,
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": authorities,
        "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
    }
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


@functools.cache
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix="ranges")


def _after_fork() -> None:
    """A child has neither its parent's threads nor the right to its connections."""
    _threads.cache_clear()
    _manager.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
