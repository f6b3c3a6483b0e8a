"""The base of all progress displays: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressDisplay:
    """Shows one progress bar, or none; a context manager.

    Args:
        output: the stream to write to; None for standard error, so that standard output contains only results.
        has_bar: whether to show a bar; None shows one if the output is a terminal that supports it.
    """

    def __init__(self, output: IO[str] | None = None, has_bar: bool | None = None) -> None:
        self._console = Console(file=output if output is not None else sys.stderr)
        self._wants_bar = can_show_bar(self._console) if has_bar is None else has_bar
        self._bar: Progress | None = None

    def _add_bar(
        self,
        what: str,
        total: int | None,
        columns: Sequence[ProgressColumn],
        done: int = 0,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Define the bar, if one is wanted; it appears on `__enter__`.

        Args:
            what: description in front of the bar.
            total: the number of steps; None if unknown.
            columns: the columns after the description.
            done: steps already done.
            fields: values of the columns' fields.
        """
        if self._wants_bar:
            description = TextColumn("{task.description}", markup=False)
            self._bar = Progress(description, *columns, console=self._console)
            self._task = self._bar.add_task(what, total=total, completed=done, **dict(fields or {}))

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar, rather than plain lines."""
        return self._bar is not None

    def _move_bar(self, done: int, fields: Mapping[str, Any] | None = None) -> None:
        """Update the bar, if there is one, with the same `fields` as in `_add_bar`."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, **dict(fields or {}))

    def note(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def time_columns() -> tuple[ProgressColumn, ...]:
    """Columns with the elapsed and the remaining time."""
    return TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()


def can_show_bar(console: Console) -> bool:
    """Whether this is a terminal with a movable cursor. A pipe is not, even with FORCE_COLOR set."""
    return console.file.isatty() and not console.is_dumb_terminal


def duration_text(seconds: float) -> str:
    """A duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
