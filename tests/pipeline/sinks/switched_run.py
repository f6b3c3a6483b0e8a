"""A recorder that is switched on and off, and its frames."""

import shutil
from dataclasses import replace
from datetime import datetime

import av
import numpy as np

from pipeline.controls import Controls
from pipeline.records import SourceKind
from pipeline.settings.output_settings import OverlaySettings, RecorderSettings
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.segments import SegmentRecorder
from pipeline.sinks.switched_recorder import SwitchedRecorder
from tests.pipeline.sinks.presentations import context, presentation

NOON = datetime(2026, 3, 4, 12, 5, 6)


def frames_in(path):
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


class Run:
    """A recorder and the frames that it is given, each with the controls as they stand."""

    def __init__(self, folder, path=None, recording=None, camera=None, kind=SourceKind.RECORDED, **settings):
        self.now_s, self.free = 0.0, 10**12
        self.controls = Controls(OverlaySettings(), recording=path is not None if recording is None else recording)
        settings = RecorderSettings(path=path and str(path), preset="ultrafast", **settings)
        self.sink = SwitchedRecorder(
            settings,
            folder,
            self.controls,
            camera,
            wall_clock=lambda: NOON,
            make=self.make,
        )
        self.sink.open(context(kind=kind))
        self.index = 0

    def make(self, settings, outputs):
        if settings.segment_s is not None:
            return SegmentRecorder(settings, outputs, clock=lambda: self.now_s)
        return Recorder(
            settings,
            outputs,
            clock=lambda: self.now_s,
            free_bytes=lambda where: self.free if where.is_dir() else shutil.disk_usage(where).free,
        )

    def frame(self, drawn=True):
        made = presentation(self.index)
        picture = np.array(made.annotated_bgr) if drawn else made.annotated_bgr
        self.index += 1
        return replace(made, annotated_bgr=picture, controls=self.controls.state)

    def frames(self, count):
        for _ in range(count):
            self.sink.write(self.frame())
