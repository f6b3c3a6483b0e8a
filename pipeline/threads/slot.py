"""The only place where two threads meet: a small bounded buffer between a stage and the next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Overflow(Enum):
    """What `Slot.put` does when the slot is full."""

    WAIT = "wait"
    """The producer waits: nothing is lost (recorded sources)."""
    DROP_OLDEST = "drop_oldest"
    """The oldest item makes room: the newest wins (live sources)."""


class SlotClosed(Exception):
    """The slot is closed: no more items go in, and on `get`, none is left inside."""


class Slot(Generic[T]):
    """A bounded first-in first-out buffer that can be closed from either side.

    Args:
        capacity: how many items it holds at most, 1 or more.
        overflow: what happens to a `put` when it is full.
        on_drop: called, outside the lock, with each item that was lost (pushed out, or left inside by
            `close(discard=True)`).

    After `close()` every blocked or later `put` raises SlotClosed at once. `get` first hands out what is inside, then
    raises SlotClosed; after `close(discard=True)` it raises at once.
    """

    def __init__(self, capacity: int, overflow: Overflow, on_drop: Callable[[T], None] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a slot needs a capacity of at least 1, got {capacity}")
        self._capacity = capacity
        self._overflow = overflow
        self._on_drop = on_drop
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    @property
    def closed(self) -> bool:
        """True once `close` was called, whatever is still inside."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item; when full, wait for room or push out the oldest, as `overflow` says. Raises SlotClosed."""
        dropped: list[T] = []
        with self._changed:
            if self._overflow is Overflow.WAIT:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                raise SlotClosed
            while len(self._items) >= self._capacity:
                dropped.append(self._items.popleft())
            self._items.append(item)
            self._changed.notify_all()
        self._report(dropped)

    def get(self, timeout_s: float | None = None) -> T:
        """The oldest item. Waits until there is one; raises TimeoutError after `timeout_s`, SlotClosed at the end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError
            if not self._items:
                raise SlotClosed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def get_all(self) -> list[T]:
        """Everything inside, oldest first, without waiting; raises SlotClosed when closed and empty."""
        with self._changed:
            if self._closed and not self._items:
                raise SlotClosed
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def close(self, *, discard: bool = False) -> None:
        """Let no more items in and wake everybody; with `discard`, also drop what is inside. May be called again."""
        with self._changed:
            self._closed = True
            dropped = list(self._items) if discard else []
            if discard:
                self._items.clear()
            self._changed.notify_all()
        self._report(dropped)

    def _report(self, dropped: list[T]) -> None:
        if self._on_drop is not None:
            for item in dropped:
                self._on_drop(item)
