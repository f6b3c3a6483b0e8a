"""Progress during a run, and the summary at its end."""

from __future__ import annotations

from typing import IO

from rich.progress import BarColumn, TextColumn

from pipeline.console.progress import ProgressDisplay, duration_text, time_columns
from pipeline.drawing.places import line_text
from pipeline.ledger import RunLedger, RunSummary
from pipeline.records import Clock, SegmentedFrame, SourceInfo
from pipeline.scene import Scene, ZoneState
from pipeline.settings.output_settings import ProgressMode


class ProgressReport(ProgressDisplay):
    """Shows the progress of a run: a bar on a terminal, a plain line every few seconds elsewhere.

    Args:
        info: the source; without a frame count, frames are only counted.
        ledger, clock: provide the frame rate.
        mode: bar, lines, off, or depending on the output stream.
        limit_frames: `--max-frames`, if given.
        output: the stream to write to; by default standard error.
    """

    def __init__(
        self,
        info: SourceInfo,
        ledger: RunLedger,
        clock: Clock,
        mode: ProgressMode,
        limit_frames: int | None = None,
        output: IO[str] | None = None,
    ) -> None:
        super().__init__(output, None if mode is ProgressMode.AUTO else mode is ProgressMode.BAR, clock)
        self._info = info
        self._ledger = ledger
        self._is_off = mode is ProgressMode.OFF
        counts = [count for count in (info.frame_count, limit_frames) if count is not None]
        self._total = min(counts) if counts else None
        counted = TextColumn(f"{{task.completed:.0f}}/{self._total or '?'} frames")
        columns = (BarColumn(), counted, TextColumn("{task.fields[rate]}"), *time_columns())
        self._add_bar(info.source_id, self._total, columns, fields={"rate": ""})

    def update(self, segmented: SegmentedFrame) -> None:
        """Show that a frame was presented."""
        done = segmented.frame.index + 1
        if self._is_off or not (self.has_bar or self._is_line_due()):
            return
        rate = self._ledger.recent(self._clock()).display_fps
        self._move_bar(done, {"rate": _fps(rate)})
        if self.has_bar:
            return
        text = f"{self._info.source_id}: frame {done}"
        if self._total:
            text += f" of {self._total} ({100 * done / self._total:.0f} %)"
        text += f", {_fps(rate)}"
        if self._total and rate:
            text += f", {duration_text(max(0, self._total - done) / rate)} left"
        self.note(text)


def summary_text(summary: RunSummary) -> str:
    """The summary of a run: frames by stage, rates, latencies, warnings and output files."""
    stats = summary.stats
    lines = [
        f"{summary.source.source_id}: {summary.end.value} after {duration_text(summary.wall_s)}",
        f"  model      {summary.model}",
        f"  frames     captured {stats.captured}, inferred {stats.inferred}, presented {stats.presented}, "
        f"dropped {stats.dropped_total}",
    ]
    for (stage, cause), count in sorted(stats.dropped.items(), key=lambda item: (item[0][0].value, item[0][1].value)):
        lines.append(f"             {count} before {stage.value} ({cause.value})")
    for name, count in sorted(stats.sink_dropped.items()):
        lines.append(f"             {count} presented but dropped by the {name}, which was too slow")
    lines.append(
        f"  rates      capture {_fps(stats.capture_fps)}, inference {_fps(stats.inference_fps)}, "
        f"display {_fps(stats.display_fps)}"
    )
    scene = summary.scene or Scene()
    seen = ", ".join(f"{count} {name}" for name, count in scene.seen.items())
    lines.extend([f"  seen       {seen} (different objects)"] if seen else [])
    lines.extend(f"  line       {line_text(line)}" for line in scene.lines)
    lines.extend(f"  zone       {_zone_line(zone)}" for zone in scene.zones)
    lines.append(
        f"  latency    p50 {_ms(stats.latency_p50_s)}, p95 {_ms(stats.latency_p95_s)} from capture to display; "
        f"inference p50 {_ms(stats.inference_p50_s)}"
    )
    if summary.reconnects:
        lines.append(f"  reconnects {summary.reconnects}")
    if summary.restarts:
        lines.append(f"  network    restarted {summary.restarts} times")
    lines.extend(f"  warning    {text}" for text in summary.source_warnings)
    lines.extend(f"  output     {path}" for path in summary.outputs)
    return "\n".join(lines)


def _zone_line(zone: ZoneState) -> str:
    text = f"{zone.name}: {zone.entered} entered, {zone.occupancy} inside at the end"
    if zone.dwell_mean_s is not None:
        text += f", stayed {duration_text(zone.dwell_mean_s)} on average"
    if zone.dwell_max_s is not None:
        text += f", {duration_text(zone.dwell_max_s)} at most"
    return text


def _fps(rate: float | None) -> str:
    return "- fps" if rate is None else f"{rate:.1f} fps"


def _ms(duration_s: float | None) -> str:
    return "-" if duration_s is None else f"{1000 * duration_s:.0f} ms"
