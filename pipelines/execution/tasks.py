"""Runs independent tasks on a Dask cluster, a bounded number at a time; a fault of one is none of another.

A task that fails, or whose worker dies under it, may be taken apart. Its parts are done once the cluster is
idle, one at a time: whatever dies then is the culprit, and not what happened to wait on the same worker.
"""

import contextlib
import logging
import pickle
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from distributed import Client, Future, KilledWorker

from pipelines.execution.redaction import Guarded

PATIENCE_SECONDS = 120
"""How long a build that is told to stop waits for tasks under way."""

TASKS_PER_THREAD = 2
"""Tasks submitted ahead for each thread of a worker: one runs, one waits, and memory stays bounded."""

SUSPECTS = 32
"""Parts of failed tasks that may wait before the cluster turns to them."""

_LOOK_SECONDS = 2.0
"""How often workers are counted while nothing ends."""

_WORKERLESS_SECONDS = 60.0
"""How often it is told that there are no workers."""

_LOG = logging.getLogger("gl10m")

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class SchedulerLostError(ConnectionError):
    """The scheduler of the cluster died, or cannot be reached any more."""


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """What became of a task that raised, or whose worker died too often."""

    task: Any
    """The argument of the task."""
    cause: BaseException
    """What it raised."""


def as_it_is(task: _Task, cause: BaseException) -> Sequence[_Task]:
    """Parts of a task that has none: done again alone if its worker died, for it may be innocent."""
    return [task] if isinstance(cause, KilledWorker) else []


def run(
    client: Client,
    function: Callable[[_Task], _Result],
    tasks: Iterable[_Task],
    apart: Callable[[_Task, BaseException], Sequence[_Task]] = as_it_is,
) -> Iterator[tuple[_Task, _Result | TaskFailure]]:
    """Do the tasks, handing back each as it ends.

    SIGINT and SIGTERM let what is under way end; a second one leaves at once.

    Args:
        client: where to.
        function: pure or idempotent: a task may run twice when its worker is lost.
        tasks: arguments, one a task; drawn as workers become free.
        apart: what to do alone, later, in the place of a task that failed of this cause; nothing if the
            failure stands.

    Yields:
        The task, or a part of one, with its result or with the error that ended it; in the order they end.

    Raises:
        SchedulerLostError: the scheduler is gone.
        KeyboardInterrupt: somebody asked to stop, and what was under way has ended.
    """
    work: _Work[_Task, _Result] = _Work(client, function)
    waiting = iter(tasks)
    suspects: deque[_Task] = deque()
    with _asked_to_stop(work.wake) as stop:
        more = True
        while more or work.running or suspects:
            alone = len(suspects) >= SUSPECTS or not more
            if not stop.is_set() and not alone:
                more = work.fill(waiting)
            if stop.is_set() and work.is_over():
                raise KeyboardInterrupt
            if suspects and alone and not work.running and not stop.is_set():
                yield from _alone(work, suspects, stop)
                continue
            if not work.running:
                continue  # nothing was left to give
            ended = work.next_ended()
            if ended is None:
                continue
            task, outcome = ended
            parts = apart(task, outcome.cause) if isinstance(outcome, TaskFailure) else ()
            if not parts:
                yield task, outcome
                continue
            _LOG.warning("%s; what it worked on is done again, part by part", _words(outcome))
            suspects.extend(parts)
        if stop.is_set():
            raise KeyboardInterrupt


def _alone(
    work: "_Work[_Task, _Result]", suspects: "deque[_Task]", stop: threading.Event
) -> Iterator[tuple[_Task, _Result | TaskFailure]]:
    """Do the suspects one at a time; the cluster does nothing else meanwhile."""
    while suspects and not stop.is_set():
        work.submit(suspects.popleft())
        ended = None
        while ended is None and not (stop.is_set() and work.is_over()):
            ended = work.next_ended()
        if ended is not None:
            yield ended


def _words(outcome: object) -> str:
    cause = outcome.cause if isinstance(outcome, TaskFailure) else outcome
    return "a worker process died" if isinstance(cause, KilledWorker) else f"a task failed ({cause})"


