"""The faults: their names, the answers that stand in for a server's, and what becomes of a server's own."""

from datetime import datetime, timedelta
from email.utils import format_datetime
from random import Random

from scripts.fault_proxy.head import answer

PAGE = b"<!DOCTYPE html><html><body>Our services aren't available right now</body></html>\n"
"""What a gateway says with status 200 or 206."""

INSTEAD = ("429", "429 in 1 s", "429 until", "503", "stall", "page", "expired token")
"""Faults that need no answer of the server."""

SPOILED = ("reset", "cut short", "short length", "wrong range", "flipped bits", "zeroed run")
"""Faults of an answer that came."""

TUNNELLED = ("stall", "reset")
"""Faults of a connection whose bytes nobody can change unseen."""

KINDS = INSTEAD + SPOILED

SEEN_IN_JSON = ("reset", "cut short", "short length", "zeroed run")
"""Faults that a reader of JSON can see."""

ZEROED = 4096
"""Bytes of a zeroed run at most."""


def instead(fault: str, now: datetime, *, partial: bool) -> bytes:
    """The answer that stands in for the server's.

    Args:
        fault: of INSTEAD, but no stall, which is none.
        now: what the proxy's clock says.
        partial: whether a range was asked for.
    """
    if fault == "expired token":
        return refused()
    if fault == "page":
        span = {"Content_Range": f"bytes 0-{len(PAGE) - 1}/{len(PAGE)}"} if partial else {}
        return answer("206 Partial Content" if partial else "200 OK", PAGE, "text/html", **span)
    then = format_datetime(now + timedelta(seconds=1), usegmt=True)
    wait = {"429 in 1 s": {"Retry_After": "1"}, "429 until": {"Retry_After": then}}.get(fault, {})
    status = "503 Service Unavailable" if fault == "503" else "429 Too Many Requests"
    return answer(status, b"", "text/plain", Date=format_datetime(now, usegmt=True), **wait)


def refused() -> bytes:
    """What a store says of a token that has expired."""
    return answer("403 Forbidden", b"AuthenticationFailed", "application/xml")


def shifted(span: str) -> str:
    """A range that begins 16 bytes later than asked for; one without a first byte stays as it is."""
    first, dash, last = span.removeprefix("bytes=").partition("-")
    return f"bytes={int(first) + 16}{dash}{int(last) + 16 if last else ''}" if first.isdigit() else span


def flipped(content: bytes, chance: Random) -> bytes:
    """With up to 8 bits changed."""
    spoiled = bytearray(content)
    for _ in range(8):
        spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
    return bytes(spoiled)


def zeroed(content: bytes, start: int) -> bytes:
    """With up to ZEROED zeros from a byte on."""
    return content[:start] + bytes(min(ZEROED, len(content) - start)) + content[start + ZEROED :]
