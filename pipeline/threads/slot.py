"""A small bounded buffer between two stages: where their threads meet."""

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
        on_loss: called, outside the lock, once for each item that was lost (pushed out, or left inside by
            `close(discard=True)`); None where losing an item loses no frame.

    After `close()` every blocked or later `put` raises SlotClosed at once. `get` first hands out what is inside, then
    raises SlotClosed; after `close(discard=True)` it raises at once.
    """

    def __init__(self, capacity: int, overflow: Overflow, on_loss: Callable[[], None] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a slot needs a capacity of at least 1, got {capacity}")
        self._capacity = capacity
        self._overflow = overflow
        self._on_loss = on_loss
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    @property
    def closed(self) -> bool:
        """True once `close` was called, whatever is still inside."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, timeout_s: float | None = None) -> None:
        """Add an item; when full, wait for room or push out the oldest, as `overflow` says.

        Raises:
            SlotClosed: the slot is closed.
            TimeoutError: there was no room within `timeout_s`; the item was not added.
        """
        lost = 0
        with self._changed:
            if self._overflow is Overflow.WAIT:
                has_room = self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity, timeout_s)
                if not has_room:
                    raise TimeoutError
            if self._closed:
                raise SlotClosed
            while len(self._items) >= self._capacity:
                self._items.popleft()
                lost += 1
            self._items.append(item)
            self._changed.notify_all()
        self._count(lost)

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
            lost = len(self._items) if discard else 0
            if discard:
                self._items.clear()
            self._changed.notify_all()
        self._count(lost)

    def _count(self, lost: int) -> None:
        if self._on_loss is not None:
            for _ in range(lost):
                self._on_loss()
