"""Colors of objects, the same in every run, and of text."""

from __future__ import annotations

import colorsys
import random

ColorBgr = tuple[int, int, int]
"""Blue, green, red, each 0 … 255."""

BLACK: ColorBgr = (0, 0, 0)
WHITE: ColorBgr = (255, 255, 255)
TEXT_BACKGROUND: ColorBgr = (32, 32, 32)
INK: ColorBgr = (12, 10, 8)
"""Text on the colors of the palette: nearly black, with a contrast of at least 7 to 1 on each of them."""

_HEX_COLORS = (
    *("#5cd0ff", "#f57a02", "#ae89fe", "#2ebd7d", "#c2cc06", "#f69ccc"),
    *("#df72d9", "#d5ad4b", "#97d48e", "#f38e82", "#92affe", "#1fc7c3"),
)


def parse_color(text: str) -> ColorBgr:
    """The color of "#rrggbb"."""
    red, green, blue = (int(text[start : start + 2], 16) for start in (1, 3, 5))
    return blue, green, red


PALETTE: tuple[ColorBgr, ...] = tuple(map(parse_color, _HEX_COLORS))
"""Twelve hues of nearly equal lightness: OKLab (Ottosson 2020) lightness 0.71 … 0.81, chroma 0.115 … 0.185, hues at
least 17 degrees apart.

Simulated annealing within these bounds maximized the least OKLab distance between two of them, for normal vision and as
protanopes, deuteranopes and tritanopes see them (Machado, Oliveira, Fernandes 2009, severity 1): 0.094 and 0.051. They
are sorted so that the first ones differ most: each color has the largest distance from all before it.
"""


def tutorial_colors(count: int) -> list[ColorBgr]:
    """The tutorial's colors for `count` classes, by class id: full hues, shuffled so that neighbors differ."""
    colors = []
    for index in range(count):
        red, green, blue = colorsys.hsv_to_rgb(index / count, 1.0, 1.0)
        colors.append((int(blue * 255), int(green * 255), int(red * 255)))
    random.Random(42).shuffle(colors)
    return colors


def text_color(background_bgr: ColorBgr) -> ColorBgr:
    """The ink or white, whichever has more contrast with the background."""
    blue, green, red = background_bgr
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    return INK if luma >= 128 else WHITE
