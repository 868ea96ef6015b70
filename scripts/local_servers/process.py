"""Processes of ours: begun only once they are noted, known again by number and start time, surely ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_STOP = 15.0
SECONDS_TO_FOLLOW = 1.0
"""How long a session may outlive its leader."""

GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "gate")
"""Waits for a line on standard input, then becomes the command that follows; ends where no line will come."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that `start` began; the start time tells it from a later process with the same number."""

    name: str
    pid: int
    started: int
    """Clock ticks since boot, field 22 of /proc/PID/stat."""

    @classmethod
    def of(cls, name: str, pid: int) -> "Server":
        """The process that has this number now.

        Raises:
            ProcessLookupError: there is none.
        """
        found = _stat(pid)
        if found is None:
            raise ProcessLookupError(f"{name} has ended: there is no process {pid}")
        return cls(name, pid, found.started)

    @property
    def running(self) -> bool:
        """True while this very process runs; a zombie does not."""
        found = _stat(self.pid)
        return found is not None and found.alive and found.started == self.started

    def processes(self) -> list[int]:
        """What runs of it: the process and the session that it leads.

        The workers of nginx stay behind when their master is killed, and keep its port.
        """
        leader = _stat(self.pid)
        if leader is not None and leader.started != self.started:
            return []  # the number has been given away, which the kernel does only after the whole session
        session = (one for one in _stats() if one.session == self.pid and one.started >= self.started)
        return [one.pid for one in session if one.alive]

    def ends_within(self, seconds: float) -> bool:
        """Wait for the process and its session to end; False where something still runs after that time."""
        return until(lambda: not self.processes(), seconds)

    def end(self, *gentle: signal.Signals) -> bool:
        """Ask it to end, ever more firmly; False where it still runs.

        Args:
            gentle: signals for the process alone, each with SECONDS_TO_STOP to follow it. What is left of its
                session shortly after gets SIGKILL.
        """
        for number in gentle:
            if self.running:
                _send(self.pid, number)
                until(lambda: not self.running, SECONDS_TO_STOP)
        if self.ends_within(SECONDS_TO_FOLLOW):
            return True
        for pid in self.processes():
            _send(pid, signal.SIGKILL)
        return self.ends_within(SECONDS_TO_STOP)


def begin(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
    sockets: Sequence[socket.socket] = (),
) -> subprocess.Popen[bytes]:
    """Begin a command that leads a session of its own and has a GATE in it; `release` lets it through.

    Args:
        command: what to run.
        log: gets what it says; written anew.
        folder: where it runs.
        environment: all of its environment.
        sockets: passed on under the same file numbers.
    """
    with log.open("wb") as said:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[one.fileno() for one in sockets],
        )


def release(child: subprocess.Popen[bytes]) -> None:
    """Let a command through its gate; where this process dies before, the command never runs."""
    assert child.stdin is not None  # noqa: S101 - `begin` makes it
    with contextlib.suppress(BrokenPipeError), child.stdin as gate:
        gate.write(b"go\n")


def withhold(child: subprocess.Popen[bytes]) -> None:
    """Close the gate of a command, for good unless it was let through."""
    if child.stdin is not None:
        child.stdin.close()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; False where it did not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass(frozen=True, slots=True)
class _Stat:
    """What /proc/PID/stat says of a process."""

    pid: int
    alive: bool
    """Neither a zombie nor dead."""
    session: int
    started: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None  # it has ended, or is somebody else's and hidden
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return _Stat(pid, fields[0] not in "ZX", int(fields[3]), int(fields[19]))


def _stats() -> Iterator[_Stat]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (found := _stat(int(entry.name))) is not None:
            yield found


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
