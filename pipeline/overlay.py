"""Draws instances on a frame: masks, boxes and labels in the colour of their class or track, and a status line.

Everything is limited to an object's box: no array of the frame's size is made but the result.

Shape letters: H, W frame height and width in pixels; h, w size of an object's box inside the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.masks import box_edges, paste_mask
from pipeline.palette import ColourBgr, class_colours, text_colour, track_colour
from pipeline.records import Instances
from pipeline.settings import ColourBy, OverlaySettings

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STATUS_BACKING_BGR: ColourBgr = (32, 32, 32)
_SMALLEST_FONT_SCALE = 0.25

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StatusLine:
    """What the status line says; None leaves an entry out.

    Attributes:
        capture_fps, inference_fps, display_fps: frames a second.
        dropped: frames dropped so far.
        latency_ms: from capture to presentation, milliseconds.
        counts: objects by class, such as "2 person (5 so far)"; left out where the frame is too narrow.
    """

    capture_fps: float | None = None
    inference_fps: float | None = None
    display_fps: float | None = None
    dropped: int | None = None
    latency_ms: float | None = None
    counts: Sequence[str] = ()

    def compact(self) -> list[str]:
        """The entries as short as can be, for small frames: the three rates, the drops, the latency."""
        rates = [rate for rate in (self.capture_fps, self.inference_fps, self.display_fps) if rate is not None]
        texts = ["/".join(f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" for rate in rates) + " fps"] if rates else []
        if self.dropped is not None:
            texts.append(f"drop {self.dropped}")
        if self.latency_ms is not None:
            texts.append(f"{self.latency_ms:.0f} ms")
        return texts

    def entries(self) -> list[str]:
        """The entries in words, in the order they are drawn."""
        texts = []
        rates = (("capture", self.capture_fps), ("inference", self.inference_fps), ("display", self.display_fps))
        texts += [f"{name} {rate:.1f} fps" for name, rate in rates if rate is not None]
        if self.dropped is not None:
            texts.append(f"dropped {self.dropped}")
        if self.latency_ms is not None:
            texts.append(f"latency {self.latency_ms:.0f} ms")
        return texts + list(self.counts)


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes for one frame size: line width in pixels, font scale of cv2, text thickness in pixels."""

    line_width: int
    font_scale: float
    thickness: int


