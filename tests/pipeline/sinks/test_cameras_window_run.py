"""The window of several cameras in a run."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from pipeline.records import SourceKind
from pipeline.runtime.camera_group import Cameras
from pipeline.settings.output_settings import WindowSettings
from pipeline.sinks.cameras_window import CamerasWindow
from pipeline.sinks.toolkit import Desktop
from tests.pipeline.fakes import FakeSegmenter, FakeSource
from tests.pipeline.sinks.fake_gui import FakeGui
from tests.pipeline.sinks.test_cameras_window import LEVELS, SIZE, seen


class UntilBothAreSeen(FakeGui):
    """Presses 2 when both cameras are seen, and q when the second one fills the window."""

    def imshow(self, title, image):
        super().imshow(title, image)
        if (image == LEVELS["yard"]).mean() > 0.8:
            self.press("q")
        elif seen(image) == {"hall", "yard"}:
            self.press("2")


class Plain(FakeSource):
    """A live camera that shows one gray level."""

    def __init__(self, level):
        super().__init__(None, SourceKind.LIVE, gate=lambda _: not self.interrupted.wait(0.01))
        self._level = level

    def read(self):
        frame = super().read()
        return None if frame is None else replace(frame, image_bgr=np.full((48, 80, 3), self._level, np.uint8))


def test_a_run_with_two_cameras_and_one_that_is_not_there():
    names = ("hall", "yard", "gate")
    settings = {
        "overlay": {"masks": False, "labels": False, "scores": False},
        "window": {"mode": "on"},
        "cameras": [{"name": name, "uri": "test:", "enabled": name != "gate"} for name in names],
    }
    sources = {name: Plain(LEVELS[name]) for name in names}
    cameras = Cameras(settings, segmenter=FakeSegmenter(), source_of=lambda name, _: sources[name])
    gui = UntilBothAreSeen(SIZE)
    window = CamerasWindow(
        WindowSettings(), lambda name: cameras.entries[name].controls, desktop=Desktop(gui, screen=lambda: (True, ""))
    )
    cameras.set_viewer(window)
    too_late = threading.Timer(30.0, cameras.stop)
    too_late.start()
    with cameras:
        cameras.run()
    too_late.cancel()
    assert window.stop_requested, "it was too late"
    assert not gui.windows
    assert seen(gui.shown[-1]) == {"yard"}
    every = next(image for image in gui.shown if seen(image) == {"hall", "yard"})
    assert (every == 40).mean() > 0.1  # the tile of the one that is disabled
