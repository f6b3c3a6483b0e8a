"""How far a command is: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


class CountProgress:
    """Progress of something that is counted.

    Args:
        what: what is counted ("images").
        total: how many there are.
        output: where it is shown; standard error, so that results on standard output stay clean.
        clock: seconds, monotonic.
    """

    def __init__(
        self, what: str, total: int, output: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._output = output if output is not None else sys.stderr
        self._clock = clock
        self._started_s = clock()
        self._next_line_s = self._started_s + LINE_EVERY_S
        self._bar: Progress | None = None
        if self._output.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            console = Console(file=self._output)
            self._bar = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console)
            self._task = self._bar.add_task(what, total=total)

    def set(self, done: int) -> None:
        """So many are done now, one or more."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
            return
        now_s = self._clock()
        if now_s < self._next_line_s or done >= self._total:
            return
        self._next_line_s = now_s + LINE_EVERY_S
        left_s = (now_s - self._started_s) / done * (self._total - done)
        text = f"{self._what}: {done} of {self._total} ({100 * done / self._total:.0f} %), {_duration(left_s)} left"
        print(text, file=self._output, flush=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
