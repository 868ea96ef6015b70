"""The way to Earth Engine: what its client library sends its requests through, bounded and remembered."""

import threading
from collections.abc import Mapping
from typing import Any

import httplib2
import requests

from pipelines.sources.passing import broken, retry_after

MOST_AT_ONCE = 4
"""Requests of one process under way at a time. A project may have 40; a build has a process a core."""

ANSWER_SECONDS = 320.0
"""Patience with an answer; Earth Engine itself ends a computation after 300 s, and sends nothing before."""

MOST_BYTES = 128 << 20
"""An answer longer than this is not read: pixels have 48 MB at most, a page of items some 10."""


class Transport:
    """The face of httplib2, which the library expects, on requests."""

    def __init__(self, connect_seconds: float) -> None:
        """Begin with no connection.

        Args:
            connect_seconds: patience with one.
        """
        self._session = requests.Session()
        self._patience = (connect_seconds, ANSWER_SECONDS)
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)
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
            ConnectionError: no whole answer came, or none in time.
            ConnectionRefusedError: no connection came about.
        """
        self.forget()
        with self._slots:
            try:
                answer, content = self._answer(uri, method, body, headers)
            except requests.RequestException as error:
                met = broken(error)
                fault = ConnectionError(str(met)) if met.connected else ConnectionRefusedError(str(met))
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
            timeout=self._patience,
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
        self._mine.status, self._mine.retry_after = answer.status_code, retry_after(answer.headers)
