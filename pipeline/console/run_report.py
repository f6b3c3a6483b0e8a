"""Progress during a run, and the summary at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

from pipeline.console.progress import ProgressDisplay, duration_text, time_columns
from pipeline.drawing.places import line_text
from pipeline.labels import plural
from pipeline.ledger import RunLedger, RunStats, RunSummary
from pipeline.records import Clock, SegmentedFrame, SourceInfo, SourceKind
from pipeline.runtime.stream import Stream
from pipeline.scene import Scene, ZoneState
from pipeline.settings.output_settings import ProgressMode
from pipeline.sinks.window import Window
from pipeline.sources.uri import is_image_name


class ProgressReport(ProgressDisplay):
    """Shows the progress of a run: a line that changes on a terminal, a plain line every few seconds elsewhere.

    A live source gets no plain lines unless they are requested: they would fill a log.

    Args:
        info: the source; with a frame count, the line has a bar and the time left.
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
        only_on_terminals = mode is ProgressMode.AUTO and info.kind is SourceKind.LIVE
        self._is_off = mode is ProgressMode.OFF or (only_on_terminals and not self.has_bar)
        self.has_bar = self.has_bar and not self._is_off
        counts = [count for count in (info.frame_count, limit_frames) if count is not None]
        self._total = min(counts) if counts else None
        numbers = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("frames", "rate", "now")]
        columns = (BarColumn(), *numbers, *time_columns()) if self._total else (*numbers, TimeElapsedColumn())
        self._add_bar(info.source_id, self._total, columns, fields={"frames": "0 frames", "rate": "", "now": ""})

    def update(self, segmented: SegmentedFrame) -> None:
        """Show that a frame was presented."""
        done = segmented.frame.index + 1
        if self._is_off or not (self.has_bar or self._is_line_due()):
            return
        rate = self._ledger.recent(self._clock()).display_fps
        if self.has_bar:
            frames = f"{done}/{self._total} frames" if self._total else plural(done, "frame")
            now = segmented.scene.now if segmented.scene is not None else {}
            objects = ", ".join(plural(count, name) for name, count in now.items())
            self._move_bar(done, {"frames": frames, "rate": _fps(rate), "now": objects})
            return
        text = f"{self._info.source_id}: frame {done}"
        if self._total:
            text += f" of {self._total} ({100 * done / self._total:.0f} %)"
        text += f", {_fps(rate)}"
        if self._total and rate:
            text += f", {duration_text(max(0, self._total - done) / rate)} left"
        self.note(text)


def with_progress(stream: Stream) -> Iterator[SegmentedFrame]:
    """The frames of an open stream, while a line on standard error shows how far it is; as `progress` says.

    A terminal gets a line that changes, and so does a notebook with ipywidgets. A window shows live sources itself.
    """
    mode, info = stream.settings.progress, stream.info
    has_window = any(isinstance(sink, Window) for sink in stream.sinks)
    if mode is ProgressMode.AUTO and info.kind is SourceKind.LIVE and has_window:
        mode = ProgressMode.OFF
    limit = stream.settings.source.max_frames
    with ProgressReport(info, stream.ledger, stream.clock, mode, limit) as progress:
        for segmented in stream:
            progress.update(segmented)
            yield segmented


def summary_text(summary: RunSummary, camera: str | None = None) -> str:
    """The summary of a run: frames by stage, rates, latencies, warnings and output files.

    Args:
        summary: of the run.
        camera: its name where it is one of several, which share the network.
    """
    stats = summary.stats
    name = summary.source.source_id if camera is None else f"{camera} ({summary.source.source_id})"
    lines = [
        f"{name}: {summary.end.value} after {duration_text(summary.wall_s)}",
        *([] if camera is not None else [f"  model      {summary.model}"]),
        f"  frames     captured {stats.captured}, inferred {stats.inferred}, presented {stats.presented}, "
        f"dropped {stats.dropped_total}",
    ]
    for (stage, cause), count in sorted(stats.dropped.items(), key=lambda item: (item[0][0].value, item[0][1].value)):
        lines.append(f"             {count} before {stage.value} ({cause.value})")
    for name, count in sorted(stats.sink_dropped.items()):
        lines.append(f"             {count} presented but dropped by the {name}, too slow or paused on a full disk")
    lines.append(
        f"  rates      capture {_fps(stats.capture_fps)}, inference {_fps(stats.inference_fps)}, "
        f"display {_fps(stats.display_fps)}"
    )
    scene = summary.scene or Scene()
    seen = ", ".join(plural(count, name) for name, count in scene.seen.items())
    what = "run" if summary.live else "clip"
    lines.extend([f"  seen       {seen} in view over the {what} (by track)"] if seen else [])
    lines.extend(f"  line       {line_text(line)}" for line in scene.lines)
    lines.extend(f"  zone       {_zone_line(zone)}" for zone in scene.zones)
    lines.extend(_times_lines(stats, summary.live))
    if summary.reconnects:
        lines.append(f"  reconnects {summary.reconnects}")
    if summary.restarts:
        lines.append(f"  network    restarted {plural(summary.restarts, 'time')}")
    lines.extend(f"  warning    {text}" for text in summary.source_warnings)
    stills = summary.source.kind is SourceKind.STILLS
    lines.extend(f"  output     {path}" for path in (_by_folder(summary.outputs) if stills else summary.outputs))
    return "\n".join(lines)


def _times_lines(stats: RunStats, live: bool) -> list[str]:
    """How long frames take; of a recorded source, whose frames wait for each other, the network only."""
    parts = []
    if live and stats.latency_p50_s is not None:
        parts.append(f"{_ms(stats.latency_p50_s)} from capture to display (95 % within {_ms(stats.latency_p95_s)})")
    if stats.inference_p50_s is not None:
        parts.append(f"{_ms(stats.inference_p50_s)} a frame in the network")
    return [f"  time       {', '.join(parts)} ({'median' if len(parts) == 1 else 'medians'})"] if parts else []


def _by_folder(paths: Sequence[str]) -> list[str]:
    """Files, with images by folder, such as "out/ (12 images)"; one image by its name."""
    images = [path for path in paths if is_image_name(Path(path))]
    if len(images) < 2:
        return list(paths)
    folders = Counter(os.path.dirname(path) for path in images)
    texts = [f"{os.path.join(folder or '.', '')} ({plural(count, 'image')})" for folder, count in folders.items()]
    return texts + [path for path in paths if path not in images]


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
