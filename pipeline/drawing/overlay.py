"""Draws instances on a frame: masks, boxes and labels in the color of their class or track, and a status line.

Drawing works inside each object's box: the only array of the frame's size is the result.

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

from pipeline.drawing.masks import box_edges, paste_mask_at
from pipeline.drawing.palette import FONT, TEXT_BACKGROUND, ColorBgr, class_colors, text_color, track_color
from pipeline.labels import class_name
from pipeline.records import Instances
from pipeline.settings.output_settings import ColorBy, OverlaySettings

_MIN_FONT_SCALE = 0.25

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class StatusLine:
    """Entries of the status line; those that are None are left out.

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
        """Abbreviated entries for small frames: the three rates, the drops, the latency."""
        rates = [rate for rate in (self.capture_fps, self.inference_fps, self.display_fps) if rate is not None]
        texts = ["/".join(f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}" for rate in rates) + " fps"] if rates else []
        if self.dropped is not None:
            texts.append(f"drop {self.dropped}")
        if self.latency_ms is not None:
            texts.append(f"{self.latency_ms:.0f} ms")
        return texts

    def entries(self) -> list[str]:
        """The entries, in the order in which they are drawn."""
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
    """Sizes for one frame size: line width in pixels, cv2 font scale, text thickness in pixels."""

    line_width: int
    font_scale: float
    thickness: int


@dataclass(slots=True)
class _DrawItem:
    """One instance to draw; `edges` from `box_edges`, `mask_probs` float32 (M, M)."""

    edges: tuple[int, int, int, int] | None
    mask_probs: NDArray[np.float32]
    class_id: int
    score: float
    track_id: int
    opacity: float
    color: ColorBgr


class Overlay:
    """Draws the elements that the settings enable.

    Args:
        settings: switches, transparency, sizes.
        labels: class names by class id; labels[0] is "BG".
    """

    def __init__(self, settings: OverlaySettings, labels: Sequence[str]) -> None:
        self._settings = settings
        self._labels = tuple(labels)
        self._colors = class_colors(max(len(labels), 1))

    def color(self, class_id: int) -> ColorBgr:
        """The color of a class."""
        return self._colors[class_id % len(self._colors)]

    def label(self, class_id: int, score: float, track_id: int = 0) -> str:
        """The label of an object, such as "person: 0.998", or "person #7: 0.998" with a track id."""
        name = class_name(class_id, self._labels)
        words = [name] if self._settings.labels else []
        words += [f"#{track_id}"] if self._settings.ids and track_id > 0 else []
        parts = [" ".join(words)] if words else []
        parts += [f"{score:.3f}"] if self._settings.scores else []
        return ": ".join(parts)

    def _items(self, instances: Instances) -> list[_DrawItem]:
        """The instances as plain Python numbers, which are faster to read than array elements."""
        count = len(instances)
        items = []
        for i, (class_id, score, track_id, opacity) in enumerate(
            zip(
                instances.class_ids.tolist(),
                instances.scores.tolist(),
                [0] * count if instances.track_ids is None else instances.track_ids.tolist(),
                [1.0] * count if instances.opacity is None else instances.opacity.tolist(),
                strict=True,
            )
        ):
            by_track = self._settings.color_by is ColorBy.TRACK and track_id > 0
            color = track_color(track_id) if by_track else self.color(class_id)
            edges = box_edges(instances.boxes_xyxy[i])
            items.append(_DrawItem(edges, instances.mask_probs[i], class_id, score, track_id, opacity, color))
        return items

    def draw(self, frame_bgr: Image, instances: Instances, status: StatusLine | None = None) -> Image:
        """Draws everything on a copy of the frame, the best score on top.

        Args:
            frame_bgr: uint8 (H, W, 3), not changed.
            instances: in pixels of this frame.
            status: entries of the status line; None for no line.

        Returns:
            uint8 (H, W, 3), a new writeable array.
        """
        canvas = np.array(frame_bgr, np.uint8, order="C")
        style = self._style(canvas.shape[0], canvas.shape[1])
        worst_first = [item for item in reversed(self._items(instances)) if item.opacity > 0]
        if self._settings.masks:
            for item in worst_first:
                self._draw_mask(canvas, item)
        if self._settings.boxes:
            for item in worst_first:
                _draw_box(canvas, item, style.line_width)
        if self._settings.labels or self._settings.scores or self._settings.ids:
            for item in worst_first:
                self._draw_label(canvas, item, style)
        if status is not None and self._settings.status:
            _draw_status(canvas, status, style)
        return canvas

    def _style(self, height: int, width: int) -> _Style:
        """Sizes that suit the resolution: lines are 2 pixels wide for widths of 512 to 1280, 1 below, 5 at 4K."""
        size = sqrt(height * width)
        line_width = self._settings.line_width or max(1, round(1.0 + size / 700))
        font_scale = self._settings.font_scale or 0.34 + 0.00043 * size
        return _Style(line_width, font_scale, _thickness(font_scale))

    def _draw_mask(self, canvas: Image, item: _DrawItem) -> None:
        if item.edges is None:
            return
        height, width = canvas.shape[:2]
        mask, y0, x0 = paste_mask_at(item.mask_probs, item.edges, height, width, self._settings.mask_threshold)
        if mask.size == 0:
            return
        alpha = self._settings.mask_alpha * item.opacity
        region = canvas[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        # cv2 blends with a plane of one color; filling it by whole rows is the fastest way in numpy.
        blended = np.empty(region.shape, np.uint8)
        blended[0] = item.color
        blended[1:] = blended[:1]
        cv2.addWeighted(region, 1.0 - alpha, blended, alpha, 0.0, dst=blended)
        cv2.copyTo(blended, mask.view(np.uint8), region)

    def _draw_label(self, canvas: Image, item: _DrawItem, style: _Style) -> None:
        if item.edges is None or not _touches(item.edges, canvas.shape[0], canvas.shape[1]):
            return
        text = self.label(item.class_id, item.score, item.track_id)
        if not text:
            return
        block = _text_block(text, style.font_scale, canvas.shape[1])
        # Above the box, or inside it where there is no room above.
        x, y = item.edges[0], item.edges[1] - block.height
        _paste(canvas, _cached_text(block, item.color), x, y if y >= 0 else item.edges[1], item.opacity)


def _draw_box(canvas: Image, item: _DrawItem, line: int) -> None:
    """Draws the sides of a box, `line` pixels wide, within it."""
    if item.edges is None or not _touches(item.edges, canvas.shape[0], canvas.shape[1]):
        return
    x1, y1, x2, y2 = item.edges
    if item.opacity >= 1 and min(x2 - x1, y2 - y1) > 2 * line:
        # Nested rectangles one pixel wide, since cv2 centers wider lines on the edge. Edges far outside the frame are
        # clamped to its surroundings, where cv2 does not overflow.
        x1, y1 = max(x1, -line), max(y1, -line)
        x2, y2 = min(x2, canvas.shape[1] + line), min(y2, canvas.shape[0] + line)
        for k in range(line):
            cv2.rectangle(canvas, (x1 + k, y1 + k), (x2 - 1 - k, y2 - 1 - k), item.color, 1)
        return
    inner_x1, inner_y1 = min(x1 + line, x2), min(y1 + line, y2)
    inner_x2, inner_y2 = max(x2 - line, inner_x1), max(y2 - line, inner_y1)
    for left, top, right, bottom in (
        (x1, y1, x2, inner_y1),
        (x1, inner_y2, x2, y2),
        (x1, inner_y1, inner_x1, inner_y2),
        (inner_x2, inner_y1, x2, inner_y2),
    ):
        side = canvas[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if item.opacity >= 1:
            _fill(side, item.color)
        else:
            _blend(side, np.broadcast_to(np.array(item.color, np.uint8), side.shape), item.opacity)


@dataclass(frozen=True, slots=True)
class _TextBlock:
    """A measured line of text: sizes in pixels, including the padding."""

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
    """Measures a line of text, and shrinks it if it is wider than the frame."""
    padding = max(2, round(4 * font_scale))
    width = _text_width(text, font_scale)
    if width + 2 * padding > frame_width:
        font_scale = max(_MIN_FONT_SCALE, font_scale * (frame_width - 2 * padding) / width)
        width = _text_width(text, font_scale)
    # The height does not depend on the text, so that labels with and without descenders share a baseline.
    ascent, descent = _line_size(font_scale)
    height = ascent + descent + padding
    return _TextBlock(text, font_scale, width + 2 * padding, height, ascent + (padding + 1) // 2, padding)


@lru_cache(maxsize=64)
def _line_size(font_scale: float) -> tuple[int, int]:
    """Pixels above and below the baseline."""
    (_, ascent), descent = cv2.getTextSize("Ag|", FONT, font_scale, _thickness(font_scale))
    return ascent, descent


@lru_cache(maxsize=256)
def _text_width(text: str, font_scale: float) -> int:
    return int(cv2.getTextSize(text, FONT, font_scale, _thickness(font_scale))[0][0])


def _render_text(block: _TextBlock, background_bgr: ColorBgr) -> Image:
    """uint8 (h, w, 3): the text on its background."""
    image = np.empty((block.height, block.width, 3), np.uint8)
    _fill(image, background_bgr)
    color, thickness = text_color(background_bgr), _thickness(block.font_scale)
    origin = (block.padding, block.ascent)
    cv2.putText(image, block.text, origin, FONT, block.font_scale, color, thickness, cv2.LINE_AA)
    return image


_cached_text = lru_cache(maxsize=128)(_render_text)
"""Most labels stay the same from frame to frame."""
_cached_status = lru_cache(maxsize=2)(_render_text)


def _paste(canvas: Image, image: Image, x: int, y: int, opacity: float = 1.0) -> None:
    """Pastes an image at (x, y), moved inside the canvas and cropped to it."""
    height, width = canvas.shape[:2]
    x = max(0, min(x, width - image.shape[1]))
    y = max(0, min(y, height - image.shape[0]))
    region = canvas[y : y + image.shape[0], x : x + image.shape[1]]
    image = image[: region.shape[0], : region.shape[1]]
    if opacity >= 1:
        region[:] = image
    else:
        _blend(region, image, opacity)


def _fill(region: Image, color_bgr: ColorBgr) -> None:
    """Fills a region of the canvas with one color, in place."""
    if region.size:
        cv2.rectangle(region, (0, 0), (region.shape[1] - 1, region.shape[0] - 1), color_bgr, cv2.FILLED)


def _blend(region: Image, image: Image, opacity: float) -> None:
    """Blends an image of the same size into a region of the canvas, in place."""
    if region.size:
        region[:] = cv2.addWeighted(region, 1.0 - opacity, np.ascontiguousarray(image), opacity, 0.0)


def _draw_status(canvas: Image, status: StatusLine, style: _Style) -> None:
    """Draws the status line at the bottom left, abbreviated where the frame is narrow."""
    font_scale = max(0.36, 0.8 * style.font_scale)
    wordings = (status.entries(), [*status.compact(), *status.counts], status.compact())
    texts = [" | ".join(wording) for wording in wordings]
    if not texts[0]:
        return
    text = next((text for text in texts if _text_width(text, font_scale) + 8 <= canvas.shape[1]), texts[-1])
    block = _text_block(text, font_scale, canvas.shape[1])
    _paste(canvas, _cached_status(block, TEXT_BACKGROUND), 0, canvas.shape[0] - block.height)


def draw_banner(canvas: Image, text: str) -> None:
    """Writes one line in the middle of an image, in place: white on dark ("camera 0 is gone …")."""
    height, width = canvas.shape[:2]
    block = _text_block(text, 0.5 + 0.0005 * sqrt(height * width), width)
    _paste(canvas, _render_text(block, TEXT_BACKGROUND), (width - block.width) // 2, (height - block.height) // 2)


def _touches(edges: tuple[int, int, int, int], height: int, width: int) -> bool:
    x1, y1, x2, y2 = edges
    return x1 < width and y1 < height and x2 > 0 and y2 > 0
