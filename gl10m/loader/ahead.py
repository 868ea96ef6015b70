"""Work done ahead of its user by threads: in order, bounded, and over when the user is.

Reading waits and decoding computes, both outside of Python's lock; so they have threads of their own, and a
decoder seldom waits for its bytes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

from gl10m.store.byte_source import BucketObjects, ByteSource

FOLDER_DEPTH: Final = 1
"""Items under way besides those that are decoded, out of a folder: bytes come in a fiftieth of the time that
decoding them takes, and what is read long before it is decoded has left the processor's cache."""

Asked = TypeVar("Asked")
Fetched = TypeVar("Fetched")
Made = TypeVar("Made")


def depth_for(source: ByteSource, threads: int, of_bucket: int) -> int:
    """How many items to have under way besides those that are decoded.

    Args:
        source: where their bytes come from.
        threads: how many decode; if none, the next item of a folder is read while the last one is used.
        of_bucket: how many where that is a bucket, whose answers are waited for.
    """
    return of_bucket if isinstance(source, BucketObjects) else min(FOLDER_DEPTH, threads)


def ahead(
    items: Iterable[Asked],
    fetch: Callable[[Asked], Fetched],
    make: Callable[[Fetched], Made],
    *,
    threads: int,
    depth: int,
) -> Iterator[Made]:
    """Fetch and make things while the ones before are used.

    Args:
        items: what to fetch; taken one by one, in the thread of the user.
        fetch: reads; called in threads.
        make: computes; called in threads.
        threads: how many things are made at a time, at least 1.
        depth: how many more are under way, fetched or made.

    Yields:
        What was made, in the order of the items. At most threads + depth of them are in memory besides the
        one in use.

    Raises:
        Exception: what `fetch` or `make` raised, where its result would have come.
    """
    waiting: deque[Future[Made]] = deque()
    source = iter(items)
    with (
        _Threads(threads + depth, "gl10m-fetch") as fetching,
        _Threads(threads, "gl10m-decode") as making,
    ):

        def start(item: Asked) -> None:
            fetched = fetching.submit(fetch, item)
            waiting.append(making.submit(lambda: make(fetched.result())))

        for item in islice(source, threads + depth):
            start(item)
        while waiting:
            made = waiting.popleft().result()
            for item in islice(source, 1):
                start(item)
            yield made
            del made


def one_by_one(
    items: Iterable[Asked], fetch: Callable[[Asked], Fetched], make: Callable[[Fetched], Made], *, depth: int
) -> Iterator[Made]:
    """Make things one by one in the thread of the user, and fetch some ahead; otherwise as `ahead`.

    Only what was fetched waits in memory, so that pixels are decoded where the last ones were. For processes
    that are many already, as a DataLoader's workers.
    """
    waiting: deque[Future[Fetched]] = deque()
    source = iter(items)
    with _Threads(depth + 1, "gl10m-fetch") as fetching:
        waiting.extend(fetching.submit(fetch, item) for item in islice(source, depth + 1))
        while waiting:
            made = make(waiting.popleft().result())
            waiting.extend(fetching.submit(fetch, item) for item in islice(source, 1))
            yield made
            del made


class _Threads(ThreadPoolExecutor):
    """Threads that leave what was not begun when their user goes."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
