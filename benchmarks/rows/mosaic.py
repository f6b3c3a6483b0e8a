"""Nine cameras in a window of 1080p: the processor time of a second in which each shows 30 frames."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from benchmarks.measuring import RowReport, Spread, Value, alternate, at_most
from benchmarks.options import Options
from pipeline.drawing.status import StatusLine
from pipeline.records import Frame, Instances, SegmentedFrame, SourceInfo, SourceKind, StageTimes
from pipeline.settings.output_settings import WindowSettings
from pipeline.sinks.base import Presentation, RunContext
from pipeline.sinks.cameras_window import CamerasWindow
from pipeline.sinks.toolkit import Desktop

TITLE = "window with 9 cameras at 1080p, 30 fps each: what it takes beside decoding, propagating and drawing masks"
CAMERAS, FPS, CAPTIONS_PER_S = 9, 30, 5
SIZE_WH = (1920, 1080)
SIZES_WH = ((640, 360), (1280, 720), (1920, 1080))


def measure(options: Options) -> RowReport:
    """With small and large pictures by turns; a second in the window is timed as processor time of all threads."""
    with _screen():
        player = Player(Desktop())
        sides = {f"{width}x{height}": player.second_of((width, height)) for width, height in SIZES_WH}
        taken = alternate(sides, options.rounds(9), time.process_time)
        size_wh = cv2.getWindowImageRect("stream_segment")[2:]
        player.window.close()
    values = [
        Value(f"processor, pictures of {name}", Spread.of([100 * s for s in seconds]), "% of a core", at_most(100))
        for name, seconds in taken.items()
    ]
    return RowReport("mosaic", TITLE, values, {"cameras": CAMERAS, "window": size_wh})


class Player:
    """Gives frames to a window that fills the screen, on a clock of its own.

    Attributes:
        window: what is measured.
        now_s: the time of the window, seconds.
    """

    def __init__(self, desktop: Desktop) -> None:
        self.now_s = 0.0
        self._states = dict.fromkeys((f"camera {number}" for number in range(CAMERAS)), "")
        own = replace(desktop, clock=lambda: self.now_s)
        self.window = CamerasWindow(WindowSettings(fullscreen=True), lambda _: None, desktop=own)
        self.window.open(list(self._states))

    def second_of(self, size_wh: tuple[int, int]):
        """A function that plays a second: the cameras show new pictures of this size, one after the other."""
        noise = np.random.default_rng(0).integers(0, 256, (2, size_wh[1], size_wh[0], 3), np.uint8)
        pictures = [np.asarray(cv2.GaussianBlur(one, (0, 0), 3), np.uint8) for one in noise]
        nothing = Instances.empty()
        context = RunContext(SourceInfo("camera", SourceKind.LIVE, *size_wh, fps=FPS), ("BG", "person"))

        def play() -> None:
            for index in range(FPS):
                status = StatusLine(display_fps=FPS, mask_age_ms=100 + index * CAPTIONS_PER_S // FPS)
                for camera in self._states:
                    self.now_s += 1 / (FPS * CAMERAS)
                    frame = Frame(camera, index, index, Fraction(1, FPS), self.now_s, pictures[index % 2])
                    times = StageTimes(self.now_s, presented_at_s=self.now_s)
                    segmented = SegmentedFrame(frame, nothing, index, times)
                    self.window.write(camera, Presentation(segmented, frame.image_bgr, status=status), context)
                    self.window.idle(self._states)

        return play


@contextmanager
def _screen() -> Iterator[None]:
    """A screen of 1080p without a monitor, where Xvfb is installed; else that of the machine."""
    if shutil.which("Xvfb") is None:
        yield
        return
    read_end, write_end = os.pipe()
    size = f"{SIZE_WH[0]}x{SIZE_WH[1]}x24"
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", size, "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as numbers:
            os.environ["DISPLAY"] = f":{numbers.readline().strip()}"
        yield
    finally:
        server.terminate()
        server.wait(10)
