"""What every source offers. A source knows nothing of threads' owners, models or sinks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Self

from pipeline.records import Frame, SourceInfo

Clock = Callable[[], float]
"""Seconds on a monotonic clock."""


class SourceState(Enum):
    """Whether a source gives frames at the moment."""

    CLOSED = "closed"
    RUNNING = "running"
    RECONNECTING = "reconnecting"


class Source(ABC):
    """Gives frames one by one.

    Life: `open()` once, `read()` until it returns None, `close()`. `read` and `close` are called from one thread (the
    capture thread); `interrupt`, `state` and `state_text` may be used from any thread.

    Constructors only validate and store; `open()` acquires.
    """

    @abstractmethod
    def open(self) -> SourceInfo:
        """Acquire the device or file. Raises InputError with one clear line when it cannot be had."""

    @abstractmethod
    def read(self) -> Frame | None:
        """The next frame; waits for it. None at the end or after `interrupt()`. Raises RunError when it fails."""

    @abstractmethod
    def close(self) -> None:
        """Release everything. May be called twice, and without `open`."""

    @abstractmethod
    def interrupt(self) -> None:
        """Make a waiting or later `read()` return None soon (well within a second). Any thread, more than once."""

    @property
    def state(self) -> SourceState:
        """Running, reconnecting or closed."""
        return SourceState.RUNNING

    @property
    def state_text(self) -> str:
        """One line for the screen while the source gives no frames ("camera 0 is gone, trying again"); "" otherwise."""
        return ""

    @property
    def reopened_as(self) -> SourceInfo | None:
        """What the source is since it was last reopened; None while it is as `open` returned it."""
        return None

    @property
    def reconnects(self) -> int:
        """How often the source was lost and came back."""
        return 0

    @property
    def warnings(self) -> int:
        """How many pieces of the source could not be used and were skipped (damaged packets, unreadable images)."""
        return 0

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
