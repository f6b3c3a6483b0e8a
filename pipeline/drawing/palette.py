"""Colors of classes and tracks, the same in every run; font and text background."""

from __future__ import annotations

import colorsys
import random

import cv2

ColorBgr = tuple[int, int, int]
"""Blue, green, red, each 0 … 255."""

BLACK: ColorBgr = (0, 0, 0)
WHITE: ColorBgr = (255, 255, 255)
TEXT_BACKGROUND: ColorBgr = (32, 32, 32)
FONT = cv2.FONT_HERSHEY_SIMPLEX

_GOLDEN_RATIO = (5**0.5 - 1) / 2
_SHADES = ((1.0, 1.0), (0.55, 1.0), (1.0, 0.7))
_SHUFFLE_SEED = 42  # the seed of the tutorial that this program started from


def class_colors(count: int) -> list[ColorBgr]:
    """Colors for `count` classes, by class id: full hues spread evenly, then shuffled so that neighbors differ."""
    colors = []
    for index in range(count):
        red, green, blue = colorsys.hsv_to_rgb(index / count, 1.0, 1.0)
        colors.append((round(blue * 255), round(green * 255), round(red * 255)))
    random.Random(_SHUFFLE_SEED).shuffle(colors)
    return colors


def track_color(track_id: int) -> ColorBgr:
    """The color of a track: hues a golden ratio apart, so that consecutive ids differ clearly."""
    hue = track_id * _GOLDEN_RATIO % 1.0
    saturation, value = _SHADES[track_id % len(_SHADES)]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(blue * 255), round(green * 255), round(red * 255))


def parse_color(text: str) -> ColorBgr:
    """The color of "#rrggbb"."""
    red, green, blue = (int(text[start : start + 2], 16) for start in (1, 3, 5))
    return blue, green, red


def text_color(background_bgr: ColorBgr) -> ColorBgr:
    """Black or white, whichever has more contrast with the background."""
    blue, green, red = background_bgr
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    return BLACK if luma >= 128 else WHITE
