"""The window functions of cv2, with a screen, a keyboard and a mouse that tests can inspect and use."""

from __future__ import annotations

from datetime import datetime

import cv2
import numpy as np

from pipeline.settings.output_settings import WindowSettings
from pipeline.sinks.toolkit import Desktop
from pipeline.sinks.window import Window
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.presentations import context

LEFT, RIGHT = 65361, 65363  # as Qt and GTK report the arrow keys under X11


class FakeGui:
    """Shows everything in the size in which it comes, unless `size_wh` says how large the window is."""

    WINDOW_NORMAL, WINDOW_FREERATIO, WINDOW_GUI_NORMAL, WINDOW_FULLSCREEN = 0, 256, 16, 1
    WND_PROP_FULLSCREEN, WND_PROP_VISIBLE = 0, 4
    EVENT_MOUSEMOVE, EVENT_LBUTTONDOWN = 0, 1

    def __init__(self, size_wh=None):
        self.windows = {}
        self.shown = []
        self.inputs = []
        self.fullscreen = []
        self.titles = []
        self.sizes = []
        self.moves = []
        self.size_wh = size_wh
        self.on_mouse = None

    def namedWindow(self, title, flags):
        self.windows[title] = flags

    def setMouseCallback(self, title, callback):
        assert title in self.windows
        self.on_mouse = callback

    def resizeWindow(self, title, width, height):
        self.sizes.append((width, height))

    def moveWindow(self, title, x, y):
        assert not self.fullscreen, "a window that fills a screen is not moved to another"
        self.moves.append((x, y))

    def getWindowImageRect(self, title):
        if title not in self.windows:
            raise cv2.error("NULL window")
        return (0, 0, *self.size_wh) if self.size_wh else (-1, -1, -1, -1)

    def imshow(self, title, image):
        assert title in self.windows, "showing a frame would bring the closed window back"
        self.shown.append(np.array(image))

    def waitKey(self, delay):
        return self.waitKeyEx(delay) & 0xFF

    def waitKeyEx(self, delay):
        given = self.inputs.pop(0) if self.inputs else -1
        if isinstance(given, tuple):
            self.on_mouse(self.EVENT_MOUSEMOVE, 0, 0, 0, None)
            self.on_mouse(self.EVENT_LBUTTONDOWN, *given, 0, None)
            return -1
        return given

    def getWindowProperty(self, title, name):
        if title not in self.windows:
            raise cv2.error("NULL window")
        return 1.0

    def setWindowProperty(self, title, name, value):
        assert name == self.WND_PROP_FULLSCREEN
        self.fullscreen.append(value)

    def setWindowTitle(self, title, text):
        self.titles.append(text)

    def destroyWindow(self, title):
        if title not in self.windows:
            raise cv2.error("NULL window")
        del self.windows[title]

    def press(self, *keys):
        """Each poll gets the next of these: a character, a code, or a click at (x, y)."""
        self.inputs += [ord(key) if isinstance(key, str) else key for key in keys]


def desktop_of(gui, **more):
    """A desktop with this toolkit, a clock that stands still, and a screen."""
    given = {
        "screen": lambda: (True, ""),
        "now": lambda: datetime(2026, 3, 14, 15, 9, 26),
        "clock": FakeClock(),
        "monitors": list,
        "hide": lambda: lambda: None,
    }
    return Desktop(gui, **{**given, **more})


def opened_window(gui, run=None, tmp_path=None, controls=None, is_alone=True, clock=None, **settings):
    """An open window with this toolkit; `settings` are those of `WindowSettings`."""
    if tmp_path is not None:
        settings["stills_dir"] = str(tmp_path)
    desktop = desktop_of(gui, clock=clock or FakeClock())
    window = Window(WindowSettings(**settings), controls, desktop=desktop, is_alone=is_alone)
    window.open(run or context())
    gui.shown.clear()  # the window appears black
    return window
