"""A bad network to try a build on: an HTTP proxy that spoils some of the answers that pass through it.

    python -m scripts.fault_proxy --rate 0.1 --seed 7 --port 8900
    http_proxy=http://127.0.0.1:8900 gl10m build --source stac --stac-url http://127.0.0.1:8080 ...

`curl http://127.0.0.1:8900/faults` tells how many requests came and what was done to them. What goes through
TLS (`https_proxy`) can only be held up or cut, since nobody can change its bytes unseen. docs/faults.md tells
what each fault is and what a build makes of it.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit

HOST = "127.0.0.1"
MOST_HEAD = 1 << 16
"""Bytes of a request's or an answer's head at most."""

PAGE = b"<!DOCTYPE html><html><body>Our services aren't available right now</body></html>\n"
"""What a gateway says with status 200 or 206."""

INSTEAD = ("429", "429 in 1 s", "429 until", "503", "stall", "page", "expired token")
"""Faults that need no answer of the server."""

SPOILED = ("reset", "cut short", "short length", "wrong range", "flipped bits", "zeroed run")
"""Faults of an answer that came."""

KINDS = INSTEAD + SPOILED

_END = b"\r\n\r\n"
_JSON_KINDS = ("reset", "cut short", "short length", "zeroed run")  # what a reader of JSON can see


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


@dataclass(slots=True)
class FaultProxy:
    """The proxy; `start` it on a running loop."""

    rate: float
    """Share of requests that are spoiled, 0..1."""
    seed: int
    """Decides which, for the same order of requests."""
    kinds: Sequence[str] = KINDS
    """Faults to choose from."""
    stall_seconds: float = 5.0
    """How long a stalled answer keeps silent before the connection ends."""
    hosts: dict[str, str] = field(default_factory=dict)
    """Host name to host:port where it is to be found instead."""
    requests: int = 0
    done: Counter[str] = field(default_factory=Counter)
    """Faults done, by kind."""
    _refused: set[str] = field(default_factory=set)
    _deck: list[str] = field(default_factory=list)
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        """Seed the dice.

        Raises:
            ValueError: the rate is no share, or a kind is not known.
        """
        unknown = sorted(set(self.kinds) - set(KINDS))
        if not 0 <= self.rate <= 1 or unknown:
            raise ValueError(f"a rate of 0 to 1 and kinds of {', '.join(KINDS)}; got {self.rate}, {unknown}")
        self._chance = random.Random(self.seed)  # noqa: S311 - no secret

    async def start(self, port: int = 0) -> asyncio.Server:
        """Listen on the loopback."""
        return await asyncio.start_server(self._serve, HOST, port, limit=MOST_HEAD)

    def tally(self) -> dict[str, object]:
        """What came and what was done."""
        return {
            "requests": self.requests,
            "faults": self.done.total(),
            "by_kind": dict(sorted(self.done.items())),
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, request by request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (request := await Head.read(reader)) is not None:
                length = int(request.get("Content-Length") or 0)
                body = await reader.readexactly(length)
                method, target, _ = request.line.split(" ", 2)
                if method == "CONNECT":
                    await self._tunnel(target, reader, writer)
                    break
                if target == "/faults":
                    writer.write(_answer("200 OK", json.dumps(self.tally()).encode(), "application/json"))
                elif not await self._exchange(request, body, writer):
                    break
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _fault(self, possible: Sequence[str]) -> str | None:
        """The fault of the next request, if it has one: every kind in turn, in an order of chance."""
        self.requests += 1
        if self._chance.random() >= self.rate:
            return None
        allowed = [kind for kind in possible if kind in self.kinds]
        kind = next((kind for kind in self._deck if kind in allowed), None)
        if kind is None and allowed:
            fresh = list(self.kinds)
            self._chance.shuffle(fresh)
            self._deck += fresh
            kind = next(kind for kind in self._deck if kind in allowed)
        if kind is not None:
            self._deck.remove(kind)
            self.done[kind] += 1
        return kind

    async def _exchange(self, request: Head, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; says whether the connection goes on."""
        method, target, _ = request.line.split(" ", 2)
        token = parse_qs(urlsplit(target).query).get("sig", [""])[0]
        if token in self._refused:
            writer.write(_answer("403 Forbidden", b"AuthenticationFailed", "application/xml"))
            return True
        ranged = bool(request.get("Range"))
        spoiled = tuple(kind for kind in SPOILED if kind != "wrong range" or ranged)
        instead = tuple(kind for kind in INSTEAD if kind != "expired token" or token)
        fault = self._fault(instead if method == "HEAD" else instead + spoiled)
        if fault in INSTEAD:
            return await self._instead(fault, token, writer, partial=ranged)
        if fault == "wrong range":
            request = request.having(range=_shifted(request.get("Range")))
        return await self._pass(request, body, fault, writer)

    async def _instead(self, fault: str, token: str, writer: asyncio.StreamWriter, *, partial: bool) -> bool:
        """Answer without asking the server."""
        match fault:
            case "429":
                writer.write(_answer("429 Too Many Requests", b"", "text/plain"))
            case "429 in 1 s":
                writer.write(_answer("429 Too Many Requests", b"", "text/plain", {"Retry-After": "1"}))
            case "429 until":
                then = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
                writer.write(_answer("429 Too Many Requests", b"", "text/plain", {"Retry-After": then}))
            case "503":
                writer.write(_answer("503 Service Unavailable", b"", "text/plain"))
            case "expired token":
                self._refused.add(token)
                writer.write(_answer("403 Forbidden", b"AuthenticationFailed", "application/xml"))
            case "page":
                more = {"Content-Range": f"bytes 0-{len(PAGE) - 1}/{len(PAGE)}"} if partial else {}
                writer.write(_answer("206 Partial Content" if partial else "200 OK", PAGE, "text/html", more))
            case _:
                await asyncio.sleep(self.stall_seconds)
                return False
        return True

    async def _pass(
        self, request: Head, body: bytes, fault: str | None, writer: asyncio.StreamWriter
    ) -> bool:
        """Ask the server and hand its answer on, spoiled or not."""
        method, target, version = request.line.split(" ", 2)
        netloc = urlsplit(target).netloc
        host, _, port = self.hosts.get(netloc, netloc).partition(":")
        try:
            upstream_reader, upstream = await asyncio.open_connection(host, int(port or 80), limit=MOST_HEAD)
        except OSError:
            writer.write(_answer("502 Bad Gateway", b"", "text/plain"))
            return True
        try:
            bare = urlsplit(target)._replace(scheme="", netloc="").geturl() or "/"
            asked = Head(f"{method} {bare} {version}", request.headers)
            upstream.write(asked.having(connection="close", proxy_connection=None).bytes() + body)
            answer = await Head.read(upstream_reader)
            if answer is None:
                return False
            empty = method == "HEAD" or answer.line.split(" ")[1] in {"204", "304"}
            content = b"" if empty else await upstream_reader.read(-1)
        finally:
            upstream.close()
        return await self._hand_on(answer, content, fault, writer)

    async def _hand_on(
        self, answer: Head, content: bytes, fault: str | None, writer: asyncio.StreamWriter
    ) -> bool:
        """Write an answer to the client; says whether the connection goes on."""
        answer = answer.having(connection=None)
        if fault in SPOILED and ("json" in answer.get("Content-Type")) and fault not in _JSON_KINDS:
            self.done[fault] -= 1
            fault = "zeroed run"
            self.done[fault] += 1
        if not content:
            writer.write(answer.bytes())
            return True
        half = self._chance.randrange(len(content))
        match fault:
            case "flipped bits":
                content = self._flipped(content)
            case "zeroed run":
                content = content[:half] + bytes(min(4096, len(content) - half)) + content[half + 4096 :]
            case "short length":
                content = content[:half]
                answer = answer.having(content_length=str(half))
            case "cut short" | "reset":
                writer.write(answer.bytes() + content[:half])
                await writer.drain()
                if fault == "reset":
                    _reset(writer)
                return False
        writer.write(answer.bytes() + content)
        return bool(answer.get("Content-Length"))

    def _flipped(self, content: bytes) -> bytes:
        spoiled = bytearray(content)
        for _ in range(8):
            spoiled[self._chance.randrange(len(spoiled))] ^= 1 << self._chance.randrange(8)
        return bytes(spoiled)

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes to and fro, held up or reset on the way if chance will."""
        fault = self._fault(("stall", "reset"))
        host, _, port = self.hosts.get(target, target).rpartition(":")
        there_reader, there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pumps = [asyncio.create_task(_pump(reader, there)), asyncio.create_task(_pump(there_reader, writer))]
        if fault is not None:
            await asyncio.sleep(self.stall_seconds if fault == "stall" else 0.05)
            for pump in pumps:
                pump.cancel()
            _reset(writer)
        await asyncio.gather(*pumps, return_exceptions=True)
        there.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while content := await source.read(1 << 16):
        sink.write(content)
        await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST in place of FIN."""
    own: socket.socket | None = writer.get_extra_info("socket")
    if own is not None:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _shifted(span: str) -> str:
    """A range that begins a little later than asked for."""
    first, dash, last = span.removeprefix("bytes=").partition("-")
    return f"bytes={int(first) + 16}{dash}{int(last) + 16 if last else ''}" if first.isdigit() else span


def _answer(status: str, body: bytes, kind: str, more: dict[str, str] | None = None) -> bytes:
    headers = {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
    return Head(f"HTTP/1.1 {status}", tuple(headers.items())).bytes() + body


async def _run(proxy: FaultProxy, port: int) -> None:
    server = await proxy.start(port)
    print(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.close()
    print(json.dumps(proxy.tally()), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proxy until it is told to end; then print what it did."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=0.1, help="share of requests that are spoiled")
    parser.add_argument("--seed", type=int, default=0, help="decides which, and how")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; a free one if not given")
    parser.add_argument("--stall", type=float, default=5.0, help="seconds that a stalled answer keeps silent")
    parser.add_argument(
        "--kind", action="append", choices=KINDS, help="only this kind; may be given several times"
    )
    parser.add_argument("--host", action="append", default=[], metavar="NAME=HOST:PORT", help="where NAME is")
    asked = parser.parse_args(arguments)
    hosts = dict(pair.split("=", 1) for pair in asked.host)
    proxy = FaultProxy(asked.rate, asked.seed, tuple(asked.kind or KINDS), asked.stall, hosts)
    asyncio.run(_run(proxy, asked.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
