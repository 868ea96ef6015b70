"""The processes behind `isolated`: a starter that stays, and a child that it forks for each request.

The starter is an interpreter that unpickles requests, which imports what they name, and never opens a file of
a user: every child begins in the same clean state, some milliseconds after it was asked for, where an
interpreter of its own would take 0.2 s. It watches over its child, and both end when the process ends that
asked: that closes the socket. Where the starter itself is killed, Linux kills the child.
"""

import ctypes
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

REQUEST = struct.Struct("<qqqd")
"""Bytes of the pickle that follows, bytes of memory, seconds of CPU time, seconds without any."""

VERDICT = struct.Struct("<iiq")
"""Exit code of a child or, below zero, the signal that ended it; why, where known; peak memory in bytes."""

RAISED = 3
"""Exit code of a child that answers with the type and the words of an error."""

STALLED, OUT_OF_MEMORY = 1, 2
"""Why a child ended, where its status does not say."""

_WATCH_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


def serve(number: int) -> None:
    """Start children until the process that asks for them is gone.

    Args:
        number: file descriptor of a stream socket.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal's Ctrl-C reaches all: the one that asked decides
    with socket.socket(fileno=number) as asking:
        while True:
            head, descriptors, _, _ = socket.recv_fds(asking, REQUEST.size, 1)
            if not head:
                return
            head += _exactly(asking, REQUEST.size - len(head))
            size, memory, cpu, stall = REQUEST.unpack(head)
            function, arguments = pickle.loads(_exactly(asking, size))  # noqa: S301 - written by our own parent
            child, alive = _forked(asking, descriptors[0], function, arguments, (memory, cpu))
            del function, arguments
            os.close(descriptors[0])
            asking.sendall(VERDICT.pack(*_watched(child, alive, asking, stall)))


def _exactly(asking: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = asking.recv(min(size, 1 << 20))
        if not part:
            sys.exit()
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _forked(
    asking: socket.socket,
    answer: int,
    function: Callable[..., Iterable[bytes]],
    arguments: tuple[Any, ...],
    limits: tuple[int, int],
) -> tuple[int, int]:
    """A child at work: its process id, and the end of a pipe that closes when it ends."""
    alive, its_end = os.pipe()
    child = os.fork()
    if not child:
        os.close(alive)
        asking.close()
        _answer(answer, function, arguments, limits)
    os.close(its_end)
    return child, alive


def _answer(
    answer: int, function: Callable[..., Iterable[bytes]], arguments: tuple[Any, ...], limits: tuple[int, int]
) -> NoReturn:
    """Be the child."""
    _bounded(*limits)
    try:
        for column in function(*arguments):
            _put(answer, column)
        status = 0
    except Exception as error:  # noqa: BLE001 - whatever it is, the one that asked hears of it
        os.ftruncate(answer, 0)
        os.lseek(answer, 0, os.SEEK_SET)
        _put(answer, f"{type(error).__name__}: {error}".encode(errors="replace"))
        status = RAISED
    os._exit(status)  # without destructors: what they would free may be damaged


def _put(answer: int, column: bytes) -> None:
    """Write a column: eight bytes of length, then its bytes."""
    os.write(answer, len(column).to_bytes(8, "little"))
    left = memoryview(column)
    while left:
        left = left[os.write(answer, left) :]


def _bounded(memory: int, cpu: int) -> None:
    """Bind this process to its limits, and to the life of the one that forked it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # the first to go where memory is short
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_AS: memory, resource.RLIMIT_FSIZE: memory}
    for kind, most in {**wanted, resource.RLIMIT_CPU: cpu}.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # "terminate called after ...": the error tells of it


def _watched(child: int, alive: int, asking: socket.socket, stall: float) -> tuple[int, int, int]:
    """Wait for the child: exit code or signal below zero, STALLED or 0, peak memory in bytes."""
    code, still = 0, 0.0
    used: float | None = None
    step = min(_WATCH_SECONDS, stall)
    descriptor = asking.fileno()
    while True:
        ready, _, _ = select.select([alive, descriptor], [], [], step)
        if descriptor in ready:  # nothing is sent before the verdict: it hung up
            os.kill(child, signal.SIGKILL)
            sys.exit()
        if alive in ready:
            break
        before, used = used, _cpu_seconds(child)
        still = still + step if used is not None and used == before else 0.0
        if still >= stall:
            code = STALLED
            os.kill(child, signal.SIGKILL)
            break
    os.close(alive)
    _, status, usage = os.wait4(child, 0)
    return (
        os.waitstatus_to_exitcode(status),
        code,
        usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def _cpu_seconds(child: int) -> float | None:
    """CPU time of a process so far, None where the system does not tell."""
    try:
        fields = Path(f"/proc/{child}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
