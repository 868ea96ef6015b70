"""Requests to end that come while everything is being ended."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and a terminal that is closed."""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals of ENDING back; the first one that came is delivered at the end.

    Only the main thread can do so; in another one nothing is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
        came.append(number)

    handlers = {number: signal.getsignal(number) for number in ENDING}
    # What is ignored stays so; None stands for a handler that is not Python's and could not be put back.
    changed = {
        number: handler for number, handler in handlers.items() if handler not in {None, signal.SIG_IGN}
    }
    for number in changed:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
