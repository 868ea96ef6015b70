"""Byte ranges of files over HTTP: asked for together, checked one by one, asked again one by one.

What comes back is the range that was asked for, of one version of the file, or an error; never a page of
HTML, the file from its start, or half of the range. Measured for the 12 ranges of 54 MB of one NAIP scene,
from the loopback: threads over urllib3's pools 14 ms of CPU, http.client 12, aiohttp 21, obstore 29,
httpx 69.
"""

import functools
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
import urllib3
from urllib3.exceptions import HTTPError

from pipelines.sources.asset_urls import RefusedAddressError, redacted, unsigned
from pipelines.sources.imagery import SourceUnavailableError
from pipelines.sources.passing import PassingFault, broken, raise_if_passing
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.reach import Reach, bound
from pipelines.sources.retrying import DAMAGED, GaveUpError, note_bytes, persist, told_again
from pipelines.sources.signing import Signer

Result = TypeVar("Result")

PIECE_BYTES = 1 << 20
"""Bytes taken from a connection at a time."""

MOST_REDIRECTS = 5
"""Redirects followed for one range."""

_MOST_TOKENS = 20
"""Tokens that one attempt sees end."""

_MOVED = frozenset({301, 302, 303, 307, 308})
_EXPIRED = frozenset({401, 403})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})\Z")


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
class Ranges:
    """Asks for ranges of files. Small; connections are the process's, kept between scenes."""

    signer: Signer = Signer.NONE
    """Who signs the addresses."""

    patience: Patience = PATIENT
    """How long and how fast ranges are asked for, and how many at the same time."""

    reach: Reach | None = None
    """Where hrefs and redirects may lead; anywhere where the caller knows them, and named them himself."""

    def get(self, href: str, span: Span, *, whole: bool = True) -> Piece:
        """Ask for one range until it comes.

        Args:
            href: unsigned address.
            span: what to ask for.
            whole: whether the file must reach to its end.

        Raises:
            SourceUnavailableError: it did not come at any attempt.
            RefusedAddressError: no http or https address, or one beyond the reach; also by a redirect.
        """
        address = unsigned(href)
        if self.reach is not None:
            self.reach.check(address)
        try:
            piece = persist(address, lambda _: self._once(address, span, whole=whole), self.patience)
        except GaveUpError as error:
            said = str(error)
        else:
            note_bytes(address, len(piece.body))
            return piece
        # Raised outside the handler, so that no exception with a signed address hangs on to it.
        raise SourceUnavailableError(said)

    def vouched(self, href: str, span: Span, *, whole: bool = True) -> Piece:
        """A range of bytes that carry no checksum of their own: a header.

        Over https the transport vouches for every byte. Over http nobody does: there the range is asked for
        until two answers agree (docs/decisions/0011-faults.md).

        Raises:
            SourceUnavailableError: it did not come at any attempt, or no two answers agree.
            RefusedAddressError: no http or https address.
        """
        piece = self.get(href, span, whole=whole)
        if href.startswith("https://"):
            return piece
        for _ in range(self.patience.attempts):
            again = self.get(href, span, whole=whole)
            if again.body == piece.body:
                return again
            told_again(href, DAMAGED)
            piece = again
        raise SourceUnavailableError(
            f"{redacted(href)}: no two of {self.patience.attempts + 1} answers to one question agree"
        )

    def stream(self, wanted: Iterable[tuple[str, Span]]) -> Iterator[Piece]:
        """Ask for many ranges together; they come in the order of asking.

        Raises:
            SourceUnavailableError: one did not come at any attempt.
        """
        budget, held = self.patience.megabytes_in_flight << 20, 0
        waiting: deque[tuple[int, Future[Piece]]] = deque()
        try:
            for href, span in wanted:
                size = span.stop - span.start
                while waiting and (held + size > budget):
                    taken, future = waiting.popleft()
                    yield future.result()
                    held -= taken
                waiting.append(
                    (size, _threads(self.patience.requests_in_flight).submit(self.get, href, span))
                )
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
        return list(_threads(self.patience.requests_in_flight).map(work, hrefs))

    def _once(self, address: str, span: Span, *, whole: bool) -> Piece:
        """One attempt: one request, and another for each token that ended for a range asked for beside it.

        All ranges in flight have the same token. When it ends all of them are refused, and the first has
        mended that already: it says nothing about this range, and takes nothing of its patience.
        """
        fault = PassingFault("status 403", by_host=False)
        for _ in range(_MOST_TOKENS):
            signed = self.signer.sign(address, self.patience)
            try:
                return self._ask(signed, span, whole=whole)
            except (HTTPError, OSError, ValueError) as error:
                if isinstance(error, SourceUnavailableError | RefusedAddressError):
                    raise
                fault = broken(error)
                break
            except _ExpiredError as error:
                fault = PassingFault(str(error), by_host=False)
                if signed == address or self.signer.forget(signed):
                    break
                told_again(address, fault.kind)
        # Raised outside the handlers, so that no exception with a signed address hangs on to it.
        raise fault

    def _ask(self, signed: str, span: Span, *, whole: bool) -> Piece:
        """One request and its answer.

        Raises:
            PassingFault: the answer is not the range.
        """
        headers = {"Range": f"bytes={span.start}-{span.stop - 1}", "Accept-Encoding": "identity"}
        wait = urllib3.Timeout(connect=self.patience.connect_seconds, read=self.patience.stall_seconds)
        for _ in range(MOST_REDIRECTS):
            manager = _manager(_proxy(signed), self.patience.requests_in_flight, self.reach)
            answer = manager.request(
                "GET",
                signed,
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                timeout=wait,
            )
            if answer.status not in _MOVED:
                return _checked(answer, span, self.patience, whole=whole)
            answer.drain_conn()
            signed = _moved(signed, answer.headers.get("Location", ""))
            if self.reach is not None:
                self.reach.check(signed)
        raise PassingFault(f"redirected: over {MOST_REDIRECTS} times", by_host=False)


