"""Stages and the slots between them: a thread whose failure becomes "closed with this error", and a bounded buffer."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Generic, TypeVar

from pipeline.errors import RunError, StageStuckError, StreamSegmentError

logger = logging.getLogger(__name__)

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

    Attributes:
        closed: True once `close` was called, whatever is still inside.
        on_change: called, outside the lock, after an item went in and after `close`, for a consumer that waits for
            several slots; None without one.

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
        self.closed = False
        self.on_change: Callable[[], None] | None = None
        self._changed = threading.Condition()

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
                has_room = self._changed.wait_for(lambda: self.closed or len(self._items) < self._capacity, timeout_s)
                if not has_room:
                    raise TimeoutError
            if self.closed:
                raise SlotClosed
            while len(self._items) >= self._capacity:
                self._items.popleft()
                lost += 1
            self._items.append(item)
            self._changed.notify_all()
        self._count(lost)
        if self.on_change is not None:
            self.on_change()

    def get(self, timeout_s: float | None = None) -> T:
        """The oldest item. Waits until there is one; raises TimeoutError after `timeout_s`, SlotClosed at the end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self.closed, timeout_s):
                raise TimeoutError
            if not self._items:
                raise SlotClosed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def get_all(self) -> list[T]:
        """Everything inside, oldest first, without waiting; raises SlotClosed when closed and empty."""
        with self._changed:
            if self.closed and not self._items:
                raise SlotClosed
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def close(self, *, discard: bool = False) -> None:
        """Let no more items in and wake everybody; with `discard`, also drop what is inside. May be called again."""
        with self._changed:
            self.closed = True
            lost = len(self._items) if discard else 0
            if discard:
                self._items.clear()
            self._changed.notify_all()
        self._count(lost)
        if self.on_change is not None:
            self.on_change()

    def _count(self, lost: int) -> None:
        if self._on_loss is not None:
            for _ in range(lost):
                self._on_loss()


THREAD_PREFIX = "stream_segment "
"""How the names of all our threads begin."""


def any_stuck() -> bool:
    """Whether a thread of ours, in this process, did not end within its deadline; once every run has ended."""
    return any(thread.name.startswith(THREAD_PREFIX) for thread in threading.enumerate())


class FirstError:
    """Keeps the first error of a run: the ones after it are mostly its consequences.

    Args:
        on_first: called once, in the failing thread, after the first error was stored.

    Attributes:
        error: the first error reported; None while all is well.
    """

    def __init__(self, on_first: Callable[[], None] | None = None) -> None:
        self._lock = threading.Lock()
        self.error: BaseException | None = None
        self._on_first = on_first

    def report(self, stage_name: str, error: BaseException) -> None:
        """Store the error if it is the first; a foreign one is wrapped into a RunError that names the stage."""
        logger.debug("%s failed", stage_name, exc_info=error)
        if not isinstance(error, StreamSegmentError):
            what = " ".join(str(error).split())  # some libraries explain themselves in many lines
            wrapped = RunError(f"{stage_name} failed: {type(error).__name__}: {what}")
            wrapped.__cause__ = error
            error = wrapped
        with self._lock:
            if self.error is not None:
                return
            self.error = error
        if self._on_first is not None:
            self._on_first()

    @contextmanager
    def guard(self, stage_name: str, kinds: type[BaseException] = Exception) -> Iterator[None]:
        """Report what fails inside the block; a slot that closes under it just ends the block.

        Args:
            stage_name: named in the error.
            kinds: what is reported. In a thread of our own that is BaseException: there, SystemExit and
                KeyboardInterrupt would reach nobody. In the caller's thread they propagate.
        """
        try:
            yield
        except SlotClosed:
            pass
        except kinds as error:  # the one place where a stage's failure is turned into a record
            self.report(stage_name, error)

    def raise_if_any(self) -> None:
        """Raise the first error, if there is one."""
        if self.error is not None:
            raise self.error


class Stage:
    """Owns a thread that runs `work` until it returns, a slot closes under it, or it fails.

    However it ends, its outlets are closed (the next stage drains what is inside) and its inlets are closed and emptied
    (the stage before it wakes up and ends).

    Args:
        name: said in errors ("capture", "inference").
        work: the loop; it may let SlotClosed pass.
        errors: where a failure is reported.
        inlets, outlets: the slots that it reads from and writes to.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        errors: FirstError,
        inlets: Sequence[Slot[Any]] = (),
        outlets: Sequence[Slot[Any]] = (),
    ) -> None:
        self.name = name
        self._work = work
        self._errors = errors
        self._inlets = inlets
        self._outlets = outlets
        self._thread = threading.Thread(target=self._main, name=THREAD_PREFIX + name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether its thread runs; from any thread, also from this one."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` for the thread to end; returns whether it has, or was never started."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def join(self, deadline_s: float) -> None:
        """Wait for the thread to end; raises StageStuckError, naming the stage, after `deadline_s` seconds."""
        if not self.wait(deadline_s):
            raise StageStuckError(f"{self.name} did not end within {deadline_s:g} s; the program ends without it")

    def _main(self) -> None:
        with self._errors.guard(self.name, BaseException):
            self._work()
        for slot in self._inlets:
            slot.close(discard=True)
        for slot in self._outlets:
            slot.close()
