"""The web hosts as this process knows them: how fast each may be asked, and which is left alone for a while.

Each worker process keeps its own book, shared by its threads. Nothing is shared between processes: with eight
workers a host may be asked eight times as often, and each worker finds out for itself that a host is down.
"""

import threading
import time
from urllib.parse import urlsplit


class Host:
    """One host and port: its pace and its circuit.

    The pace is a token bucket. The circuit opens after calls that failed in a row; while it is open no call
    goes out, then one call tries (half open), and its outcome closes the circuit or opens it again.
    """

    def __init__(self, name: str) -> None:
        """Begin with a full bucket and a closed circuit.

        Args:
            name: host:port, as it is shown.
        """
        self.name = name
        self.met = False
        """True once it has answered anything."""
        self._lock = threading.Lock()
        self._turn = 0.0  # when the request after those under way is due, by time.monotonic()
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False
        self._cause = ""

    def pace(self, rate: float, burst: int) -> None:
        """Wait for one's turn.

        Args:
            rate: requests a second on average.
            burst: requests that may go at once after a time of rest.
        """
        with self._lock:
            now = time.monotonic()
            turn = max(self._turn, now - (burst - 1) / rate)
            self._turn = turn + 1 / rate
        if turn > now:
            time.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let no request of any thread go for a while, since the host asked for it."""
        with self._lock:
            self._turn = max(self._turn, time.monotonic() + seconds)

    def enter(self) -> bool:
        """Begin a call; every call ends with `answered`, `failed` or `leave`.

        Returns:
            True if it is the one call that tries whether the host is back.

        Raises:
            LeftAloneError: the circuit is open.
        """
        with self._lock:
            if self._open_until is None:
                return False
            left = self._open_until - time.monotonic()
            if left > 0 or self._trying:
                raise LeftAloneError(
                    f"{self.name} is left alone for another {max(left, 0.0):.0f} s after {self._failures} "
                    f"failed calls in a row; the last: {self._cause}"
                )
            self._trying = True
            return True

    def answered(self) -> None:
        """A call ended well: the circuit is closed."""
        with self._lock:
            self.met, self._failures, self._open_until, self._trying = True, 0, None, False

    def failed(self, cause: str, *, after: int, seconds: float) -> bool:
        """A call ended badly, by the host's fault.

        Args:
            cause: in words, without secrets.
            after: calls that failed in a row which open the circuit.
            seconds: how long it stays open.

        Returns:
            True if the circuit has opened now.
        """
        with self._lock:
            self._failures += 1
            self._cause = cause
            opens = self._trying or (self._failures >= after and self._open_until is None)
            self._trying = False
            if opens:
                self._open_until = time.monotonic() + seconds
            return opens

    def leave(self) -> None:
        """A call ended without saying anything about the host: another one may try."""
        with self._lock:
            self._trying = False

    @property
    def rest(self) -> float:
        """Seconds for which the circuit stays open; 0 where a call may go out."""
        with self._lock:
            return 0.0 if self._open_until is None else max(0.0, self._open_until - time.monotonic())


class LeftAloneError(ConnectionError):
    """A host is not asked for now, since the calls before this one failed."""


_HOSTS: dict[str, Host] = {}
_LOCK = threading.Lock()


def host_of(address: str) -> Host:
    """The book of the host of an address, kept as long as the process lives.

    Args:
        address: http or https; only host and port are looked at.
    """
    name = urlsplit(address).netloc.rpartition("@")[2].lower()
    with _LOCK:
        return _HOSTS.setdefault(name, Host(name))


def wait_for_hosts(most_seconds: float) -> None:
    """Sleep until every host may be asked again, so that new work is not begun only to fail.

    Args:
        most_seconds: not longer than this.
    """
    with _LOCK:
        rests = [host.rest for host in _HOSTS.values()]
    time.sleep(min(most_seconds, max(rests, default=0.0)))
