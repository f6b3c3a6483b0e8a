"""Progress of a run with several cameras, and the summaries at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.progress import TextColumn, TimeElapsedColumn

from pipeline.console.progress import ProgressDisplay, duration_text
from pipeline.console.run_report import summary_text
from pipeline.labels import plural
from pipeline.ledger import RunStats
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_summaries import CamerasSummary, CameraSummary
from pipeline.settings.output_settings import ProgressMode

REFRESH_S = 0.25
"""How often the line on a terminal changes."""


class CamerasProgress(ProgressDisplay):
    """Shows how many cameras give frames, and the rates of all.

    That is a line that changes on a terminal; plain lines every few seconds where they are requested.

    Args:
        cameras: the open run; provides mode, rates and states.
        output: the stream to write to; by default standard error.
    """

    def __init__(self, cameras: Cameras, output: IO[str] | None = None) -> None:
        mode = cameras.settings.progress
        super().__init__(output, None if mode is ProgressMode.AUTO else mode is ProgressMode.BAR, cameras.clock)
        self._cameras = cameras
        self._is_off = mode is ProgressMode.OFF or (mode is ProgressMode.AUTO and not self.has_bar)
        self.has_bar = self.has_bar and not self._is_off
        self._next_s = cameras.clock()
        columns = (TextColumn("{task.fields[now]}", markup=False), TimeElapsedColumn())
        self._add_bar("cameras", None, columns, fields={"now": ""})

    def update(self) -> None:
        """Show how things are now, if that is due."""
        now_s = self._clock()
        if self._is_off or not ((self.has_bar and now_s >= self._next_s) or self._is_line_due()):
            return
        self._next_s = now_s + REFRESH_S
        text = self._text(now_s)
        if self.has_bar:
            self._move_bar(0, {"now": text})
        else:
            self.note(f"cameras: {text}")

    def _text(self, now_s: float) -> str:
        entries = list(self._cameras.entries.values())
        recent = [entry.ledger.recent(now_s) for entry in entries]
        shown = sum(stats.display_fps or 0.0 for stats in recent)
        inferred = sum(stats.inference_fps or 0.0 for stats in recent)
        silent = [f"{entry.name} {state}" for entry in entries if (state := entry.state)]
        trouble = f"; {', '.join(silent)}" if silent else ""
        coming = len(entries) - len(silent)
        return f"{coming} of {len(entries)} running, {shown:.1f} fps shown, {inferred:.1f} results a second{trouble}"


def run_with_progress(cameras: Cameras) -> None:
    """Run open cameras to their end, with a line on standard error as `progress` says."""
    with CamerasProgress(cameras) as progress:
        cameras.run(progress.update)


def cameras_text(summary: CamerasSummary) -> str:
    """The summary of each camera, then one for all."""
    parts = [text for camera in summary.cameras for text in _camera_texts(camera)]
    runs = [run for camera in summary.cameras for run in camera.runs]
    captured, inferred, presented, dropped = (
        (sum(numbers) for numbers in zip(*(_counts(run.stats) for run in runs), strict=True)) if runs else (0, 0, 0, 0)
    )
    rate = inferred / summary.wall_s if summary.wall_s > 0 else 0.0
    failed = [camera.name for camera in summary.cameras if camera.error is not None]
    lines = [
        f"{plural(len(summary.cameras), 'camera')}: {'stopped' if summary.stopped else 'finished'} after "
        f"{duration_text(summary.wall_s)}",
        f"  model      {summary.model}",
        f"  frames     captured {captured}, inferred {inferred}, presented {presented}, dropped {dropped}",
        f"  rates      {rate:.1f} results a second",
        *([f"  network    restarted {plural(summary.restarts, 'time')}"] if summary.restarts else []),
        *([f"  failed     {', '.join(failed)}"] if failed else []),
    ]
    return "\n".join([*parts, "\n".join(lines)])


def _counts(stats: RunStats) -> Sequence[int]:
    return stats.captured, stats.inferred, stats.presented, stats.dropped_total


def _camera_texts(camera: CameraSummary) -> list[str]:
    texts = [summary_text(run, camera.name) for run in camera.runs]
    if camera.error is not None:
        return [*texts, f"{camera.name}: failed: {camera.error}"]
    return texts or [f"{camera.name}: was not started"]
