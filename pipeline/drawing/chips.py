"""Draws lines of text on rounded, semi-transparent chips."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.palette import TEXT_BACKGROUND, ColorBgr, text_color
from pipeline.drawing.text import ASCENT, DESCENT, render_text, text_width

Image = NDArray[np.uint8]

_OPACITY = 0.86
_SIDE_PADDING, _RADIUS = 0.36, 0.3
"""Relative to the text size."""
MIN_TEXT_SIZE, MAX_TEXT_SIZE = 10.0, 40.0
_BASE_SIZE, _SIDE_PER_PIXEL = 5.0, 57.0
"""The text size in pixels is the first, plus the frame's shorter side over the second, within its limits."""


@dataclass(frozen=True, slots=True, eq=False)
class _Chip:
    """A rendered chip.

    Attributes:
        premultiplied_bgr: uint8 (h, w, 3), colors times opacity.
        rest: uint8 (h, w, 3), 255 minus opacity: what remains of the background.
    """

    premultiplied_bgr: Image
    rest: Image


def text_size(height: int, width: int) -> float:
    """Pixels to the em that suit a frame: 10 at 176x144, 11.5 at 640x360, 24 at 1080p, 40 at 4K."""
    size = _BASE_SIZE + min(height, width) / _SIDE_PER_PIXEL
    return min(MAX_TEXT_SIZE, max(MIN_TEXT_SIZE, round(2 * size) / 2))


def chip_size(text: str, size: float) -> tuple[int, int]:
    """Width and height of a chip in pixels. The height depends on the text only in scripts with tall letters."""
    padding = 2 * _padding(size)
    if text.isascii():
        return text_width(text, size) + padding, ceil(ASCENT * size) + ceil(DESCENT * size)
    height, width = render_text(text, size).coverage.shape
    return width + padding, height


def draw_chip(
    canvas: Image, text: str, at: tuple[int, int], size: float, background_bgr: ColorBgr, opacity: float = 1.0
) -> None:
    """Draws a chip with its upper left corner at `at` (x, y), cropped to the canvas, in place; none without text.

    Args:
        canvas: uint8 (H, W, 3).
        text: one line.
        at: pixels.
        size: pixels to the em.
        background_bgr: color of the chip; the text is dark or light, whichever has more contrast.
        opacity: 0 … 1, of chip and text.
    """
    if not text:
        return
    chip = _chip(text, size, background_bgr)
    chip_height, chip_width = chip.rest.shape[:2]
    left, top = max(0, -at[0]), max(0, -at[1])
    region = canvas[at[1] + top : at[1] + chip_height, at[0] + left : at[0] + chip_width]
    if region.size == 0:
        return
    part = slice(top, top + region.shape[0]), slice(left, left + region.shape[1])
    if opacity >= 1:
        cv2.add(cv2.multiply(region, chip.rest[part], scale=1 / 255), chip.premultiplied_bgr[part], dst=region)
    else:
        drawn = cv2.add(cv2.multiply(region, chip.rest[part], scale=1 / 255), chip.premultiplied_bgr[part])
        region[:] = cv2.addWeighted(region, 1.0 - opacity, drawn, opacity, 0.0)


def draw_chip_inside(canvas: Image, text: str, at: tuple[int, int], size: float, background_bgr: ColorBgr) -> None:
    """`draw_chip`, with the text made smaller and moved until the chip lies inside the canvas where it can."""
    if not text:
        return
    height, width = canvas.shape[:2]
    size = _fitting(size, chip_size(text, size)[0], width)
    chip_width, chip_height = chip_size(text, size)
    x, y = max(0, min(at[0], width - chip_width)), max(0, min(at[1], height - chip_height))
    draw_chip(canvas, text, (x, y), size, background_bgr)


def draw_banner(canvas: Image, text: str) -> None:
    """Writes one line in the middle of an image, in place: white on dark ("camera 0 is gone …")."""
    height, width = canvas.shape[:2]
    size = max(14.0, min(height, width) / 18)
    size = _fitting(size, chip_size(text, size)[0], width)
    chip_width, chip_height = chip_size(text, size)
    draw_chip(canvas, text, ((width - chip_width) // 2, (height - chip_height) // 2), size, TEXT_BACKGROUND)


def _fitting(size: float, chip_width: int, width: int) -> float:
    """The text size, or a smaller one in which the chip is at most `width` pixels wide, but at least 6 pixels."""
    return size if chip_width <= width else max(6.0, size * width / chip_width - 0.5)


def _padding(size: float) -> int:
    return max(2, round(_SIDE_PADDING * size))


@lru_cache(maxsize=256)  # most labels stay the same from frame to frame
def _chip(text: str, size: float, background_bgr: ColorBgr) -> _Chip:
    line = render_text(text, size)
    padding = _padding(size)
    letters = cv2.copyMakeBorder(line.coverage, 0, 0, padding, padding, cv2.BORDER_CONSTANT, value=0)
    ink = letters[:, :, None].astype(np.float32) / 255
    ground = _OPACITY * rounded_rectangle(letters.shape, _RADIUS * size)[:, :, None]
    weight = ink + ground * (1 - ink)  # Porter and Duff's "over"
    colors = ink * np.array(text_color(background_bgr), np.float32) + (1 - ink) * ground * np.array(
        background_bgr, np.float32
    )
    if line.emoji_bgra is not None:
        emoji = cv2.copyMakeBorder(line.emoji_bgra, 0, 0, padding, padding, cv2.BORDER_CONSTANT, value=0)
        alpha = emoji[:, :, 3:].astype(np.float32) / 255
        colors = emoji[:, :, :3] + (1 - alpha) * colors
        weight = alpha + (1 - alpha) * weight
    rest = np.repeat(255 * (1 - weight), 3, axis=2)
    # Rounded down, so that both add up to at most 255.
    return _Chip(np.floor(colors).astype(np.uint8), np.round(rest).astype(np.uint8))


def rounded_rectangle(size_hw: tuple[int, ...], radius: float) -> NDArray[np.float32]:
    """float32 (height, width): how much of each pixel a rectangle with rounded corners covers."""
    height, width = size_hw
    radius = min(radius, height / 2, width / 2)
    y = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    x = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    outside = np.hypot(np.maximum(y, 0)[:, None], np.maximum(x, 0)[None, :])
    return np.asarray(np.clip(radius - outside + 0.5, 0, 1), np.float32)
