"""What everything shares that shows how far it is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressDisplay:
    """One bar, or none. Use with `with`.

    Args:
        output: where it is shown; None: standard error, so that results on standard output stay clean.
        has_bar: whether there is a bar; None: if the output is a terminal that can show one.
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
        """Lay out the bar, if there is to be one; it is shown from `__enter__` on.

        Args:
            what: what is counted, or whose progress it is.
            total: how much there is; None: nobody knows.
            columns: after the description.
            done: how much there is already.
            fields: texts for the columns.
        """
        if self._wants_bar:
            description = TextColumn("{task.description}", markup=False)
            self._bar = Progress(description, *columns, console=self._console)
            self._task = self._bar.add_task(what, total=total, completed=done, **dict(fields or {}))

    @property
    def has_bar(self) -> bool:
        """Whether there is a bar; else lines are wanted."""
        return self._bar is not None

    def _move_bar(self, done: int, fields: Mapping[str, Any] | None = None) -> None:
        """So much is done now; the same `fields` as before. Nothing happens where there is no bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, **dict(fields or {}))

    def note(self, text: str) -> None:
        """One line of text, above the bar if there is one."""
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
    """The time that has gone by and the time left."""
    return TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()


def can_show_bar(console: Console) -> bool:
    """Whether this is a terminal whose cursor can be moved; FORCE_COLOR makes no pipe into one."""
    return console.file.isatty() and not console.is_dumb_terminal


def duration_text(seconds: float) -> str:
    """1:02:03 or 4:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
