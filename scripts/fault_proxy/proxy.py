"""The proxy: takes requests, lets chance choose their faults, and hands answers on."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from scripts.fault_proxy import faults, tunnel
from scripts.fault_proxy.faults import INSTEAD, KINDS, SEEN_IN_JSON, SPOILED, TUNNELLED
from scripts.fault_proxy.head import LONGEST, Head, answer, place

HOST = "127.0.0.1"


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
    ahead: float = 0.0
    """Seconds by which its own clock is ahead of ours: that of `Date` and of a date in `Retry-After`."""
    requests: int = field(init=False, default=0)
    done: Counter[str] = field(init=False, default_factory=Counter)
    """Faults done, by kind."""
    refused: int = field(init=False, default=0)
    """Further requests with a token that had expired."""
    _refused: set[str] = field(init=False, default_factory=set)
    _deck: list[str] = field(init=False, default_factory=list)
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
        return await asyncio.start_server(self._serve, HOST, port, limit=LONGEST)

    def tally(self) -> dict[str, object]:
        """What came and what was done; `refused` requests are neither among the requests nor the faults."""
        return {
            "requests": self.requests,
            "faults": self.done.total(),
            "by_kind": dict(sorted((kind, count) for kind, count in self.done.items() if count)),
            "refused": self.refused,
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, request by request."""
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (request := await Head.read(reader)) is not None:
                    if not await self._request(request, reader, writer):
                        break
                    await writer.drain()
        except ValueError as error:  # no request line, no length, no host
            writer.write(answer("400 Bad Request", str(error).encode()))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(
        self, request: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request; says whether the connection goes on."""
        body = await reader.readexactly(int(request.get("Content-Length") or 0))
        method, target, _ = request.line.split(" ", 2)
        if method == "CONNECT":
            await self._tunnel(target, reader, writer)
            return False
        if target == "/faults":
            writer.write(answer("200 OK", json.dumps(self.tally()).encode(), "application/json"))
            return True
        return await self._exchange(request, body, writer)

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

    def _not_done(self, fault: str | None) -> None:
        """Take back a fault that was chosen for an answer which has nothing to spoil, or never came."""
        if fault is not None:
            self.done[fault] -= 1

    async def _exchange(self, request: Head, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; says whether the connection goes on."""
        method, target, _ = request.line.split(" ", 2)
        token = parse_qs(urlsplit(target).query).get("sig", [""])[0]
        if token in self._refused:
            self.refused += 1
            writer.write(faults.refused())
            return True
        ranged = bool(request.get("Range"))
        spoiled = tuple(kind for kind in SPOILED if kind != "wrong range" or ranged)
        instead = tuple(kind for kind in INSTEAD if kind != "expired token" or token)
        fault = self._fault(instead if method == "HEAD" else instead + spoiled)
        if fault == "stall":
            await asyncio.sleep(self.stall_seconds)
            return False
        if fault in INSTEAD:
            if fault == "expired token":
                self._refused.add(token)
            now = datetime.now(UTC) + timedelta(seconds=self.ahead)
            writer.write(faults.instead(fault, now, partial=ranged))
            return True
        if fault == "wrong range":
            request = request.having(range=faults.shifted(request.get("Range")))
        return await self._pass(request, body, fault, writer)

    async def _pass(
        self, request: Head, body: bytes, fault: str | None, writer: asyncio.StreamWriter
    ) -> bool:
        """Ask the server and hand its answer on, spoiled or not."""
        method, target, version = request.line.split(" ", 2)
        netloc = urlsplit(target).netloc
        host, port = place(self.hosts.get(netloc, netloc), 80)
        try:
            there, upstream = await asyncio.open_connection(host, port, limit=LONGEST)
        except OSError as error:
            self._not_done(fault)
            writer.write(answer("502 Bad Gateway", str(error).encode()))
            return True
        try:
            bare = urlsplit(target)._replace(scheme="", netloc="").geturl() or "/"
            asked = Head(f"{method} {bare} {version}", request.headers)
            upstream.write(asked.having(connection="close", proxy_connection=None).bytes() + body)
            head = await Head.read(there)
            if head is None:
                self._not_done(fault)
                return False
            empty = method == "HEAD" or head.line.split(" ")[1] in {"204", "304"}
            content = b"" if empty else await there.read(-1)
        finally:
            upstream.close()
        return await self._hand_on(head, content, fault, writer)

    async def _hand_on(
        self, head: Head, content: bytes, fault: str | None, writer: asyncio.StreamWriter
    ) -> bool:
        """Write an answer to the client; says whether the connection goes on."""
        head = head.having(connection=None)
        if not content:
            self._not_done(fault)
            writer.write(head.bytes())
            return True
        if fault in SPOILED and "json" in head.get("Content-Type") and fault not in SEEN_IN_JSON:
            self._not_done(fault)
            fault = "zeroed run"
            self.done[fault] += 1
        half = self._chance.randrange(len(content))
        match fault:
            case "flipped bits":
                content = faults.flipped(content, self._chance)
            case "zeroed run":
                content = faults.zeroed(content, half)
            case "short length":
                content = content[:half]
                head = head.having(content_length=str(half))
            case "cut short" | "reset":
                writer.write(head.bytes() + content[:half])
                await writer.drain()
                if fault == "reset":
                    tunnel.reset(writer)
                return False
        writer.write(head.bytes() + content)
        return bool(head.get("Content-Length"))

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes to and fro; held up or reset on the way if chance will."""
        host, port = place(self.hosts.get(target, target), 443)
        fault = self._fault(TUNNELLED)
        try:
            there = await asyncio.open_connection(host, port)
        except OSError as error:
            self._not_done(fault)
            writer.write(answer("502 Bad Gateway", str(error).encode()))
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            if fault == "stall":
                await asyncio.sleep(self.stall_seconds)
            else:
                most = tunnel.SECONDS_TO_RESET if fault == "reset" else None
                await tunnel.carry((reader, writer), there, at_most=most)
            if fault is not None:
                tunnel.reset(writer)
        finally:
            there[1].close()
