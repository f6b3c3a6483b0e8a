"""What is seen of one run in a part of a window: its picture, and what is drawn over it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.drawing.chips import draw_banner
from pipeline.drawing.letterbox import Fit, fit, letterbox
from pipeline.drawing.panels import draw_chosen, draw_keys, draw_note, draw_recording
from pipeline.drawing.status import StatusLine, draw_status
from pipeline.records import Image
from pipeline.sinks.attract import AttractScreen
from pipeline.sinks.base import Presentation
from pipeline.sinks.inspector import Inspector

NOTE_S = 2.5
"""How long a note stays."""
_SLATE_WH = (640, 360)
_SLATE_GRAY = 40
_SLATE_DIMMED = 0.35


class Viewport:
    """Draws the picture in any size; the attributes say what it shows.

    Args:
        attract: draws the attract screen, if there is one.

    Attributes:
        presentation: the frame; None before the first.
        picture_bgr: uint8 (H, W, 3), its pixels as they are shown; None before the first.
        slate: what keeps frames from coming; "" while they come.
        attracts: whether the attract screen is shown in place of the picture.
        inspector: the objects, and the chosen one.
        has_status, has_details: whether rates and counts are shown, and in detail. A notice always is.
        keys: rows of the list of keys; empty for none.
        is_paused, is_recording: signs.
    """

    def __init__(self, attract: AttractScreen | None = None) -> None:
        self._attract = attract
        self.presentation: Presentation | None = None
        self.picture_bgr: Image | None = None
        self.slate = ""
        self.attracts = False
        self.inspector = Inspector(())
        self.has_status = self.has_details = False
        self.keys: Sequence[tuple[str, str]] = ()
        self.is_paused = self.is_recording = False
        self._note, self._note_until_s = "", 0.0

    def take(self, presentation: Presentation, continues: bool = True) -> None:
        """The next frame, or another image that does not continue the one before."""
        self.presentation, self.picture_bgr = presentation, presentation.annotated_bgr
        instances = presentation.segmented.instances
        if presentation.controls is not None:
            instances = instances.select(instances.scores >= presentation.controls.min_score)
        self.inspector.see(instances, presentation.segmented.frame.pts_s, continues)

    @property
    def pixel_aspect(self) -> float:
        """Width over height of the frame's pixels; 1 before the first."""
        return 1.0 if self.presentation is None else float(self.presentation.segmented.frame.sample_aspect_ratio)

    def note(self, text: str, now_s: float) -> None:
        """Show a line for some seconds."""
        self._note, self._note_until_s = text, now_s + NOTE_S

    def note_ends(self, now_s: float) -> bool:
        """Whether a note was shown until now."""
        ends = self._note != "" and now_s >= self._note_until_s
        if ends:
            self._note = ""
        return ends

    @property
    def moves(self) -> bool:
        """Whether the view changes by itself."""
        return self._attract is not None and (self.attracts or self.is_welcome)

    @property
    def is_welcome(self) -> bool:
        """Whether something is shown before the first frame."""
        return self.picture_bgr is None and self.slate != ""

    def frame_point(self, x: int, y: int, size_wh: tuple[int, int]) -> tuple[float, float] | None:
        """The point of the frame, in its pixels, at a point of the view in this size; None outside, or without one."""
        place = self._place(size_wh)
        if self.picture_bgr is None or self.slate or self.attracts or place is None:
            return None
        u, v = (x + 0.5 - place.x) / place.width, (y + 0.5 - place.y) / place.height
        height, width = self.picture_bgr.shape[:2]
        return (u * width, v * height) if 0 <= u < 1 and 0 <= v < 1 else None

    def render(self, size_wh: tuple[int, int] | None, now_s: float) -> Image:
        """The view at one moment.

        Args:
            size_wh: width and height in pixels; None for those of the picture.
            now_s: seconds, for notes and motion.

        Returns:
            uint8 (height, width, 3), a new array.
        """
        canvas = self._base(size_wh or self.own_size_wh(), now_s)
        note = "paused" if self.is_paused else self._note if now_s < self._note_until_s else ""
        if self.is_paused and now_s < self._note_until_s and self._note:
            note = f"paused · {self._note}"
        draw_note(canvas, note)
        if self.is_recording:
            draw_recording(canvas)
        if self.keys:
            draw_keys(canvas, self.keys)
        return canvas

    def own_size_wh(self) -> tuple[int, int]:
        """Width and height of the picture in square pixels."""
        if self.picture_bgr is None:
            return _SLATE_WH
        height, width = self.picture_bgr.shape[:2]
        return max(1, round(width * self.pixel_aspect)), height

    def _base(self, size_wh: tuple[int, int], now_s: float) -> Image:
        """The picture, the attract screen or the slate."""
        if self.slate:
            return self._draw_slate(size_wh, now_s)
        if self.picture_bgr is None or self.presentation is None:
            return np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
        canvas = letterbox(self.picture_bgr, size_wh, self.pixel_aspect)
        if self.attracts and self._attract is not None:
            return self._attract.draw(size_wh, now_s, canvas)
        if canvas is self.picture_bgr:
            canvas = canvas.copy()
        self._draw_chosen(canvas, size_wh)
        controls, status = self.presentation.controls, self.presentation.status
        is_drawn = self.presentation.drawn and controls is not None and controls.overlay.status
        if status is not None and not is_drawn:
            if not (self.has_status or self.has_details):
                status = StatusLine(notice=status.notice)  # why there are no masks is said in any case
            draw_status(canvas, status, self.has_details)
        return canvas

    def _draw_slate(self, size_wh: tuple[int, int], now_s: float) -> Image:
        """The last frame without its masks, which are not where they were, or a plain ground; dimmed, and the words."""
        if self.presentation is None:
            if self._attract is not None:
                return self._attract.draw(size_wh, now_s, None, self.slate)
            canvas = np.full((size_wh[1], size_wh[0], 3), _SLATE_GRAY, np.uint8)
        else:
            image = letterbox(self.presentation.segmented.frame.image_bgr, size_wh, self.pixel_aspect)
            canvas = np.asarray(cv2.convertScaleAbs(image, alpha=_SLATE_DIMMED), np.uint8)
        draw_banner(canvas, self.slate)
        return canvas

    def _draw_chosen(self, canvas: Image, size_wh: tuple[int, int]) -> None:
        chosen, place = self.inspector.chosen(), self._place(size_wh)
        if chosen is None or place is None or self.picture_bgr is None:
            return
        height, width = self.picture_bgr.shape[:2]
        across, down = place.width / width, place.height / height
        x1, y1, x2, y2 = chosen.box_xyxy
        box = place.x + across * x1, place.y + down * y1, place.x + across * x2, place.y + down * y2
        draw_chosen(canvas, box, chosen.text)

    def _place(self, size_wh: tuple[int, int]) -> Fit | None:
        if self.picture_bgr is None:
            return None
        height, width = self.picture_bgr.shape[:2]
        return fit((width * self.pixel_aspect, height), size_wh)
