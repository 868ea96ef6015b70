"""A process that talks to object stores for one that was forked and cannot.

The engine of obstore lives in threads, which a fork does not copy: used again in the child, it never answers.
DataLoader workers are such children by default on Linux before Python 3.14. A child starts this module as a
fresh program and hands it each operation over a pipe; it ends when the pipe does.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

_lock = threading.Lock()
_relays: dict[int, "subprocess.Popen[bytes]"] = {}
"""The relay of this process, by its number: those of a parent are not ours."""


class RelayLostError(RuntimeError):
    """The process that reads for a forked worker has ended."""


def perform(operation: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - any operation
    """Do an operation in this process's relay.

    Raises:
        RelayLostError: the relay has died.
        Exception: what the operation raised.
    """
    with _lock:
        relay = _relay()
        sink, source = relay.stdin, relay.stdout
        if sink is None or source is None:
            raise RelayLostError("the reading process has no pipe")
        try:
            pickle.dump((operation, arguments), sink)
            sink.flush()
            # What comes back was written by our own child.
            result, error = pickle.load(source)  # noqa: S301 - as said
        except (EOFError, BrokenPipeError) as lost:
            raise RelayLostError(
                "the process that reads the bucket for this forked worker has ended. Start workers with "
                'multiprocessing_context="spawn" instead.'
            ) from lost
    if error is not None:
        raise error
    return result


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Do operations until the pipe ends."""
    while True:
        try:
            operation, arguments = pickle.load(source)  # noqa: S301 - from the process that started this one
        except EOFError:
            return
        try:
            answer: tuple[Any, Exception | None] = (operation(*arguments), None)
        except Exception as error:  # noqa: BLE001 - raised again on the other side
            answer = (None, error)
        pickle.dump(answer, sink)
        sink.flush()


def _relay() -> "subprocess.Popen[bytes]":
    found = _relays.get(os.getpid())
    if found is None:
        _relays.clear()
        found = subprocess.Popen(
            [sys.executable, "-m", "gl10m.storage.relay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the worker's business; this one ends with its pipe
        )
        _relays[os.getpid()] = found
    return found


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
