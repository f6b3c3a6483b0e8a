"""A window of OpenCV's toolkit: its size, monitor and full screen, the keys and clicks that it receives."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cv2
import numpy as np

from pipeline.errors import InputError
from pipeline.records import Clock, Image
from pipeline.settings.output_settings import WindowSettings
from pipeline.sinks.keys import Action, action_of, number_of
from pipeline.sinks.screen import Monitor, hide_pointer, list_monitors, screen_available

log = logging.getLogger(__name__)

_FIRST_WH = (1280, 720)
"""The size of a window before that of its picture is known, and the largest that it begins with, pixels."""
_LEAST_WH = (640, 360)
"""A smaller picture is enlarged, so that the list of keys is readable."""


@dataclass(frozen=True, slots=True)
class Desktop:
    """What a window uses of this machine; tests substitute their own.

    Attributes:
        gui: a module with cv2's window functions.
        screen: returns whether a window can be opened, and the reason if not.
        monitors: lists this machine's monitors.
        hide: hides the mouse pointer and returns a function that shows it again.
        now: local time, for the names of a live source's stills.
        clock: seconds, monotonic.
        platform: as `sys.platform`.
    """

    gui: Any = cv2
    screen: Callable[[], tuple[bool, str]] = screen_available
    monitors: Callable[[], list[Monitor]] = list_monitors
    hide: Callable[[], Callable[[], None]] = hide_pointer
    now: Callable[[], datetime] = datetime.now
    clock: Clock = time.monotonic
    platform: str = sys.platform


@dataclass(frozen=True, slots=True)
class Input:
    """What a user did since the last poll.

    Attributes:
        action: of the key that was pressed; None for none.
        click: where the picture was clicked, in its pixels; None for nowhere.
        number: of the number key that was pressed; None for another key.
    """

    action: Action | None = None
    click: tuple[int, int] | None = None
    number: int | None = None


class ToolkitWindow:
    """Opens a window, shows images in it, and reports input. Not open until `open`; all in one thread.

    Args:
        settings: title, monitor, full screen, pointer.
        desktop: this machine.

    Attributes:
        is_open: between `open` and `close`.
        fullscreen: whether it fills the screen.
        closed_by_user: whether the user closed it; showing an image would open it again.
    """

    def __init__(self, settings: WindowSettings, desktop: Desktop) -> None:
        self._settings = settings
        self._gui = desktop.gui
        self._desktop = desktop
        self._title = settings.title or "stream_segment"
        self._show_pointer: Callable[[], None] | None = None
        self._was_visible = False
        self._screen_wh: tuple[int, int] | None = None
        self._click: tuple[int, int] | None = None
        self.is_open = self.fullscreen = False

    def open(self) -> None:
        """Open the window. Raises InputError if the machine has no screen, or not the monitor of the settings."""
        available, reason = self._desktop.screen()
        if not available:
            raise InputError(f"No window can be opened: {reason}. Run without one (--no-window), or set up a screen.")
        monitor = self._monitor()
        # Qt warns about fonts that are not used here.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        gui = self._gui
        # Without the toolkit's toolbar. Images come in the size of the window, with their own black bars.
        gui.namedWindow(self._title, gui.WINDOW_NORMAL | gui.WINDOW_FREERATIO | gui.WINDOW_GUI_NORMAL)
        gui.imshow(self._title, np.zeros((2, 2, 3), np.uint8))  # black, where toolkits begin with white
        gui.setMouseCallback(self._title, self._on_mouse)
        self.is_open = True
        gui.resizeWindow(self._title, *_FIRST_WH)
        if monitor is not None and self._settings.monitor is not None:
            gui.moveWindow(self._title, monitor.x, monitor.y)
        if monitor is not None and self._settings.fullscreen:
            # Without a window manager, as on some kiosks, nothing else resizes it to the screen.
            gui.resizeWindow(self._title, monitor.width, monitor.height)
        if self._settings.fullscreen:
            self.toggle_fullscreen()
        if not self._settings.cursor:
            try:
                self._show_pointer = self._desktop.hide()
            except OSError as error:
                log.warning("the mouse pointer cannot be hidden: %s", error)

    def close(self) -> None:
        """Close it; may be called twice, and without `open`."""
        if self._show_pointer is not None:
            self._show_pointer()
            self._show_pointer = None
        if self.is_open:
            self.is_open = False
            try:
                self._gui.destroyWindow(self._title)
                # Some toolkits close a window only while they process events.
                self._gui.waitKey(1)
            except cv2.error as error:
                log.debug("closing the window: %s", error)

    def fit_to(self, width: float, height: float) -> None:
        """Give the window the size of a picture, within limits, unless it fills the screen."""
        if not self.fullscreen:
            scale = max(1.0, min(_LEAST_WH[0] / width, _LEAST_WH[1] / height))
            scale = min(scale, _FIRST_WH[0] / width, _FIRST_WH[1] / height)
            self._gui.resizeWindow(self._title, max(1, round(width * scale)), max(1, round(height * scale)))

    def size_wh(self) -> tuple[int, int] | None:
        """Width and height of the images to show, pixels; None if the toolkit does not tell."""
        if self._desktop.platform == "darwin":  # Cocoa tells the size of the last image, which it stretches
            return self._screen_wh if self.fullscreen else None
        try:
            _, _, width, height = self._gui.getWindowImageRect(self._title)
        except cv2.error:
            return None
        return (width, height) if width > 0 and height > 0 else None

    def show(self, image_bgr: Image) -> None:
        """Show an image, unless the user closed the window."""
        if not self.closed_by_user:
            self._gui.imshow(self._title, image_bgr)

    def poll(self) -> Input:
        """Let the toolkit work, and report what the user did."""
        self._click = None
        code = self._gui.waitKeyEx(1)
        return Input(action_of(code), self._click, number_of(code))

    def set_suffix(self, suffix: str) -> None:
        """Set what stands behind the title."""
        self._gui.setWindowTitle(self._title, self._title + suffix)

    def toggle_fullscreen(self) -> None:
        """Fill the screen, or no longer."""
        gui = self._gui
        self.fullscreen = not self.fullscreen
        if self.fullscreen and self._desktop.platform == "darwin":
            with contextlib.suppress(OSError, IndexError):
                monitor = self._desktop.monitors()[self._settings.monitor or 0]
                self._screen_wh = monitor.width, monitor.height
        mode = gui.WINDOW_FULLSCREEN if self.fullscreen else gui.WINDOW_NORMAL
        gui.setWindowProperty(self._title, gui.WND_PROP_FULLSCREEN, mode)

    @property
    def closed_by_user(self) -> bool:
        """Whether the window was visible and no longer is; showing an image would open it again."""
        if self._desktop.platform == "darwin":  # Cocoa's has no close button, and is invisible while it is minimized
            return False
        try:
            visible = self._gui.getWindowProperty(self._title, self._gui.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            visible = False
        self._was_visible = self._was_visible or visible
        return self._was_visible and not visible

    def _monitor(self) -> Monitor | None:
        """The configured monitor, or the only one. Raises InputError if the configured one does not exist."""
        index = self._settings.monitor
        if index is None and not self._settings.fullscreen:
            return None
        try:
            monitors = self._desktop.monitors()
        except OSError as error:
            if index is None:
                return None
            raise InputError(f"window.monitor: this machine's monitors cannot be listed: {error}") from None
        if index is None:
            return monitors[0] if len(monitors) == 1 else None
        if index >= len(monitors):
            available = ", ".join(f"{number}: {monitor}" for number, monitor in enumerate(monitors)) or "none"
            raise InputError(f"window.monitor: there is no monitor {index}; available: {available}")
        return monitors[index]

    def _on_mouse(self, event: int, x: int, y: int, _flags: int, _data: Any) -> None:
        if event == self._gui.EVENT_LBUTTONDOWN:
            self._click = (x, y)
