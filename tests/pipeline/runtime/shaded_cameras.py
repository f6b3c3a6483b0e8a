"""Several cameras whose pictures say which one they are of, and a viewer of them all."""

import threading
from collections import defaultdict
from dataclasses import replace

import numpy as np

from pipeline.records import SourceKind
from pipeline.runtime.camera_group import Cameras
from pipeline.sinks.base import CamerasViewer
from tests.pipeline.fakes import HEIGHT, WIDTH, FakeSegmenter, FakeSource, make_instances

HEADLESS = {"window": {"mode": "off"}, "tracking": {"enabled": False}}


class Shades(FakeSource):
    """Frames of one camera's own shades: camera k's are 10 k, 10 k + 1 … 10 k + 9, again and again."""

    def __init__(self, number, count, kind=SourceKind.RECORDED, **more):
        super().__init__(count, kind, **more)
        self.number = number

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        shade = 10 * self.number + frame.index % 10
        return replace(frame, image_bgr=np.full((HEIGHT, WIDTH, 3), shade, np.uint8))


class Reader(FakeSegmenter):
    """Finds one object, whose x is the frame's shade."""

    def segment(self, image_bgr):
        super().segment(image_bgr)
        return make_instances(1, x=float(image_bgr[0, 0, 0]))


def group(sources, segmenter=None, values=None, entries=None, later=None, **arguments):
    """Cameras a, b, c …, one for each source; `entries` are settings of single ones, `later` sources of later ones, by
    name; `arguments` are Cameras' own.
    """
    names = [chr(97 + number) for number in range(len(sources))]
    by_name = dict(zip(names, sources, strict=True)) | (later or {})
    own = entries or {}
    cameras = [{"name": name, "uri": "test:"} | own.get(name, {}) for name in names]
    made = lambda name, _: by_name[name] if isinstance(by_name[name], FakeSource) else next(by_name[name])  # noqa: E731
    settings = {**HEADLESS, **(values or {}), "cameras": cameras}
    return Cameras(settings, segmenter=segmenter or Reader(), source_of=made, **arguments)


def assert_accounted_for(cameras):
    for camera in cameras.summary().cameras:
        for run in camera.runs:
            assert run.stats.captured == run.stats.presented + run.stats.dropped_total


def collect(cameras):
    found = defaultdict(list)
    with cameras:
        for name, segmented in cameras:
            found[name].append(segmented)
    return found


class Wall(CamerasViewer):
    """Counts what it is shown; asks for the end when each camera was shown and is in a state of interest."""

    def __init__(self, until):
        self.shown, self.states, self.calls = defaultdict(list), {}, []
        self._until = until

    def open(self, cameras):
        self.calls.append(("open", tuple(cameras)))

    def write(self, camera, presentation, context):
        assert context.labels[0] == "BG"
        assert threading.current_thread() is threading.main_thread()
        assert presentation.drawn
        self.shown[camera].append(presentation.segmented.frame.index)

    def idle(self, states):
        self.states = dict(states)
        self.stop_requested = self._until(self)

    def close(self):
        self.calls.append(("close",))