class _ExpiredError(Exception):
    """A signature is refused."""


def _moved(address: str, location: str) -> str:
    """Where a redirect leads; never from https to http, nor to another scheme."""
    there = urljoin(address, location)
    schemes = urlsplit(address).scheme, urlsplit(there).scheme
    if schemes not in {("http", "http"), ("http", "https"), ("https", "https")}:
        said = f"redirected: from {schemes[0]} to {schemes[1] or 'nowhere'}, which is not followed"
        raise PassingFault(said, by_host=False)
    return there


def _checked(answer: urllib3.BaseHTTPResponse, span: Span, patience: Patience, *, whole: bool) -> Piece:
    """The body of an answer that is the range.

    Raises:
        PassingFault: it is not.
        _ExpiredError: the signature is refused.
    """
    partial = 206
    place = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    if answer.status != partial or place is None or answer.headers.get("Content-Encoding"):
        answer.close()
        raise_if_passing(answer.status, answer.headers)
        if answer.status in _EXPIRED:
            raise _ExpiredError(f"status {answer.status}")
        good = 200 <= answer.status < 300  # noqa: PLR2004 - a page, or the whole file
        raise PassingFault(f"{'no range: ' if good else ''}status {answer.status}", by_host=False)
    first, last, size = map(int, place.groups())
    stop = span.stop if whole else min(span.stop, size)
    if (first, last + 1) != (span.start, stop):
        answer.close()
        said = f"wrong range: asked for bytes {span.start} to {stop}, answered with {first} to {last + 1}"
        raise PassingFault(said, by_host=False)
    length = stop - span.start
    body = _body(answer, length + 1, patience)  # one byte more would tell of a surplus
    if len(body) != length:
        answer.close()
        raise PassingFault(f"cut short: {length} bytes expected, {len(body)} came")
    answer.release_conn()
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return Piece(body, Version(size, tag))


def _body(answer: urllib3.BaseHTTPResponse, most: int, patience: Patience) -> bytes:
    """What an answer brings, up to `most` bytes, if it does not come drop by drop.

    Raises:
        PassingFault: it does.
    """
    pieces: list[bytes] = []
    came, begun = 0, time.monotonic()
    while came < most and (piece := answer.read1(min(most - came, PIECE_BYTES), decode_content=False)):
        pieces.append(piece)
        came += len(piece)
        spent, due = time.monotonic() - begun, patience.stall_seconds + came / max(patience.slowest, 1.0)
        if spent > min(due, patience.seconds):
            answer.close()
            raise PassingFault(f"too slow: {came} bytes in {spent:.0f} s")
    return b"".join(pieces)


def _proxy(address: str) -> str | None:
    """The proxy that the environment names for an address."""
    proxies = requests.utils.get_environ_proxies(address)
    return requests.utils.select_proxy(address, proxies) if proxies else None


@functools.cache
def _manager(proxy: str | None, connections: int, reach: Reach | None) -> urllib3.PoolManager:
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
    }
    if proxy:
        return urllib3.ProxyManager(proxy, **options)
    pools = urllib3.PoolManager(**options)
    return pools if reach is None else bound(pools, reach)


@functools.cache
def _threads(number: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(number, thread_name_prefix="ranges")


def _after_fork() -> None:
    """A child has neither its parent's threads nor the right to its connections."""
    _threads.cache_clear()
    _manager.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
