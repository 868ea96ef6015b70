"""The first line and the headers of a request or an answer, as they go over the wire."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST = 1 << 16
"""Bytes of a head at most."""

_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """First line and headers of a request or an answer."""

    line: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    async def read(cls, stream: asyncio.StreamReader) -> "Head | None":
        """The next head, or None where the peer has gone."""
        try:
            raw = await stream.readuntil(_END)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return None
        line, *rest = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = (text.partition(":") for text in rest)
        return cls(line, tuple((name.strip(), value.strip()) for name, _, value in pairs))

    def get(self, name: str) -> str:
        """A header's value, or nothing."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")

    def having(self, **changed: str | None) -> "Head":
        """With other values; None takes a header away. Underscores stand for hyphens."""
        new = {name.replace("_", "-").lower(): value for name, value in changed.items()}
        kept = [(name, value) for name, value in self.headers if name.lower() not in new]
        return Head(self.line, (*kept, *((name, value) for name, value in new.items() if value is not None)))

    def bytes(self) -> bytes:
        """As it goes over the wire."""
        lines = [self.line, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("latin-1") + _END


def answer(status: str, body: bytes = b"", kind: str = "text/plain", **more: str) -> bytes:
    """A whole answer; `more` are headers, underscores for hyphens."""
    given: Mapping[str, str] = {name.replace("_", "-"): value for name, value in more.items()}
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), **given}
    return Head(f"HTTP/1.1 {status}", tuple(headers.items())).bytes() + body


def place(netloc: str, port: int) -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port` or a host alone, whose port is then the one given.

    Raises:
        ValueError: it is none of these.
    """
    parts = urlsplit(f"//{netloc}")
    if not parts.hostname:
        raise ValueError(f"a place is HOST or HOST:PORT, not {netloc!r}")
    return parts.hostname, parts.port or port
