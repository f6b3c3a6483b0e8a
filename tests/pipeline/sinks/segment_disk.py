"""A disk with segments, for tests of what is kept and deleted."""

import json
import os
from dataclasses import replace
from datetime import datetime, timedelta

import cv2

from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.segments import SegmentRecorder
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.presentations import context, presentation


class Disk:
    """A disk whose free space a test sets; time advances by frames, 25 per second."""

    def __init__(self, tmp_path, outputs=None, **settings):
        self.folder, self.free, self.clock = tmp_path, 10**12, FakeClock()
        self.frames = self.lost = 0
        values = {"path": str(tmp_path / "kiosk.mp4"), "segment_s": 1.0, "preset": "ultrafast", **settings}
        self.recorder = SegmentRecorder(
            RecorderSettings(**values),
            wall_clock=lambda: datetime(2026, 3, 14, 15, 9, 26) + timedelta(seconds=self.frames // 25),
            clock=self.clock,
            outputs=outputs,
            free_bytes=lambda folder: self.free,
        )

    def record(self, count):
        for _ in range(count):
            self.clock.now_s += 0.04
            self.recorder.write(presentation(self.frames))
            self.frames += 1

    def names(self):
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))

    def opened(self):
        self.recorder.open(replace(context(kind=SourceKind.LIVE), on_loss=self.lose))
        return self

    def lose(self):
        self.lost += 1


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


OTHERS = (
    "kiosk.mp4",
    "kiosk-2.mp4",
    "kiosk-20260314-150926-0001.mkv",
    "kiosk-20260314-150926-1.mp4",
    "my-kiosk-20260314-150926-0001.mp4",
    "kiosk-20260314-150926-0001.mp4.part",
    "notes.txt",
)


def old_segments(folder, *sizes, listed=True):
    """Segments of an earlier run that ended after 1000, 2000 … seconds of running time, of 3400 in all."""
    entries = []
    for number, size in enumerate(sizes, start=1):
        path = folder / f"kiosk-20260101-00000{number}-{number:04d}.mp4"
        path.write_bytes(bytes(size))
        entries.append([path.name, 1000.0 * number])
    if listed:
        (folder / ".kiosk.mp4.segments").write_text(json.dumps({"run_s": 3400.0, "segments": entries}))


def with_others(folder):
    for name in OTHERS:
        (folder / name).write_bytes(bytes(2_000_000))
        os.utime(folder / name, (1.0, 1.0))
    (folder / "kiosk-20260101-000000-0000.mp4").mkdir()


def others_are_there(folder):
    return all((folder / name).stat().st_size == 2_000_000 for name in OTHERS)


def kept(disk):
    return [name for name in disk.names() if name.startswith("kiosk-20260101-00000") and name[-8:-4] != "0000"]
