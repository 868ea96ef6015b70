"""What a child process may do to the one that started it."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn


def echo(*columns: bytes) -> tuple[bytes, ...]:
    return columns


def crash() -> list[bytes]:
    return [ctypes.string_at(0)]


def abort() -> NoReturn:
    os.abort()


def grow() -> Iterator[bytes]:
    held = []
    while True:
        held.append(bytes(1 << 24))
        yield held[-1][:1]


def write() -> Iterator[bytes]:
    while True:
        yield bytes(1 << 20)


def spin() -> NoReturn:
    while True:
        pass


def stand_still(told: str) -> list[bytes]:
    Path(told).write_text(f"{os.getpid()} {os.getppid()}", encoding="ascii")
    time.sleep(600)
    return []


def fail(words: str) -> Iterator[bytes]:
    yield b"half of an answer"
    raise RuntimeError(words)


def nonsense() -> NoReturn:
    """Write a length and no column into every open file, the answer among them."""
    for number in range(3, 64):
        if os.path.exists(f"/dev/fd/{number}") and not os.isatty(number):  # noqa: PTH110
            try:
                os.write(number, (99).to_bytes(8, "little"))
            except OSError:
                continue
    os._exit(0)


def parent() -> list[bytes]:
    return [str(os.getppid()).encode()]


def kill_parent() -> list[bytes]:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return []
