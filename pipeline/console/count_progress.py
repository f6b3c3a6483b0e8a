"""Progress of a command that processes a known number of items: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO

from rich.progress import BarColumn, MofNCompleteColumn

from pipeline.console.progress_display import ProgressDisplay, duration_text, time_columns

LINE_EVERY_S = 10.0


class CountProgress(ProgressDisplay):
    """Shows how many items are done, with the time left.

    Args:
        what: the items ("images").
        total: their number.
        output: the stream to write to; by default standard error.
        clock: seconds, monotonic.
    """

    def __init__(
        self, what: str, total: int, output: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(output)
        self._what = what
        self._total = total
        self._clock = clock
        self._started_s = clock()
        self._next_line_s = self._started_s + LINE_EVERY_S
        self._add_bar(what, total, (BarColumn(), MofNCompleteColumn(), *time_columns()))

    def set(self, done: int) -> None:
        """Show that `done` items, one or more, are done."""
        self._move_bar(done)
        if self.has_bar:
            return
        now_s = self._clock()
        if now_s < self._next_line_s or done >= self._total:
            return
        self._next_line_s = now_s + LINE_EVERY_S
        left = duration_text((now_s - self._started_s) / done * (self._total - done))
        self.note(f"{self._what}: {done} of {self._total} ({100 * done / self._total:.0f} %), {left} left")