class Overlay:
    """Draws what the settings switch on.

    Args:
        settings: switches, transparency, sizes.
        labels: class names by class id; labels[0] is "BG".
    """

    def __init__(self, settings: OverlaySettings, labels: Sequence[str]) -> None:
        self._settings = settings
        self._labels = tuple(labels)
        self._colours = class_colours(max(len(labels), 1))

    def colour(self, class_id: int) -> ColourBgr:
        """The colour of a class."""
        return self._colours[class_id % len(self._colours)]

    def label(self, class_id: int, score: float, track_id: int = 0) -> str:
        """The text beside an object, such as "person: 0.998", or "person #7: 0.998" if it has a track id."""
        name = self._labels[class_id] if class_id < len(self._labels) else f"class {class_id}"
        words = [name] if self._settings.labels else []
        words += [f"#{track_id}"] if self._settings.ids and track_id > 0 else []
        parts = [" ".join(words)] if words else []
        parts += [f"{score:.3f}"] if self._settings.scores else []
        return ": ".join(parts)

    def _colour_of(self, instances: Instances, i: int) -> ColourBgr:
        track_id = _track_id(instances, i)
        if self._settings.color_by is ColourBy.TRACK and track_id > 0:
            return track_colour(track_id)
        return self.colour(int(instances.class_ids[i]))

    def draw(self, frame_bgr: Image, instances: Instances, status: StatusLine | None = None) -> Image:
        """A copy of the frame with everything drawn on it; the best score lies on top.

        Args:
            frame_bgr: uint8 (H, W, 3), not changed.
            instances: in pixels of this frame.
            status: figures of the status line; None for none.

        Returns:
            uint8 (H, W, 3), writeable, memory of its own.
        """
        canvas = np.array(frame_bgr, np.uint8, order="C")
        style = self._style(canvas.shape[0], canvas.shape[1])
        worst_first = [i for i in range(len(instances) - 1, -1, -1) if _opacity(instances, i) > 0]
        if self._settings.masks:
            for i in worst_first:
                self._draw_mask(canvas, instances, i)
        if self._settings.boxes:
            for i in worst_first:
                self._draw_box(canvas, instances, i, style)
        if self._settings.labels or self._settings.scores or self._settings.ids:
            for i in worst_first:
                self._draw_label(canvas, instances, i, style)
        if status is not None and self._settings.status:
            _draw_status(canvas, status, style)
        return canvas

    def _style(self, height: int, width: int) -> _Style:
        """Sizes that look alike at every resolution: 2-px lines from 512 to 1280 pixels of width, 1 below, 5 at 4K."""
        size = sqrt(height * width)
        line_width = self._settings.line_width or max(1, round(1.0 + size / 700))
        font_scale = self._settings.font_scale or 0.34 + 0.00043 * size
        return _Style(line_width, font_scale, _thickness(font_scale))

    def _draw_mask(self, canvas: Image, instances: Instances, i: int) -> None:
        mask, y0, x0 = paste_mask(
            instances.mask_probs[i],
            instances.boxes_xyxy[i],
            canvas.shape[0],
            canvas.shape[1],
            self._settings.mask_threshold,
        )
        if mask.size == 0:
            return
        alpha = self._settings.mask_alpha * _opacity(instances, i)
        region = canvas[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        # A plane of one colour for cv2 to blend with: filling by whole rows is the fastest way numpy knows.
        blended = np.empty(region.shape, np.uint8)
        blended[0] = self._colour_of(instances, i)
        blended[1:] = blended[:1]
        cv2.addWeighted(region, 1.0 - alpha, blended, alpha, 0.0, dst=blended)
        cv2.copyTo(blended, mask.view(np.uint8), region)

    def _draw_box(self, canvas: Image, instances: Instances, i: int, style: _Style) -> None:
        edges = box_edges(instances.boxes_xyxy[i])
        if edges is None:
            return
        x1, y1, x2, y2 = edges
        # Within the box; cv2.rectangle would make even widths one pixel wider.
        colour, line, opacity = self._colour_of(instances, i), style.line_width, _opacity(instances, i)
        inner_x1, inner_y1 = min(x1 + line, x2), min(y1 + line, y2)
        inner_x2, inner_y2 = max(x2 - line, inner_x1), max(y2 - line, inner_y1)
        for left, top, right, bottom in (
            (x1, y1, x2, inner_y1),
            (x1, inner_y2, x2, y2),
            (x1, inner_y1, inner_x1, inner_y2),
            (inner_x2, inner_y1, x2, inner_y2),
        ):
            side = canvas[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
            if opacity >= 1:
                _fill(side, colour)
            else:
                _paint(side, np.broadcast_to(np.array(colour, np.uint8), side.shape), opacity)

    def _draw_label(self, canvas: Image, instances: Instances, i: int, style: _Style) -> None:
        edges = box_edges(instances.boxes_xyxy[i])
        if edges is None or not _touches(edges, canvas.shape[0], canvas.shape[1]):
            return
        text = self.label(int(instances.class_ids[i]), float(instances.scores[i]), _track_id(instances, i))
        if not text:
            return
        colour = self._colour_of(instances, i)
        block = _text_block(text, style.font_scale, canvas.shape[1])
        # On top of the box; inside it where there is no room above.
        top = edges[1] - block.height
        _draw_block(canvas, block, edges[0], top if top >= 0 else edges[1], colour, _opacity(instances, i))


@dataclass(frozen=True, slots=True)
class _TextBlock:
    """A line of text measured for a frame: sizes in pixels, the padding around the text included."""

    text: str
    font_scale: float
    width: int
    height: int
    ascent: int
    padding: int


def _thickness(font_scale: float) -> int:
    return max(1, round(1.6 * font_scale))


@lru_cache(maxsize=1024)
def _text_block(text: str, font_scale: float, frame_width: int) -> _TextBlock:
    """Measures a line of text, made smaller where it would be wider than the frame."""
    padding = max(2, round(4 * font_scale))
    width = _text_width(text, font_scale)
    if width + 2 * padding > frame_width:
        font_scale = max(_SMALLEST_FONT_SCALE, font_scale * (frame_width - 2 * padding) / width)
        width = _text_width(text, font_scale)
    # Of the same height for every text: letters with and without descenders stand on one line.
    (_, ascent), descent = cv2.getTextSize("Ag|", _FONT, font_scale, _thickness(font_scale))
    height = ascent + descent + padding
    return _TextBlock(text, font_scale, width + 2 * padding, height, ascent + (padding + 1) // 2, padding)


def _text_width(text: str, font_scale: float) -> int:
    return int(cv2.getTextSize(text, _FONT, font_scale, _thickness(font_scale))[0][0])


def _draw_block(
    canvas: Image, block: _TextBlock, x: int, y: int, backing_bgr: ColourBgr, opacity: float = 1.0
) -> None:
    """Draws text on its backing with its top left corner near (x, y), moved inside the frame."""
    height, width = canvas.shape[:2]
    x = max(0, min(x, width - block.width))
    y = max(0, min(y, height - block.height))
    region = canvas[y : y + block.height, x : x + block.width]
    drawn = region if opacity >= 1 else np.empty(region.shape, np.uint8)
    _fill(drawn, backing_bgr)
    colour, thickness = text_colour(backing_bgr), _thickness(block.font_scale)
    origin = (block.padding, block.ascent)
    cv2.putText(drawn, block.text, origin, _FONT, block.font_scale, colour, thickness, cv2.LINE_AA)
    if opacity < 1:
        _paint(region, drawn, opacity)


def _fill(region: Image, colour_bgr: ColourBgr) -> None:
    """Gives a part of the canvas one colour, in place."""
    if region.size:
        cv2.rectangle(region, (0, 0), (region.shape[1] - 1, region.shape[0] - 1), colour_bgr, cv2.FILLED)


def _paint(region: Image, drawn: Image, opacity: float) -> None:
    """Lays `drawn` over a part of the canvas of the same size, in place, with an opacity below 1."""
    if region.size:
        region[:] = cv2.addWeighted(region, 1.0 - opacity, np.ascontiguousarray(drawn), opacity, 0.0)


def _track_id(instances: Instances, i: int) -> int:
    return 0 if instances.track_ids is None else int(instances.track_ids[i])


def _opacity(instances: Instances, i: int) -> float:
    return 1.0 if instances.opacity is None else float(instances.opacity[i])


def _draw_status(canvas: Image, status: StatusLine, style: _Style) -> None:
    """Draws the status line at the bottom left, shortened where the frame is too narrow for words."""
    font_scale = max(0.36, 0.8 * style.font_scale)
    wordings = (status.entries(), [*status.compact(), *status.counts], status.compact())
    texts = [" | ".join(wording) for wording in wordings]
    if not texts[0]:
        return
    text = next((text for text in texts if _text_width(text, font_scale) + 8 <= canvas.shape[1]), texts[-1])
    block = _text_block(text, font_scale, canvas.shape[1])
    _draw_block(canvas, block, 0, canvas.shape[0] - block.height, _STATUS_BACKING_BGR)


def draw_banner(canvas: Image, text: str) -> None:
    """Writes one line in the middle of an image, in place: white on a dark backing ("camera 0 is gone …")."""
    height, width = canvas.shape[:2]
    block = _text_block(text, 0.5 + 0.0005 * sqrt(height * width), width)
    _draw_block(canvas, block, (width - block.width) // 2, (height - block.height) // 2, _STATUS_BACKING_BGR)


def _touches(edges: tuple[int, int, int, int], height: int, width: int) -> bool:
    x1, y1, x2, y2 = edges
    return x1 < width and y1 < height and x2 > 0 and y2 > 0