@dataclass(frozen=True, slots=True)
class _Packed(Generic[_Task, _Result]):
    """A function of a task that comes as bytes."""

    function: Callable[[_Task], _Result]

    def __call__(self, packed: bytes) -> _Result:
        return self.function(pickle.loads(packed))  # noqa: S301 - by this build, over Dask, which pickles too


@dataclass(slots=True)
class _Work(Generic[_Task, _Result]):
    """What a cluster has been given to do."""

    client: Client
    function: Callable[[_Task], _Result]
    running: "dict[Future[_Result], _Task]" = field(default_factory=dict)
    _ended: "queue.SimpleQueue[Future[_Result] | None]" = field(default_factory=queue.SimpleQueue)
    """Futures that ended; None to look up from waiting for one."""
    _room: int = 0
    """Tasks that may be under way; 0 until the workers are counted."""
    _looked: float = 0.0
    _worked: float = field(default_factory=time.monotonic)
    """When a worker was last seen, or missed aloud."""
    _until: float | None = None
    """When patience ends, once somebody asked to stop."""

    def submit(self, task: _Task) -> None:
        """Give one task to the cluster."""
        # Dask's scheduler reads the arguments of every task; one that is bytes costs it half as much.
        future = self.client.submit(_Packed(Guarded(self.function)), pickle.dumps(task), pure=False)
        self.running[future] = task
        future.add_done_callback(self._ended.put)

    def wake(self) -> None:
        """Let `next_ended` return at once; a handler of signals may call this."""
        self._ended.put(None)

    def fill(self, waiting: Iterator[_Task]) -> bool:
        """Give as many tasks as there is room for; False when none are left."""
        self._look()
        # Without a worker one task is given all the same: a cluster that adapts starts workers for it.
        while len(self.running) < max(1, self._room):
            try:
                task = next(waiting)
            except StopIteration:
                return False
            self.submit(task)
        return True

    def next_ended(self) -> tuple[_Task, _Result | TaskFailure] | None:
        """The next task that ended, or None if none did for a while.

        Raises:
            SchedulerLostError: the scheduler is gone.
        """
        try:
            future = self._ended.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            self._raise_if_lost()
            self._look()
            return None
        if future is None:
            return None
        task = self.running.pop(future)
        if future.cancelled():
            self._lost()
        error = future.exception()
        outcome: _Result | TaskFailure = future.result() if error is None else TaskFailure(task, error)
        future.release()
        return task, outcome

    def is_over(self) -> bool:
        """Whether a build that is told to stop may do so."""
        if self._until is None:
            self._until = time.monotonic() + PATIENCE_SECONDS
            _LOG.warning(
                "stopping: finishing %d tasks under way; Ctrl-C again leaves them", len(self.running)
            )
        return not self.running or time.monotonic() > self._until

    def _look(self) -> None:
        """Count the workers now and then: they come and go."""
        now = time.monotonic()
        if self._room and now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        threads = sum(_threads(self.client).values())
        self._room = threads * TASKS_PER_THREAD
        if threads:
            self._worked = now
        elif now - self._worked > _WORKERLESS_SECONDS:
            self._worked = now
            _LOG.warning("no worker is connected to the scheduler; waiting for one")

    def _raise_if_lost(self) -> None:
        if self.client.status != "running":
            self._lost()

    def _lost(self) -> None:
        raise SchedulerLostError(
            "the Dask scheduler is gone; what was fetched is kept. Start it and its workers again, or leave "
            "--scheduler out to use this machine, and run the same command again."
        )


def _threads(client: Client) -> dict[str, int]:
    """Threads of each worker; none where the scheduler does not answer just now."""
    try:
        return dict(client.nthreads())
    except (OSError, TimeoutError):
        return {}


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, which batch systems send, ends the block as Ctrl-C does; `run` lets work end at both."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _asked_to_stop(wake: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that SIGINT (Ctrl-C) and SIGTERM (batch systems) set; the second SIGINT interrupts as ever."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread hears signals
        return

    def note(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        wake()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
