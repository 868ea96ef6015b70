"""Runs a function in a process of its own, bounded in memory and time, whose death is an error and no more.

libosmium parses what a user gives it in C++. A damaged or hostile file can make it crash, grow or stand
still, and with it the process that called it. So it is called in a child: `isolated_child` tells how that is
started.

What comes back are plain columns of bytes in a file without a name, which vanishes with the last process that
holds it, however that dies. Nothing of them is unpickled; each length is checked against the file. Requests
are pickled: they come from us. The child is no jail: it contains accidents, not a takeover of the process.
"""

import atexit
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipelines.sources.isolated_child import OUT_OF_MEMORY, RAISED, REQUEST, STALLED, VERDICT

MEMORY_BYTES = 2 << 30
"""Address space that a child may take whatever the size of its file: threads, queues, blobs of 32 MiB."""

MEMORY_A_BYTE = 64
"""Address space for each byte of the file on top of it."""

CPU_SECONDS = 30
"""CPU time that a child may take whatever the size of its file."""

CPU_SECONDS_A_MEGABYTE = 20
"""CPU time for each 10^6 bytes of the file on top of it."""

STALL_SECONDS = 120
"""A child that takes no CPU time for so long is stopped."""

MOST_THREADS = 4
"""Of libosmium's pool; its default, by the number of cores, reserves gigabytes on large machines."""

_LOG = logging.getLogger("gl10m")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pipelines.sources.isolated_child import serve; serve(int(sys.argv[2]))"
)
_LENGTH = 8


class ChildLostError(RuntimeError):
    """A child died, ran out of what it may use, or answered nonsense."""


class ChildFailedError(RuntimeError):
    """What a child called raised an error, whose type and words these are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use."""

    memory_bytes: int
    """Address space; also the most bytes of any file that it writes, its answer included."""

    cpu_seconds: int
    """CPU time of all its threads."""

    stall_seconds: float = STALL_SECONDS
    """Seconds without any CPU time."""

    @classmethod
    def of(cls, path: Path) -> "Limits":
        """Limits by the size of a file."""
        return cls.for_bytes(path.stat().st_size)

    @classmethod
    def for_bytes(cls, size: int) -> "Limits":
        """Limits by how much there is to read, and never more memory than the machine has."""
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            min(MEMORY_BYTES + MEMORY_A_BYTE * size, machine),
            CPU_SECONDS + CPU_SECONDS_A_MEGABYTE * size // 10**6,
        )


class _Starter:
    """The process that starts children."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._socket, theirs = socket.socketpair()
        paths = json.dumps([path or str(Path.cwd()) for path in sys.path])
        threads = str(min(MOST_THREADS, os.cpu_count() or 1))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and words
                [sys.executable, "-I", "-c", _START, paths, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "OSMIUM_POOL_THREADS": threads, "MALLOC_ARENA_MAX": threads},
            )

    def ask(self, request: bytes, limits: Limits, answer: BinaryIO) -> None:
        """Send a request.

        Raises:
            OSError: the process is no more.
        """
        head = REQUEST.pack(
            len(request), limits.memory_bytes, max(1, limits.cpu_seconds), limits.stall_seconds
        )
        sent = socket.send_fds(self._socket, [head], [answer.fileno()])
        self._socket.sendall(head[sent:] + request)

    def verdict(self) -> tuple[int, int, int]:
        """What became of the child: exit code or signal below zero, one of our codes, peak memory in bytes.

        Raises:
            ChildLostError: the starter died first.
        """
        received = b""
        while len(received) < VERDICT.size:
            part = self._socket.recv(VERDICT.size - len(received))
            if not part:
                raise ChildLostError("the process that watched over it was killed")
            received += part
        status, code, peak = VERDICT.unpack(received)
        return status, code, peak

    def close(self) -> None:
        """End it, and with it the child under way."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Let go of the starter of another process, of which this one is a fork."""
        self._socket.close()
        self._process.returncode = 0


_idle: list[_Starter] = []


