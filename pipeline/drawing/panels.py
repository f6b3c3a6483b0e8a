"""What a window draws over its picture: keys, notes, the chosen object, titles. In pixels of the window, in place."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import chip_size, draw_chip_inside, rounded_rectangle, text_size
from pipeline.drawing.palette import BLACK, TEXT_BACKGROUND, WHITE, ColorBgr
from pipeline.drawing.text import ASCENT, DESCENT, render_text, text_width

Image = NDArray[np.uint8]

RECORDING_BGR: ColorBgr = (40, 40, 210)
_KEY_BGR: ColorBgr = (255, 208, 92)
"""The first color of the palette, in which keys are set."""
_SHADE = 0.82
"""Opacity of panels."""
_TITLE_LINES = 3
_TITLE_WIDTH = 0.92
"""Share of the canvas's width that a title takes at most."""


def draw_note(canvas: Image, text: str) -> None:
    """Draws one line at the top in the middle ("paused")."""
    height, width = canvas.shape[:2]
    size = text_size(height, width)
    draw_chip_inside(canvas, text, ((width - chip_size(text, size)[0]) // 2, round(0.4 * size)), size, TEXT_BACKGROUND)


def draw_recording(canvas: Image) -> None:
    """Draws the sign of a recording at the top right."""
    height, width = canvas.shape[:2]
    size = text_size(height, width)
    margin, text = round(0.4 * size), "● recording"
    draw_chip_inside(canvas, text, (width - margin - chip_size(text, size)[0], margin), size, RECORDING_BGR)


def draw_chosen(canvas: Image, box_xyxy: tuple[float, float, float, float], text: str) -> None:
    """Frames an object, and describes it below.

    Args:
        canvas: uint8 (H, W, 3).
        box_xyxy: pixels of the canvas.
        text: one line.
    """
    height, width = canvas.shape[:2]
    size = text_size(height, width)
    x1, y1, x2, y2 = (round(edge) for edge in box_xyxy)
    line = max(1, round(size / 10))
    for thickness, color in ((line + 2, TEXT_BACKGROUND), (line, WHITE)):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness)
    draw_chip_inside(canvas, text, ((x1 + x2 - chip_size(text, size)[0]) // 2, y2 + line + 1), size, TEXT_BACKGROUND)


def draw_keys(canvas: Image, rows: Sequence[tuple[str, str]]) -> None:
    """Draws a list of keys in the middle, smaller where it does not fit.

    Args:
        canvas: uint8 (H, W, 3).
        rows: key and what it does.
    """
    height, width = canvas.shape[:2]
    keys, texts = zip(*rows, strict=True)
    size = 1.15 * text_size(height, width)
    while True:
        keys_width = _widest(keys, size)
        panel_width = keys_width + _widest(texts, size) + round(2.9 * size)
        panel_wh = panel_width, len(rows) * _row_height(size) + round(1.4 * size)
        if size <= 6 or (panel_wh[0] <= 0.96 * width and panel_wh[1] <= 0.96 * height):
            break
        size -= 0.5
    x, y = (width - panel_wh[0]) // 2, (height - panel_wh[1]) // 2
    _shade(canvas, (x, y), panel_wh, 0.6 * size)
    x, y = x + round(size), y + round(0.7 * size)
    for key, text in rows:
        write(canvas, key, (x + keys_width - text_width(key, size), y), size, _KEY_BGR)
        write(canvas, text, (x + keys_width + round(0.9 * size), y), size, WHITE)
        y += _row_height(size)


def draw_title(canvas: Image, text: str, center_y: float) -> None:
    """Draws text of a tenth of the canvas's height, in up to three lines and smaller where it does not fit.

    Args:
        canvas: uint8 (H, W, 3).
        text: may have lines of its own.
        center_y: row of its middle, pixels.
    """
    height, width = canvas.shape[:2]
    size = height / 10
    lines = wrapped(text, size, _TITLE_WIDTH * width - size)
    while len(lines) > max(_TITLE_LINES, text.count("\n") + 1) or _widest(lines, size) > _TITLE_WIDTH * width - size:
        size *= 0.95
        lines = wrapped(text, size, _TITLE_WIDTH * width - size)
        if size < 8:
            break
    if not any(lines):
        return
    # Balance the lines, so that no word is left alone in the last one. A word that fills a line cannot be broken.
    narrower = lines
    while len(narrower) == len(lines):
        lines, widest = narrower, _widest(narrower, size)
        narrower = wrapped(text, size, widest - 1)
        if _widest(narrower, size) >= widest:
            break
    panel_wh = _widest(lines, size) + round(size), len(lines) * _row_height(size) + round(0.5 * size)
    x, y = (width - panel_wh[0]) // 2, round(center_y - panel_wh[1] / 2)
    _shade(canvas, (x, y), panel_wh, 0.35 * size, 0.5, BLACK)
    y += round(0.25 * size + (_row_height(size) - (ASCENT + DESCENT) * size) / 2)
    for i, line in enumerate(lines):
        write(canvas, line, ((width - text_width(line, size)) // 2, y + i * _row_height(size)), size, WHITE)


def wrapped(text: str, size: float, width: float) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces; a longer word has a line of its own."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, size) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def write(canvas: Image, text: str, at: tuple[int, int], size: float, color_bgr: ColorBgr) -> None:
    """Writes a line with its upper left corner at `at` (x, y), cropped to the canvas."""
    if not text:
        return
    line = render_text(text, size)
    region, part = _overlap(canvas, at, line.coverage.shape)
    if region.size == 0:
        return
    ink = line.coverage[part][:, :, None].astype(np.float32) / 255
    drawn = region.astype(np.float32) * (1 - ink) + ink * np.array(color_bgr, np.float32)
    if line.emoji_bgra is not None:
        emoji = line.emoji_bgra[part].astype(np.float32)
        drawn = emoji[:, :, :3] + (1 - emoji[:, :, 3:] / 255) * drawn
    region[:] = np.round(drawn).astype(np.uint8)


def _shade(
    canvas: Image,
    at: tuple[int, int],
    size_wh: tuple[int, int],
    radius: float,
    opacity: float = _SHADE,
    color_bgr: ColorBgr = TEXT_BACKGROUND,
) -> None:
    """Darkens a rounded rectangle."""
    region, part = _overlap(canvas, at, (size_wh[1], size_wh[0]))
    if region.size == 0:
        return
    alpha = opacity * rounded_rectangle((size_wh[1], size_wh[0]), radius)[part]
    plane = np.empty_like(region)
    plane[:] = color_bgr
    region[:] = cv2.blendLinear(np.ascontiguousarray(region), plane, 1 - alpha, alpha)


def _overlap(canvas: Image, at: tuple[int, int], size_hw: tuple[int, ...]) -> tuple[Image, tuple[slice, slice]]:
    """The part of the canvas that a picture at `at` covers, and the part of the picture that lies on the canvas."""
    left, top = max(0, -at[0]), max(0, -at[1])
    region = canvas[at[1] + top : max(0, at[1] + size_hw[0]), at[0] + left : max(0, at[0] + size_hw[1])]
    return region, (slice(top, top + region.shape[0]), slice(left, left + region.shape[1]))


def _row_height(size: float) -> int:
    return round(1.45 * size)


def _widest(lines: Sequence[str], size: float) -> int:
    return max(text_width(line, size) for line in lines)
