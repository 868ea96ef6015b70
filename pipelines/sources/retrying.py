"""How every network call of a build is tried again: one policy for pages, tokens, rasters and extracts.

    answer = persist(address, ask, patience)

`ask` makes one attempt. It raises `PassingFault` for what may be better next time (`raise_if_passing` does so
for statuses); what `requests` and `urllib3` raise for a broken connection counts as such. Anything else it
raises ends the call. See docs/faults.md for what that means to a user.
"""

import contextlib
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import stamina
from stamina.instrumentation import RetryDetails

from pipelines.sources.asset_urls import keep_queries_out_of, redacted
from pipelines.sources.hosts import Host, LeftAloneError, host_of
from pipelines.sources.passing import BROKEN, PassingFault, broken
from pipelines.sources.patience import PATIENT, Patience

_LOG = logging.getLogger("gl10m")
_Answer = TypeVar("_Answer")

DAMAGED = "damaged"
"""Kind of a fault that lies in the file, or happened to it on the way."""

keep_queries_out_of("urllib3.connectionpool", "urllib3.util.retry", "pystac_client.stac_api_io")

LONGEST_REST_SECONDS = 3600.0
"""A host is left alone for so long at most, whatever it asks for."""

_STRANGER_ATTEMPTS = 2
"""Attempts at a host that never answered and takes no connection: a wrong address ends in seconds."""


