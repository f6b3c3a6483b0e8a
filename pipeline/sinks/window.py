"""A window on this machine's screen, and the attract screen that a kiosk shows in it; `KEYS_HELP` lists its keys."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.drawing.chips import draw_banner
from pipeline.drawing.status import draw_status
from pipeline.errors import InputError
from pipeline.labels import resolve_classes
from pipeline.privacy.redaction import read_picture, scale_to_fill
from pipeline.records import Frame, Image, SegmentedFrame, SourceKind
from pipeline.settings.output_settings import AttractSettings, WindowSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import create_new, numbered
from pipeline.sinks.screen import Monitor, hide_pointer, list_monitors, screen_available

log = logging.getLogger(__name__)

_STALE_AFTER_S = 5.0
"""An older result does not say who is there now: the network hangs, or is too slow for an attract screen."""


class AttractScreen:
    """Decides frame by frame whether to show the attract screen, and draws it.

    Args:
        settings: the delay, the classes to look for, and what to show.
        labels: class names by class id.

    Raises:
        InputError: the model lacks one of the classes, or the picture cannot be read.
    """

    def __init__(self, settings: AttractSettings, labels: Sequence[str]) -> None:
        if settings.after_s is None:
            raise ValueError("AttractScreen needs after_s")
        self._after_s = settings.after_s
        self._text = settings.text
        self._class_ids = sorted(resolve_classes(settings.classes, labels, "attract.classes"))
        self._picture = read_picture("attract.picture", settings.picture) if settings.picture else None
        self._seen_at_s: float | None = None
        self._screen: Image | None = None

    def apply(self, segmented: SegmentedFrame, image_bgr: Image) -> Image:
        """Returns the image itself, or the attract screen in its size after results showed nobody for `after_s`.

        Without a recent result somebody may be there, so that the image itself is shown.

        Args:
            segmented: a presented frame; its capture time serves as the clock.
            image_bgr: uint8 (H, W, 3), what is shown otherwise.
        """
        now_s = segmented.frame.captured_at_s
        inferred_at_s = segmented.times.inference_started_at_s
        result_s = now_s if inferred_at_s is None else min(now_s, inferred_at_s)
        unknown = segmented.instances_index is None or now_s - result_s > _STALE_AFTER_S
        if self._seen_at_s is None or unknown or np.isin(segmented.instances.class_ids, self._class_ids).any():
            self._seen_at_s = now_s
        if result_s - self._seen_at_s < self._after_s:
            return image_bgr
        if self._picture is None:
            return _with_text(np.asarray(cv2.convertScaleAbs(image_bgr, alpha=0.45), np.uint8), self._text)
        if self._screen is None or self._screen.shape != image_bgr.shape:
            filled = scale_to_fill(self._picture, image_bgr.shape[0], image_bgr.shape[1])
            self._screen = _with_text(filled, self._text)
        return self._screen


def _with_text(image_bgr: Image, text: str) -> Image:
    if text:
        draw_banner(image_bgr, text)
    return image_bgr


KEYS_HELP = "q or Esc quits, f toggles full screen, s saves a still, d shows details, space pauses"

_ESCAPE = 27
_MAX_INITIAL_WH = (1280, 720)
_SLATE_GRAY = 40


class Window(Sink):
    """Shows presented frames; runs in the main thread, as GUI toolkits require.

    Args:
        settings: title, full screen, folder of stills.
        gui: a module with cv2's window functions.
        screen: returns whether a window can be opened, and the reason if not.
        now: local time, for the names of a live source's stills.
        attract: settings of the attract screen.
        monitors: lists this machine's monitors.
        hide: hides the mouse pointer and returns a function that shows it again.
    """

    name = "window"
    delivery = Delivery.MAIN_THREAD

    def __init__(
        self,
        settings: WindowSettings,
        gui: Any = cv2,
        screen: Callable[[], tuple[bool, str]] = screen_available,
        now: Callable[[], datetime] = datetime.now,
        attract: AttractSettings | None = None,
        monitors: Callable[[], list[Monitor]] = list_monitors,
        hide: Callable[[], Callable[[], None]] = hide_pointer,
    ) -> None:
        self._settings = settings
        self._gui = gui
        self._screen = screen
        self._now = now
        self._attract_settings = attract or AttractSettings()
        self._attract: AttractScreen | None = None
        self._monitors = monitors
        self._hide = hide
        self._show_pointer: Callable[[], None] | None = None
        self._title = settings.title or "stream_segment"
        self._kind = SourceKind.LIVE
        self._pixel_aspect = 1.0
        self._open = False
        self._was_visible = False
        self.paused = False
        self.stop_requested = False
        self._details = False
        self._fullscreen = False
        self._shown: Image | None = None
        self._frame: Frame | None = None
        self._slate = ""
        self._stills: list[str] = []

    def open(self, context: RunContext) -> None:
        """Open the window. Raises InputError if the machine has no screen."""
        available, reason = self._screen()
        if not available:
            raise InputError(f"No window can be opened: {reason}. Run without one (--no-window), or set up a screen.")
        if self._attract_settings.after_s is not None:
            self._attract = AttractScreen(self._attract_settings, context.labels)
        monitor = self._monitor()
        # Qt warns about fonts that are not used here.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        gui = self._gui
        # Scales with its aspect ratio, without the toolkit's toolbar.
        gui.namedWindow(self._title, gui.WINDOW_NORMAL | gui.WINDOW_KEEPRATIO | gui.WINDOW_GUI_NORMAL)
        scale = min(1.0, *(limit / side for limit, side in zip(_MAX_INITIAL_WH, _size_wh(context), strict=True)))
        width, height = (max(1, round(side * scale)) for side in _size_wh(context))
        gui.resizeWindow(self._title, width, height)
        self._open, self._was_visible = True, False
        self._kind = context.source.kind
        self._pixel_aspect = float(context.source.sample_aspect_ratio)
        if monitor is not None and self._settings.monitor is not None:
            gui.moveWindow(self._title, monitor.x, monitor.y)
        if monitor is not None and self._settings.fullscreen:
            # Without a window manager, as on some kiosks, nothing else resizes it to the screen.
            gui.resizeWindow(self._title, monitor.width, monitor.height)
        if self._settings.fullscreen:
            self._toggle_fullscreen()
        if not self._settings.cursor:
            try:
                self._show_pointer = self._hide()
            except OSError as error:
                log.warning("the mouse pointer cannot be hidden: %s", error)

    def write(self, presentation: Presentation) -> None:
        """Show one frame, unless paused, and handle keys."""
        if self._open and not self.paused:
            self._shown = _with_square_pixels(presentation.annotated_bgr, self._pixel_aspect)
            self._frame = presentation.segmented.frame
            self._slate = ""
            attract = self._attract
            shown = attract.apply(presentation.segmented, self._shown) if attract else self._shown
            self._show(self._with_status(presentation, shown) if shown is self._shown else shown)
        self._poll()

    def idle(self, message: str) -> None:
        """Handle keys; show `message` over the dimmed last frame."""
        if self._open and not self.paused and message and message != self._slate:
            self._slate = message
            self._show(slate(self._shown, message))
        self._poll()

    def close(self) -> None:
        """Close the window."""
        if self._show_pointer is not None:
            self._show_pointer()
            self._show_pointer = None
        if self._open:
            self._open = False
            try:
                self._gui.destroyWindow(self._title)
                # Some toolkits close a window only while they process events.
                self._gui.waitKey(1)
            except cv2.error as error:
                log.debug("closing the window: %s", error)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Paths of the saved stills."""
        return tuple(self._stills)

    def _monitor(self) -> Monitor | None:
        """The configured monitor, or the only one. Raises InputError if the configured one does not exist."""
        index = self._settings.monitor
        if index is None and not self._settings.fullscreen:
            return None
        try:
            monitors = self._monitors()
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

    def _show(self, image_bgr: Image) -> None:
        if not self._closed_by_user():
            self._gui.imshow(self._title, image_bgr)

    def _with_status(self, presentation: Presentation, shown: Image) -> Image:
        """The picture with the status line, which stills do not have; unless the picture has one already."""
        status, controls = presentation.status, presentation.controls
        is_drawn = presentation.drawn and controls is not None and controls.overlay.status
        if status is None or is_drawn or not (self._settings.status or self._details):
            return shown
        canvas = shown.copy()
        draw_status(canvas, status, self._details)
        return canvas

    def _poll(self) -> None:
        if not self._open:
            return
        code = self._gui.waitKey(1)
        if self._closed_by_user():
            self.stop_requested = True
            return
        if code >= 0:
            self._handle_key(code & 0xFF)

    def _closed_by_user(self) -> bool:
        """Whether the window was visible and no longer is; showing a frame would reopen it."""
        try:
            visible = self._gui.getWindowProperty(self._title, self._gui.WND_PROP_VISIBLE) >= 1
        except cv2.error:
            visible = False
        self._was_visible = self._was_visible or visible
        return self._was_visible and not visible

    def _handle_key(self, code: int) -> None:
        key = chr(code).lower()
        if key == "q" or code == _ESCAPE:
            self.stop_requested = True
        elif key == "f":
            self._toggle_fullscreen()
        elif key == "s":
            self._save_still()
        elif key == "d":
            self._details = not self._details
        elif key == " ":
            self.paused = not self.paused
            self._gui.setWindowTitle(self._title, f"{self._title} (paused)" if self.paused else self._title)

    def _toggle_fullscreen(self) -> None:
        gui = self._gui
        self._fullscreen = not self._fullscreen
        mode = gui.WINDOW_FULLSCREEN if self._fullscreen else gui.WINDOW_NORMAL
        gui.setWindowProperty(self._title, gui.WND_PROP_FULLSCREEN, mode)

    def _save_still(self) -> None:
        """Save the current picture as a PNG; a failure is logged and does not end the run."""
        if self._shown is None or self._frame is None:
            return
        name = self._still_name(self._frame)
        folder = Path(self._settings.stills_dir).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = create_new(numbered(folder / f"{name}.png"))
            path.write_bytes(cv2.imencode(".png", self._shown)[1].tobytes())
        except (OSError, cv2.error) as error:
            log.warning("saving the still %s failed: %s", folder / name, error)
            return
        self._stills.append(str(path))
        log.info("saved %s", path)

    def _still_name(self, frame: Frame) -> str:
        """A file name from source and time, without suffix: "clip-00-01-23.480", "camera-0-20260314-150926"."""
        source = frame.source_id if self._kind is SourceKind.LIVE else Path(frame.source_id).stem
        source = re.sub(r"[^\w.-]+", "-", source).strip("-.") or "still"
        if self._kind is SourceKind.STILLS:
            return source
        if self._kind is SourceKind.LIVE:
            return f"{source}-{self._now():%Y%m%d-%H%M%S}"
        minutes, milliseconds = divmod(round(frame.pts_s * 1000), 60_000)
        hours, minutes = divmod(minutes, 60)
        return f"{source}-{hours:02d}-{minutes:02d}-{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def slate(last_bgr: Image | None, message: str) -> Image:
    """A slate for while no frames arrive: the dimmed last frame, or plain gray, with a message.

    Args:
        last_bgr: uint8 (H, W, 3), or None before the first frame.
        message: one line.

    Returns:
        uint8 (H, W, 3).
    """
    if last_bgr is None:
        image = np.full((360, 640, 3), _SLATE_GRAY, np.uint8)
    else:
        image = np.asarray(cv2.convertScaleAbs(last_bgr, alpha=0.35), np.uint8)
    draw_banner(image, message)
    return image


def _size_wh(context: RunContext) -> tuple[int, int]:
    """The display size of the source, with non-square pixels stretched."""
    source = context.source
    return max(1, round(source.width * source.sample_aspect_ratio)), source.height


def _with_square_pixels(image_bgr: Image, pixel_aspect: float) -> Image:
    if pixel_aspect == 1.0:
        return image_bgr
    size_wh = (max(1, round(image_bgr.shape[1] * pixel_aspect)), image_bgr.shape[0])
    return np.asarray(cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
