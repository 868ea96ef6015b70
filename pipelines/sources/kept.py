"""What a process remembers between images, within a bound; the one used longest ago goes first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Values by key, the sum of their sizes bounded; threads may share it."""

    def __init__(self, most: int, size: Callable[[Value], int] = lambda _: 1) -> None:
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._most, self._size, self._held = most, size, 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """What is kept under a key, if anything."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def keep(self, key: Key, value: Value) -> None:
        """Remember a value; what is larger than the bound is not kept."""
        with self._lock:
            self._drop(key)
            self._values[key] = value
            self._held += self._size(value)
            while self._held > self._most:
                self._drop(next(iter(self._values)))

    def forget(self, key: Key) -> None:
        """Let go of a value."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if key in self._values:
            self._held -= self._size(self._values.pop(key))
