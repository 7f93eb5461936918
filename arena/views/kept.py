"""What takes long to compute, computed once and kept, whether a page asked for it first or the house did before anybody came.

    BOARDS: Kept[Board] = Kept(64)
    board = BOARDS.get((votes, method), lambda: rate(ballots, method))

Streamlit's cache copies a value at every look and wants a page around it; these are shared, so that nobody may change them.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Entry(Generic[T]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: list[T] = []


class Kept(Generic[T]):
    """The values of the `most` keys that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._entries: dict[Hashable, _Entry[T]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made where it is not there yet; who asks meanwhile waits for it. What `make` raises is not kept."""
        with self._lock:
            entry = self._entries.pop(key, None) or _Entry()
            self._entries[key] = entry
            while len(self._entries) > self._most:
                del self._entries[next(iter(self._entries))]
        with entry.lock:
            if not entry.values:
                entry.values.append(make())
            return entry.values[0]

    def has(self, key: Hashable) -> bool:
        """Whether its value is there, so that nobody has to wait."""
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and bool(entry.values)
