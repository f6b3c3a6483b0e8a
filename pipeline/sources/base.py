"""The interface of a source of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from types import TracebackType
from typing import Self

from pipeline.records import Frame, SourceInfo
from pipeline.sources.warnings import SourceWarnings


class Source(ABC):
    """Produces frames one at a time.

    Lifecycle: `open()` once, `read()` until it returns None, `close()`. `read` and `close` are called from one thread,
    the capture thread; everything else may be used from any thread.

    Constructors validate and store their arguments; `open()` acquires the device or file.
    """

    @abstractmethod
    def open(self) -> SourceInfo:
        """Acquire the device or file. Raises InputError, with a one-line message, if that fails."""

    @abstractmethod
    def read(self) -> Frame | None:
        """Wait for the next frame. Returns None at the end or after `interrupt()`. Raises RunError on failure."""

    @abstractmethod
    def close(self) -> None:
        """Release everything. May be called twice, and without `open`."""

    @abstractmethod
    def interrupt(self) -> None:
        """Make a pending or later `read()` return None well within a second. May be called repeatedly."""

    @property
    def state_text(self) -> str:
        """One line for the screen while no frames arrive ("camera 0 is disconnected, retrying …"), otherwise ""."""
        return ""

    @property
    def reopened_as(self) -> SourceInfo | None:
        """What the source is since it was last reopened; None while it is as `open` returned it."""
        return None

    @property
    def reconnects(self) -> int:
        """How often the source was lost and reconnected."""
        return 0

    @cached_property
    def warnings(self) -> SourceWarnings:
        """Problems with the data that did not end the run: corrupt packets, unreadable images, bad timestamps."""
        return SourceWarnings()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
