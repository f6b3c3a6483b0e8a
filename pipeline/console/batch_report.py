"""Progress of a batch: one bar over all frames with a line for each worker, plain lines elsewhere; its summary."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import IO, Any

from rich.progress import BarColumn, TextColumn

from pipeline.batch.batch_monitor import BatchMonitor
from pipeline.batch.batch_state import BatchState, WorkerView
from pipeline.batch.inputs import Found, ignored_text
from pipeline.console.progress import ProgressDisplay, duration_text
from pipeline.errors import OutputClosedError, RunError, is_broken_pipe
from pipeline.labels import plural
from pipeline.records import Clock
from pipeline.settings.output_settings import ProgressMode

MOST_WORKERS_SHOWN = 8
EVENT_EVERY_S = 5.0
"""How often a line of events says how far the batch is."""


class BatchProgress(ProgressDisplay):
    """Shows how far a batch is: a bar over all frames and a line for each worker, or plain lines.

    Args:
        mode: bar, lines, off, or depending on the output stream.
        events: a text file that gets a line of JSON for everything that happens; None for none.
        output: the stream to write to; by default standard error.
        clock: seconds, monotonic.

    Attributes:
        monitor: what this shows, for other viewers.
    """

    def __init__(
        self,
        mode: ProgressMode,
        events: IO[str] | None = None,
        output: IO[str] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(output, None if mode is ProgressMode.AUTO else mode is ProgressMode.BAR, clock)
        self._is_off = mode is ProgressMode.OFF
        self.has_bar = self.has_bar and not self._is_off
        self._events = events
        self._next_event_s = clock()
        self.monitor = BatchMonitor(clock)
        texts = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("numbers", "rate")]
        self._add_bar("batch", None, (BarColumn(bar_width=24), *texts), fields={"numbers": "", "rate": ""})
        self._rows = 0

    def event(self, what: str, **fields: Any) -> None:
        """Something happened: a line of the events, and one for people where it is bad news."""
        self._write_event(what, fields)
        self.monitor.event(what, **fields)
        if self._is_off:
            return
        name, reason = fields.get("name"), fields.get("reason")
        if what == "failed":
            self.note(f"failed: {name}: {reason}")
        elif what == "again":
            self.note(f"{name}: {reason}; trying again in {duration_text(fields['delay_s'])}")
        elif what == "worker_ended" and reason:
            self.note(f"worker {fields['worker'] + 1} ended ({reason}); starting another")

    def update(self, state: BatchState) -> None:
        """Show how far the batch is."""
        self.monitor.update(state)
        now_s = self._clock()
        if now_s >= self._next_event_s:
            self._next_event_s = now_s + EVENT_EVERY_S
            self._write_event("progress", _numbers(state))
        if self.has_bar:
            self._show(state)
        elif not self._is_off and self._is_line_due():
            self.note(self._line(state))

    def _show(self, state: BatchState) -> None:
        numbers = f"{state.done}/{plural(state.inputs, 'recording')}"
        numbers += f", {state.failed} failed" if state.failed else ""
        numbers += f", {plural(state.frames, 'frame')}"
        self._bar.update(self._task, total=state.frames_to_do)
        self._move_bar(state.frames, {"numbers": numbers, "rate": self._pace()})
        shown = state.workers[:MOST_WORKERS_SHOWN] if len(state.workers) > 1 else ()
        while self._rows < len(shown):
            self._bar.add_task("", total=None, numbers="", rate="")
            self._rows += 1
        for task, view in zip(self._bar.task_ids[1:], shown, strict=False):
            text = f"{view.frames}/{view.total}" if view.total else str(view.frames or "")
            self._bar.update(
                task, description=_doing(view), completed=view.frames, total=view.total, numbers=text, rate=""
            )

    def _line(self, state: BatchState) -> str:
        text = f"{state.done} of {plural(state.inputs, 'recording')} done"
        text += f", {state.failed} failed" if state.failed else ""
        text += f", {state.frames} frames"
        total = state.frames_to_do
        if total:
            text += f" of about {total} ({100 * state.frames / total:.0f} %)"
        busy = sum(1 for view in state.workers if view.name)
        return f"{text}, {busy} of {plural(len(state.workers), 'worker')} busy, {self._pace()}"

    def _pace(self) -> str:
        """The rate over the last half minute, and the time left at it."""
        fps, left_s = self.monitor.fps, self.monitor.left_s
        if fps is None:
            return "- fps"
        return f"{fps:.1f} fps" + ("" if left_s is None else f", {duration_text(left_s)} left")

    def _write_event(self, what: str, fields: Mapping[str, Any]) -> None:
        """Raises RunError."""
        if self._events is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._events.write(json.dumps({"time": now, "event": what, **fields}) + "\n")
            self._events.flush()
        except OSError as error:
            if self._events is sys.stdout and is_broken_pipe(error):
                raise OutputClosedError("nobody reads the events any more") from error
            raise RunError(f"writing the events failed: {error.strerror or error}") from error


def _numbers(state: BatchState) -> dict[str, Any]:
    keys = ("inputs", "done", "failed", "skipped", "frames", "frames_to_do")
    workers = [{"worker": one.worker, "name": one.name, "frames": one.frames} for one in state.workers if one.name]
    return {key: getattr(state, key) for key in keys} | {"workers": workers}


def _doing(view: WorkerView) -> str:
    name = view.name if len(view.name) <= 32 else f"…{view.name[-31:]}"
    return f"  {view.worker + 1}: {name or 'waiting'}"


def plan_text(found: Found, state: BatchState, to_do: int, to_do_bytes: int) -> str:
    """What a batch is going to do, in a line or two."""
    parts = [
        f"{plural(state.inputs, 'recording')}: {to_do} to do ({to_do_bytes / 1e6:.1f} MB), {state.done} done before"
    ]
    parts += [f"{state.failed} set aside before (--retry-failed tries them again)"] if state.failed else []
    left = state.skipped - to_do
    parts += [f"{left} left out by --limit"] if left else []
    text = ", ".join(parts)
    ignored = ignored_text(found.ignored)
    return f"{text}\nignored: {ignored}" if ignored else text


def end_text(state: BatchState, wall_s: float, reasons: Callable[[], Mapping[str, str]], summary: str) -> str:
    """What a batch did: every input is done, skipped or failed."""
    rate = f", {state.frames / wall_s:.1f} fps" if wall_s > 0 else ""
    inputs = plural(state.inputs, "recording")
    lines = [
        f"batch: {inputs}: {state.done} done, {state.skipped} skipped, {state.failed} failed",
        f"  this run   {plural(state.frames, 'frame')} in {duration_text(wall_s)}{rate}",
    ]
    failures = reasons() if state.failed else {}
    lines += [f"  failed     {name}: {reason}" for name, reason in list(failures.items())[:10]]
    lines += [f"  failed     … and {len(failures) - 10} more: see the summary"] if len(failures) > 10 else []
    return "\n".join([*lines, f"  summary    {summary}"])
