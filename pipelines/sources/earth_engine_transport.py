"""The way to Earth Engine: what its client library sends its requests through, paced, bounded, remembered."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import httplib2
import requests

MOST_AT_ONCE = 4
"""Requests of one process under way at a time. A project may have 40; a build has a process a core."""

MOST_A_SECOND = 10.0
"""Requests that one process begins in a second. A project may begin 100."""

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 320.0
"""Patience with a connection and with an answer; Earth Engine itself ends a computation after 300 s."""

MOST_BYTES = 128 << 20
"""An answer longer than this is not read: pixels have 48 MB at most, a page of items some 10."""

LONGEST_PAUSE_SECONDS = 120.0
"""A Retry-After beyond this is cut to it."""


class Transport:
    """The face of httplib2, which the library expects, on requests."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._pace = threading.Lock()
        self._next = 0.0
        self._mine = threading.local()

    @property
    def noted(self) -> tuple[int | None, float | None]:
        """HTTP status of this thread's last answer, and the seconds it asked to wait."""
        return getattr(self._mine, "status", None), getattr(self._mine, "retry_after", None)

    def forget(self) -> None:
        """Forget this thread's last answer."""
        self._mine.status = self._mine.retry_after = None

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,  # noqa: ANN401 - httplib2's own
        headers: Mapping[str, str] | None = None,
        **_: object,
    ) -> tuple[httplib2.Response, bytes]:
        """Send one request.

        Raises:
            ConnectionError: no whole answer came.
            TimeoutError: none came in time.
        """
        self.forget()
        with self._slots:
            self._wait_for_turn()
            try:
                answer, content = self._answer(uri, method, body, headers)
            except requests.Timeout:
                fault: OSError = TimeoutError("no answer in time")
            except requests.RequestException as error:
                fault = ConnectionError(type(error).__name__)
            else:
                self._note(answer)
                return httplib2.Response({**answer.headers, "status": str(answer.status_code)}), content
        raise fault

    def _answer(
        self, uri: str, method: str, body: object, headers: Mapping[str, str] | None
    ) -> tuple[requests.Response, bytes]:
        with self._session.request(
            method,
            uri,
            data=body,  # type: ignore[arg-type]
            headers=dict(headers or {}),
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            stream=True,
            allow_redirects=False,
        ) as answer:
            content = bytearray()
            for part in answer.iter_content(1 << 20):
                content += part
                if len(content) > MOST_BYTES:
                    raise requests.RequestException(f"an answer of more than {MOST_BYTES} bytes")
        return answer, bytes(content)

    def _note(self, answer: requests.Response) -> None:
        self._mine.status = answer.status_code
        told = answer.headers.get("Retry-After", "")
        self._mine.retry_after = min(float(told), LONGEST_PAUSE_SECONDS) if told.isdigit() else None

    def _wait_for_turn(self) -> None:
        """Begin no more requests in a second than is polite."""
        with self._pace:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + 1 / MOST_A_SECOND
        time.sleep(start - now)
