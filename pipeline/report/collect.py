"""Reads the detections of a report once, for its statistics and for all exports."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.records import SourceKind
from pipeline.report.detection_lines import StoredFrame, read_frames
from pipeline.report.export import Export, Origin
from pipeline.report.page import Report, Row
from pipeline.report.pictures import find_pictures
from pipeline.report.report_input import Source, Sources
from pipeline.report.statistics import Recording, RecordingStatistics

MOST_DETAILS = 12
"""So many recordings of several are shown in detail, those with the most objects: one picture each is 20 kB."""


def collect(
    title: str,
    sources: Sources,
    exports: Sequence[Export],
    video: Path | None = None,
    on_bytes: Callable[[int], None] = lambda size: None,
) -> Report:
    """Read all detections.

    Args:
        title: of the report.
        sources: the detections files.
        exports: get every frame, and are completed.
        video: where the pictures come from, if the user names it.
        on_bytes: called with the size of each line that was read.

    Raises:
        InputError: a file is damaged, the named video must not be used, or an export cannot hold what is there.
    """
    rows: list[Row] = []
    details: list[tuple[int, int, Recording, Source]] = []  # a heap: its first has the fewest objects
    for source in sources.files:
        for recording in _recordings(source, exports, on_bytes):
            rows.append(Row.of(recording))
            heapq.heappush(details, (recording.counts.total(), -len(rows), recording, source))
            if len(details) > MOST_DETAILS:
                heapq.heappop(details)
    for export in exports:
        export.complete()
    in_order = sorted(details, key=lambda detail: -detail[1])
    shown = [
        (recording, find_pictures(recording, source.path, video or source.video, video is not None))
        for _, _, recording, source in in_order
    ]
    return Report(title, rows, shown, sources.problems, sources.speed)


def _recordings(source: Source, exports: Sequence[Export], on_bytes: Callable[[int], None]) -> list[Recording]:
    """The recordings of a file: one, or one for each camera; where runs follow one another, one for each run."""
    found: list[RecordingStatistics] = []
    newest: dict[str | None, tuple[Origin, RecordingStatistics]] = {}
    counts: Counter[str | None] = Counter()
    for frame in read_frames(source.path, on_bytes):
        if frame.camera not in newest or _begins_another(newest[frame.camera][0], frame):
            counts[frame.camera] += 1
            origin = Origin.of(source.name, frame, counts[frame.camera])
            newest[frame.camera] = origin, RecordingStatistics(origin.name, frame)
            found.append(newest[frame.camera][1])
        origin, statistics = newest[frame.camera]
        statistics.add(frame)
        for export in exports:
            export.add(origin, frame)
    return [statistics.result() for statistics in found]


def _begins_another(origin: Origin, frame: StoredFrame) -> bool:
    """Whether a frame is the first of another run, with times and ids of its own. Images have neither."""
    return frame.run is not None and not (origin.stills and frame.run.kind is SourceKind.STILLS)
