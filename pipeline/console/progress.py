"""Progress displays: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_EVERY_S = 10.0
"""How often a plain line is due."""
SHORT_NAMES = {
    "loss": "loss",
    "rpn_class_loss": "rpn",
    "rpn_bbox_loss": "rpn box",
    "mrcnn_class_loss": "class",
    "mrcnn_bbox_loss": "box",
    "mrcnn_mask_loss": "mask",
}


class ProgressDisplay:
    """Shows one progress bar, or plain lines; a context manager.

    Args:
        output: the stream to write to; None for standard error, so that standard output contains only results.
        has_bar: whether to show a bar; None shows one if the output is a terminal with a movable cursor. A pipe is not,
            even with FORCE_COLOR set.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        output: IO[str] | None = None,
        has_bar: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = Console(file=output if output is not None else sys.stderr)
        can_show_bar = self._console.file.isatty() and not self._console.is_dumb_terminal
        self.has_bar = can_show_bar if has_bar is None else has_bar
        self._clock = clock
        self._next_line_s = clock() + LINE_EVERY_S

    def _add_bar(
        self,
        what: str,
        total: int | None,
        columns: Sequence[ProgressColumn],
        done: int = 0,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Define the bar, which appears on `__enter__` if one is wanted.

        Args:
            what: description in front of the bar.
            total: the number of steps; None if unknown.
            columns: the columns after the description.
            done: steps already done.
            fields: values of the columns' fields.
        """
        description = TextColumn("{task.description}", markup=False)
        self._bar = Progress(description, *columns, console=self._console, disable=not self.has_bar)
        self._task = self._bar.add_task(what, total=total, completed=done, **dict(fields or {}))

    def _move_bar(self, done: int, fields: Mapping[str, Any] | None = None) -> None:
        """Update the bar with the same `fields` as in `_add_bar`."""
        self._bar.update(self._task, completed=done, **dict(fields or {}))

    def _is_line_due(self) -> bool:
        """Whether to print a plain line now: there is no bar, and the last line is old enough."""
        now_s = self._clock()
        if self.has_bar or now_s < self._next_line_s:
            return False
        self._next_line_s = now_s + LINE_EVERY_S
        return True

    def note(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()


class CountProgress(ProgressDisplay):
    """Shows how many of a known number of items are done, with the time left.

    Args:
        what: the items ("images").
        total: their number.
        output: the stream to write to; by default standard error.
        clock: seconds, monotonic.
    """

    def __init__(
        self, what: str, total: int, output: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(output, clock=clock)
        self._what = what
        self._total = total
        self._started_s = clock()
        self._add_bar(what, total, (BarColumn(), MofNCompleteColumn(), *time_columns()))

    def set(self, done: int) -> None:
        """Show that `done` items, one or more, are done."""
        self._move_bar(done)
        if done < self._total and self._is_line_due():
            left = duration_text((self._clock() - self._started_s) / done * (self._total - done))
            self.note(f"{self._what}: {done} of {self._total} ({100 * done / self._total:.0f} %), {left} left")


class DownloadProgress(ProgressDisplay):
    """Shows the progress of one file: a bar with rate and time left, or a plain line at every tenth.

    Args:
        name: display name of the file.
        size: its size in bytes.
        output: the stream to write to; by default standard error.
    """

    def __init__(self, name: str, size: int, output: IO[str] | None = None) -> None:
        super().__init__(output)
        self._name = name
        self._size = size
        self._next_percent = 0
        self._add_bar(name, size, (BarColumn(), DownloadColumn(), TransferSpeedColumn(), *time_columns()))

    def set(self, received: int) -> None:
        """Show that `received` bytes have arrived."""
        self._move_bar(received)
        percent = 100 * received // self._size
        if not self.has_bar and percent >= self._next_percent:
            self.note(f"{self._name}: {percent} % ({received / 1e6:.1f} of {self._size / 1e6:.1f} MB)")
            self._next_percent = percent - percent % 10 + 10


class TrainProgress(ProgressDisplay):
    """Shows the progress of a training run; `Trainer.run` calls `report`.

    Args:
        first: steps that are already done.
        total: total number of steps.
        output: the stream to write to; by default standard error.
        clock: seconds, monotonic.
    """

    def __init__(
        self, first: int, total: int, output: IO[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(output, clock=clock)
        self._total = total
        self._times: list[tuple[int, float]] = []
        self._losses = ""
        texts = TextColumn("left {task.fields[left]}"), TextColumn("{task.fields[losses]}")
        columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), *texts)
        self._add_bar("steps", total, columns, first, {"left": "?", "losses": ""})

    def report(self, line: dict[str, Any]) -> None:
        """Show a log entry: a step, with or without losses, or a validation."""
        if "val_loss" in line:
            self.note(validation_text(line))
            self._times.clear()  # validation takes time that is not a step's
            return
        step = int(line["step"])
        if "loss" in line:
            self._losses = losses_text(line)
        # the time left follows from the last steps alone, since the first one includes the compilation
        self._times = [*self._times[-50:], (step, self._clock())]
        self._move_bar(step, {"left": self._left(), "losses": self._losses})
        if "loss" in line and (self._is_line_due() or (step == self._total and not self.has_bar)):
            share = 100 * step / self._total
            self.note(f"step {step} of {self._total} ({share:.0f} %), {self._losses}, {self._left()} left")

    def _left(self) -> str:
        if len(self._times) < 2:
            return "?"
        (first, started_s), (last, ended_s) = self._times[0], self._times[-1]
        return duration_text((ended_s - started_s) / (last - first) * (self._total - last))


def time_columns() -> tuple[ProgressColumn, ...]:
    """Columns with the elapsed and the remaining time."""
    return TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()


def duration_text(seconds: float) -> str:
    """A duration: "12.3 s", from a minute on "1:02 min", from an hour on "1:02:03"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d} min"


def losses_text(line: dict[str, Any]) -> str:
    """The losses of a log entry, abbreviated."""
    return " ".join(f"{short} {line[name]:.3f}" for name, short in SHORT_NAMES.items() if name in line)


def validation_text(line: dict[str, Any]) -> str:
    """The result of a validation, with the AP50 of each class if there are only a few."""
    ap50 = line.get("mask_ap50")
    text = f"step {line['step']}: validation loss {line['val_loss']:.3f}"
    text += ", mask AP50 " + ("unknown (no objects)" if ap50 is None else f"{ap50:.3f}")
    by_class = {name: value for name, value in line.get("ap50_by_class", {}).items() if value is not None}
    if 1 < len(by_class) <= 6:
        text += " (" + ", ".join(f"{name} {value:.3f}" for name, value in by_class.items()) + ")"
    return text
