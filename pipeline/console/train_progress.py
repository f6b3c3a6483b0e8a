"""Progress of a training run: a bar with losses and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from pipeline.console.progress_display import ProgressDisplay, duration_text

SHORT_NAMES = {
    "loss": "loss",
    "rpn_class_loss": "rpn",
    "rpn_bbox_loss": "rpn box",
    "mrcnn_class_loss": "class",
    "mrcnn_bbox_loss": "box",
    "mrcnn_mask_loss": "mask",
}
LINE_EVERY_S = 30.0
TIMED_STEPS = 50
"""The time left is extrapolated from so many recent steps, which excludes the compilation during the first."""


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
        super().__init__(output)
        self._total = total
        self._clock = clock
        self._times: list[tuple[int, float]] = []
        self._losses = ""
        self._next_line_s = clock()
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
        self._times = [*self._times[-TIMED_STEPS:], (step, self._clock())]
        if self.has_bar:
            self._move_bar(step, {"left": self._left(), "losses": self._losses})
        elif "loss" in line and (self._clock() >= self._next_line_s or step == self._total):
            self._next_line_s = self._clock() + LINE_EVERY_S
            share = 100 * step / self._total
            self.note(f"step {step} of {self._total} ({share:.0f} %), {self._losses}, {self._left()} left")

    def _left(self) -> str:
        if len(self._times) < 2:
            return "?"
        (first, started_s), (last, ended_s) = self._times[0], self._times[-1]
        return duration_text((ended_s - started_s) / (last - first) * (self._total - last))


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