class GaveUpError(ConnectionError):
    """The last attempt failed, or the host is left alone. The message names host and path, and no query."""

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
        """Kind of the last fault: what stands before its colon."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(GaveUpError, kind=self.kind), self.args


@dataclass(slots=True)
class Tally:
    """What went wrong and was survived, or was not."""

    faults: Counter[str] = field(default_factory=Counter)
    """Failed attempts by kind."""

    opened: Counter[str] = field(default_factory=Counter)
    """Circuits that opened, by host."""

    requests: Counter[str] = field(default_factory=Counter)
    """Attempts made, by host; of what GDAL reads, one a reading."""

    brought: Counter[str] = field(default_factory=Counter)
    """Bytes of ranges of rasters, by host; those that GDAL reads are not counted."""

    def add(self, other: "Tally") -> None:
        """Add what another process counted."""
        self.faults.update(other.faults)
        self.opened.update(other.opened)
        self.requests.update(other.requests)
        self.brought.update(other.brought)

    @property
    def traffic(self) -> str:
        """Requests and bytes in one line; empty if nothing was asked."""
        said = [
            f"{host} {_number(count, 'request')}"
            + (f", {self.brought[host] / 1e6:,.1f} MB of rasters" if self.brought[host] else "")
            for host, count in self.requests.most_common()
        ]
        return f"asked: {'; '.join(said)}" if said else ""

    def __str__(self) -> str:
        """One line a kind of news; empty if there is none."""
        said = []
        if self.faults:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.faults.most_common())
            said.append(f"network: {_number(self.faults.total(), 'failed attempt')} ({kinds})")
        said += [
            f"circuit of {host} opened {_number(count, 'time')}: it was left alone, and scenes failed for it"
            for host, count in sorted(self.opened.items())
        ]
        return "\n".join(said)


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


_TALLY = Tally()
_LOCK = threading.Lock()


def counted() -> Tally:
    """What this process has met since it was last asked."""
    with _LOCK:
        told = Tally()
        told.add(_TALLY)
        for counts in (_TALLY.faults, _TALLY.opened, _TALLY.requests, _TALLY.brought):
            counts.clear()
    return told


def note(kind: str) -> None:
    """Count a failed attempt; one that `persist` does not see, because a library repeats it by itself."""
    with _LOCK:
        _TALLY.faults[kind] += 1


def note_bytes(address: str, number: int) -> None:
    """Count what a host has brought.

    Args:
        address: of what it brought.
        number: bytes.
    """
    with _LOCK:
        _TALLY.brought[host_of(address).name] += number


def told_again(address: str, kind: str) -> None:
    """Count a failed attempt that `persist` does not see, and tell of it in the log.

    Args:
        address: what is asked for again; its query is not shown.
        kind: of the fault.
    """
    note(kind)
    _LOG.warning("asking again for %s: %s", redacted(address), kind)


def mended(
    address: str,
    work: Callable[[int], _Answer],
    damage: type[Exception],
    patience: Patience = PATIENT,
) -> _Answer:
    """Do some work again while what came does not make sense: it may have been damaged on its way.

    Args:
        address: what the work reads; its query is not shown.
        work: makes attempt number n, from 1; what it asks for, it asks for by `persist`.
        damage: what it raises then.
        patience: how long to try.

    Raises:
        Exception: what the last attempt raised, or what is no damage.
    """

    def again(error: Exception) -> bool:
        if isinstance(error, damage):
            note(DAMAGED)
            return True
        return False

    for attempt in stamina.retry_context(
        on=again,
        attempts=patience.attempts,
        timeout=patience.seconds,
        wait_initial=patience.wait_initial,
        wait_max=patience.wait_max,
        wait_jitter=patience.jitter,
    ).with_name(redacted(address), (), {}):
        with attempt:
            return work(attempt.num)
    raise AssertionError("stamina gives at least one attempt")


def persist(address: str, ask: Callable[[int], _Answer], patience: Patience = PATIENT) -> _Answer:
    """Ask until an answer comes or patience ends; safe to call from several threads.

    Args:
        address: http or https; host and path appear in log and errors, the query never does.
        ask: makes attempt number n, from 1.
        patience: how long to try, and how fast.

    Raises:
        GaveUpError: every attempt failed, or the host is left alone. No other exception hangs on to it.
        Exception: what `ask` raised, if that is no passing fault.
    """
    host, where = host_of(address), redacted(address)
    left_alone = ""
    try:
        trying = host.enter()
    except LeftAloneError as error:
        left_alone = str(error)
    if left_alone:
        raise GaveUpError(f"{where} was not asked for: {left_alone}", kind="left alone")
    call = _Call(host, where, 1 if trying else patience.attempts, patience)
    with _leaving(host):
        try:
            return call.answer(ask)
        except PassingFault as error:
            last = error
        except ConnectionError:
            raise  # of another host, asked on the way
        except Exception:
            host.answered()
            raise
        message = call.ended(last)
    raise GaveUpError(message, kind=last.kind)


@dataclass(slots=True)
class _Call:
    """One call of `persist`."""

    host: Host
    where: str
    attempts: int
    patience: Patience
    made: int = 0
    """Attempts made."""

    def answer(self, ask: Callable[[int], _Answer]) -> _Answer:
        """The first good answer.

        Raises:
            PassingFault: that of the last attempt.
        """
        patience = self.patience
        for attempt in stamina.retry_context(
            on=self._again,
            attempts=self.attempts,
            timeout=patience.seconds,
            wait_initial=patience.wait_initial,
            wait_max=patience.wait_max,
            wait_jitter=patience.jitter,
        ).with_name(self.where, (), {}):
            with attempt:
                self.host.pace(patience.requests_per_second, patience.burst)
                self.made += 1
                with _LOCK:
                    _TALLY.requests[self.host.name] += 1
                answer = _asked(ask, attempt.num)
                self.host.answered()
                return answer
        raise AssertionError("stamina gives at least one attempt")

    def _again(self, error: Exception) -> bool | float:
        """Whether to ask again, and after how many seconds if the server said so."""
        if not isinstance(error, PassingFault):
            return False
        note(error.kind)
        if error.wait is not None:
            if error.wait > self.patience.longest_wait:
                return False
            self.host.hold(error.wait)
            return error.wait + random.uniform(0, self.patience.jitter)  # noqa: S311 - no secret
        return error.connected or self.host.met or self.made < _STRANGER_ATTEMPTS

    def ended(self, fault: PassingFault) -> str:
        """Enter a failed call into the host's book; says what became of it."""
        message = f"{self.where} could not be read in {_number(self.made, 'attempt')}: {fault}"
        if not fault.by_host:
            self.host.answered()
            return message
        after, seconds = self.patience.circuit_failures, self.patience.circuit_seconds
        if fault.wait is not None and fault.wait > self.patience.longest_wait:
            after, seconds = 1, min(fault.wait, LONGEST_REST_SECONDS)
            message = f"{self.where} asks to come back in {fault.wait:,.0f} s ({fault})"
        if self.host.failed(str(fault), after=after, seconds=seconds):
            with _LOCK:
                _TALLY.opened[self.host.name] += 1
            _LOG.warning("circuit open: %s is left alone for %.0f s (%s)", self.host.name, seconds, fault)
        return message


@contextlib.contextmanager
def _leaving(host: Host) -> Iterator[None]:
    """However a call ends, another one may try the host."""
    try:
        yield
    finally:
        host.leave()


def _asked(ask: Callable[[int], _Answer], number: int) -> _Answer:
    """One attempt; a broken connection becomes a passing fault to which no address hangs on."""
    try:
        return ask(number)
    except BROKEN as error:
        fault = broken(error)
    raise fault


def announce_retries() -> None:
    """Let every retry of this process be told in one line of the log: what is asked again, and why."""
    stamina.instrumentation.set_on_retry_hooks((_say,))


def _say(details: RetryDetails) -> None:
    said = str(details.caused_by) if isinstance(details.caused_by, PassingFault) else DAMAGED
    _LOG.warning("asking again in %.1f s for %s: %s", details.wait_for, details.name, said[:100])
