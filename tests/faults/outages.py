"""A bucket that is out for a while in the middle of a build into it: it answers 503, or nobody is there at all."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gl10m.storage import client
from gl10m.storage.place import BucketPath, place_of
from tests.faults.account import Course, followed
from tests.faults.ledger import Row
from tests.storage.data_sets import differing, place
from tests.storage.object_server import CREDENTIALS, Proxy, make_bucket, object_server
from tests.torture.arena import Arena, Ended

STARTS = {
    "the lease": "/gl10m.json",
    "the stages": "/.gl10m/stages/",
    "the images": "/.gl10m/fragments/",
    "the shards": "/data/",
    "the manifests": "/manifests/",
}
"""What a build is putting when the bucket goes: part of the object's path."""

SHORT = 6.0
"""Seconds of an outage that a build waits out."""

LONG, PUT_LATE = 45.0, ("the images",)
"""And of one that is longer than its patience; what is put when that begins."""

_numbers = itertools.count()


@dataclass(slots=True)
class Outage:
    """A store that goes at the first put of something, and is back after a while."""

    store: Proxy
    part: str
    seconds: float
    absent: bool
    """Nobody listens; else every request is answered with 503."""
    refused: int = 0
    """Requests that met it; of connections that nobody took, only the first."""
    _until: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, method: str, path: str) -> int | None:
        with self._lock:
            if self._until is None:
                if method not in {"PUT", "POST"} or self.part not in path:
                    return None
                self._until = time.monotonic() + self.seconds
                if self.absent:
                    threading.Thread(target=self.store.leave_for, args=(self.seconds,)).start()
            if time.monotonic() > self._until:
                return None
            self.refused += 1
            return 503

    def over(self) -> None:
        """Wait until the store is back."""
        while self._until is not None and (left := self._until - time.monotonic()) > 0:
            time.sleep(left)
        while self.store.away:
            time.sleep(0.05)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process, from which the client takes credentials and endpoint."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    client.forget()
    try:
        yield
    finally:
        client.forget()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def bucket_server() -> Iterator[Proxy]:
    """An S3 server, and the environment of this process that leads to it."""
    with object_server() as store, _environment({**CREDENTIALS, "AWS_ENDPOINT_URL": store.address}):
        yield store


def outages(
    arena: Arena, store: Proxy, seconds: float, parts: Sequence[str], absences: Sequence[bool] = (False, True)
) -> Iterator[Row]:
    """A row for each part and kind of an outage of one length; the kind is whether nobody listens."""
    undisturbed = _build(arena, _bucket(store)).seconds
    for absent, part in itertools.product(absences, parts):
        yield _out(arena, store, part, seconds, absent=absent, undisturbed=undisturbed)


def _out(arena: Arena, store: Proxy, part: str, seconds: float, *, absent: bool, undisturbed: float) -> Row:
    root = _bucket(store)
    kind = "takes no connection" if absent else "answers 503"
    outage = Outage(store, STARTS[part], seconds, absent)
    before = len(store.requests)

    def again() -> Ended:
        outage.over()
        return _build(arena, root)

    def wrong() -> str | None:
        names = differing(root, arena.undisturbed)
        return f"differs from an undisturbed build: {', '.join(names)}" if names else None

    store.fault = outage
    course = Course(
        fault=f"bucket {kind} for {seconds:.0f} s at {part}",
        root=lambda: place(root),
        again=again,
        differing=wrong,
        undisturbed=arena.undisturbed,
        seconds=undisturbed,
        requests=lambda: len(store.requests) - before + outage.refused,
        injected=lambda: outage.refused,
    )
    first = _build(arena, root)
    outage.over()
    row = followed(course, first)
    store.fault = None
    return row


def _bucket(store: Proxy) -> BucketPath:
    """A root in a bucket of its own."""
    name = f"outage-{next(_numbers)}"
    make_bucket(store, name)
    root = place_of(f"s3://{name}/data-set")
    assert isinstance(root, BucketPath)
    return root


def _build(arena: Arena, root: BucketPath) -> Ended:
    return arena.run(arena.place(), "--root", str(root), "--workers", "1")
