"""Which faults of the network pass, told from an exception or from an answer."""

import email.utils
import http.client
from collections.abc import Mapping
from datetime import UTC, datetime

import requests
import urllib3

from pipelines.sources.asset_urls import without_queries

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that pass."""

FARTHEST_UNDATED = 600.0
"""Seconds from now by our clock for which a date in `Retry-After` is believed. Ours may be an hour behind, or
years; hosts that limit rates ask for seconds or minutes."""

BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionResetError,
    ConnectionRefusedError,
    ConnectionAbortedError,
    BrokenPipeError,
)
"""What a connection raises that did not hold."""


class PassingFault(Exception):  # noqa: N818 - always caught by `persist`
    """One failed attempt that may go better the next time."""

    def __init__(
        self, said: str, *, wait: float | None = None, connected: bool = True, by_host: bool = True
    ) -> None:
        """Describe the fault.

        Args:
            said: in words; what stands before a colon is its kind, what follows are the numbers. Queries are
                cut off.
            wait: seconds that the server asks to wait.
            connected: False if no connection came about.
            by_host: False if the fault says nothing about the host, only about this file.
        """
        super().__init__(without_queries(said))
        self.wait, self.connected, self.by_host = wait, connected, by_host

    @property
    def kind(self) -> str:
        """What stands before the colon: few different ones, to be counted by."""
        return str(self).partition(":")[0]


def broken(error: BaseException) -> PassingFault:
    """What a broken connection means; nothing of its message is kept, since it may hold a signed address."""
    reason = getattr(error.args[0] if error.args else None, "reason", None) or error
    unmet = (urllib3.exceptions.NewConnectionError, requests.ConnectTimeout, ConnectionRefusedError)
    if isinstance(reason, (*unmet, urllib3.exceptions.ConnectTimeoutError)):
        return PassingFault("no connection", connected=False)
    late = (requests.Timeout, TimeoutError, urllib3.exceptions.TimeoutError)
    return PassingFault("timeout" if isinstance(reason, late) else "connection broken")


def raise_if_passing(status: int, headers: Mapping[str, str]) -> None:
    """Turn an answer of a status that passes into a fault, with the wait that the server asks for.

    Args:
        status: HTTP status.
        headers: of the answer; names as the server or a case-insensitive mapping gives them.

    Raises:
        PassingFault: the status is one of PASSING.
    """
    if status in PASSING:
        raise PassingFault(f"status {status}", wait=retry_after(headers))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, 10.2.3): a number, or a date against its own clock.

    Args:
        headers: `Retry-After` and `Date` are looked at.

    Returns:
        Seconds, 0 or more; None where the header is absent or makes no sense. A date that lies farther ahead
        than `FARTHEST_UNDATED` makes none where the server does not tell its time: some clock is wrong.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        then = email.utils.parsedate_to_datetime(text)
        now = headers.get("Date")
        clock = email.utils.parsedate_to_datetime(now) if now else datetime.now(UTC)
        wait = max(0.0, (then - clock).total_seconds())
    except (TypeError, ValueError):
        return None
    return wait if now or wait <= FARTHEST_UNDATED else None
