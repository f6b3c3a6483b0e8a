"""Segments with limits, and the list of them, each of whose system calls fails once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.segments import SegmentRecorder
from tests.faults.file_system import enumerate_faults
from tests.faults.outcomes import frames_in, halves, one_line
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.presentations import context, presentation

FRAMES, STEP_MS = 36, 200
KEEP_S = 5.0
THEIRS = b"somebody's own file"


def segments(folder):
    """Two runs, the second of which continues the numbering; the oldest segments go."""
    theirs = folder / "kiosk-20250101-000000-0001.mp4.txt"
    theirs.write_bytes(THEIRS)
    clock, frames = FakeClock(), iter(range(2 * FRAMES))
    settings = RecorderSettings(
        path=str(folder / "kiosk.mp4"), segment_s=2.0, keep_s=KEEP_S, preset="ultrafast", min_free_bytes=0
    )

    def record():
        recorder = SegmentRecorder(
            settings, wall_clock=lambda: datetime(2026, 3, 14) + timedelta(seconds=clock.now_s), clock=clock
        )
        recorder.open(context(kind=SourceKind.LIVE))
        try:
            for _ in range(FRAMES):
                clock.now_s += STEP_MS / 1000
                index = next(frames)
                recorder.write(presentation(index, STEP_MS * index))
        finally:
            recorder.close()

    def run():
        record()
        record()

    def check(error):
        problems = one_line(error) + halves(folder)
        problems += [] if theirs.read_bytes() == THEIRS else ["somebody's file was changed"]
        stored = folder / ".kiosk.mp4.segments"
        listed = {name for name, _ in json.loads(stored.read_bytes())["segments"]} if stored.exists() else set()
        found = {path.name: frames_in(path) for path in folder.glob("*.mp4")}
        if error is None and sum(found.values()) < 1000 * KEEP_S / STEP_MS:
            problems.append(f"the last seconds are lost: {found}")
        if error is None and not set(found) >= listed:
            problems.append(f"{listed - set(found)} are listed and not there")
        return problems

    return run, check


@pytest.mark.slow
def test_segments(tmp_path):
    runs, problems = enumerate_faults(tmp_path, segments, errors=None, most=1)
    assert problems == []
    assert runs > 60