def run(function: Callable[..., Iterable[bytes]], *arguments: object, limits: Limits) -> list[bytes]:
    """Call a function in a child of its own.

    The first call of a process starts an interpreter that stays and forks a fresh child for every call. Safe
    in threads, in daemonic processes and after a fork.

    Args:
        function: of the top level of a module; gives its answer as columns of bytes.
        arguments: of the function, picklable.
        limits: of the child.

    Returns:
        The columns.

    Raises:
        ChildLostError: the child died, was stopped, or answered nonsense.
        ChildFailedError: the function raised an error.
    """
    request = pickle.dumps((function, arguments))
    with tempfile.TemporaryFile(prefix="gl10m-answer-") as answer:
        starter = _asked(request, limits, answer)
        try:
            status, code, peak = starter.verdict()
        except BaseException:  # Ctrl-C among them: the child must not outlive the call
            starter.close()
            raise
        _idle.append(starter)
        _LOG.debug("%s: status %d, code %d, peak %d bytes", function.__name__, status, code, peak)
        if status == 0 and code == 0:
            return _columns(answer, limits)
        if status == RAISED:
            raise _failure(answer, limits)
        raise ChildLostError(_cause(status, code, peak, limits))


def _asked(request: bytes, limits: Limits, answer: BinaryIO) -> _Starter:
    """An idle starter, or a new one where none is left alive, with the request under way."""
    while True:
        try:
            starter = _idle.pop()
        except IndexError:
            break
        try:
            starter.ask(request, limits, answer)
        except OSError:
            starter.close()
        else:
            return starter
    starter = _Starter()
    try:
        starter.ask(request, limits, answer)
    except OSError as error:
        starter.close()
        raise ChildLostError(f"the process that should start it ended at once ({error})") from error
    return starter


def _columns(answer: BinaryIO, limits: Limits) -> list[bytes]:
    """Read columns back: each is eight bytes of length and as many bytes as that says."""
    left = os.fstat(answer.fileno()).st_size
    if left > limits.memory_bytes:
        raise ChildLostError(f"it answered with {left} bytes, more than it may hold in memory")
    answer.seek(0)
    columns = []
    while left:
        size = int.from_bytes(answer.read(_LENGTH), "little")
        left -= _LENGTH + size
        if left < 0:
            raise ChildLostError("its answer breaks off")
        columns.append(answer.read(size))
    return columns


def integers(column: bytes) -> NDArray[np.int64]:
    """A column of int64."""
    return np.frombuffer(column, np.int64)


def pieces(joined: bytes, lengths: NDArray[np.int64]) -> list[bytes]:
    """Cut a column of bytes.

    Raises:
        ChildLostError: the lengths are not those of its pieces.
    """
    ends = np.cumsum(lengths)
    if (lengths < 0).any() or (ends[-1] if len(ends) else 0) != len(joined):
        raise ChildLostError("its answer does not add up")
    return [joined[first:last] for first, last in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]


_NO_ROOM = ("out of memory", "bad_alloc", "Resource temporarily unavailable")
"""What libosmium says where memory ends; the last, where no address is left for the stack of a thread."""


def _failure(answer: BinaryIO, limits: Limits) -> ChildLostError | ChildFailedError:
    """The error that the function raised, in printable words of bounded length."""
    words = b"".join(_columns(answer, limits)[-1:]).decode(errors="replace")[:500]
    kind, _, what = "".join(letter if letter.isprintable() else "?" for letter in words).partition(": ")
    if kind == "MemoryError" or any(one in what for one in _NO_ROOM):
        return ChildLostError(_cause(1, OUT_OF_MEMORY, 0, limits))
    return ChildFailedError(what or kind)


def _cause(status: int, code: int, peak: int, limits: Limits) -> str:
    """Why a child is no more, in words."""
    memory = f"the {limits.memory_bytes >> 20} MiB of memory that a file of this size may take"
    if code == STALLED:
        return f"it stood still for {limits.stall_seconds:g} s"
    if code == OUT_OF_MEMORY:
        return f"it needs more than {memory}"
    if status == -Signals.SIGXCPU:
        return f"it took the {limits.cpu_seconds} s of CPU time that a file of this size may take"
    if status == -Signals.SIGKILL:
        return f"it was killed at {peak >> 20} MiB, most likely for want of memory on this machine"
    name = Signals(-status).name if -status in set(Signals) else f"status {status}"
    return f"it crashed with {name} at {peak >> 20} MiB; it may take {memory}"


def _close() -> None:
    while _idle:
        _idle.pop().close()


def _forget() -> None:
    for starter in _idle:
        starter.forget()
    _idle.clear()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
