"""Shapes and rasterizes single lines of text in any script: HarfBuzz for the glyphs, python-bidi for their direction.

`fonts/labels.ttc` holds Inter (Latin, Greek, Cyrillic) and Noto Sans for Arabic, Hebrew, Devanagari, Bengali, Tamil and
Thai; other characters come from the fonts of the system.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor

import cv2
import numpy as np
import uharfbuzz as hb
from bidi import algorithm as bidi
from numpy.typing import NDArray

from pipeline.drawing.font_faces import FontFaces, faces_of_this_machine

ASCENT, DESCENT = 0.97, 0.25
"""Of Inter, relative to the size: the least height of a line above and below the baseline."""
_UNITS = 64
"""HarfBuzz positions glyphs in whole units: this many to a pixel."""
_MARGIN = 1
"""Pixels on both sides of a line, since letters may protrude."""
_FEATURES = {"tnum": True}
"""Digits of equal width, so that labels keep their width while a number in them changes."""
_EMOJI_SELECTOR = "\ufe0f"
_JOINERS = "\u200d\u200c"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_WITHOUT_LEVEL = ("BN", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Bidirectional types of joiners, embeddings, overrides and isolates. python-bidi drops the first ones, and refuses
isolates."""


@dataclass(frozen=True, slots=True, eq=False)
class TextImage:
    """A rasterized line of text.

    Attributes:
        coverage: uint8 (h, w): how much of each pixel a letter covers.
        baseline: row of the baseline.
        emoji_bgra: uint8 (h, w, 4), colors premultiplied by alpha: glyphs with colors of their own; None without any.
    """

    coverage: NDArray[np.uint8]
    baseline: int
    emoji_bgra: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """Characters of one font and direction."""

    text: str
    face: hb.Face
    level: int


@dataclass(frozen=True, slots=True)
class _Glyph:
    """A glyph at its place: pixels to the right of the line's start and above the baseline."""

    font: hb.Font
    id: int
    x: float
    y: float


@lru_cache(maxsize=1024)
def text_width(text: str, size: float, faces: FontFaces | None = None) -> int:
    """Width of a rendered line in pixels.

    Args:
        text: one line.
        size: pixels to the em.
        faces: the fonts; None for those of this machine.
    """
    return ceil(_shape(_printable(text), size, faces)[1]) + 2 * _MARGIN


@lru_cache(maxsize=512)  # most labels stay the same from frame to frame
def render_text(text: str, size: float, faces: FontFaces | None = None) -> TextImage:
    """Rasterizes a line of text; `coverage` is `text_width` wide and must not be changed.

    Args:
        text: one line; a character that no font has is drawn as a box, and logged once for its script.
        size: pixels to the em.
        faces: the fonts; None for those of this machine.
    """
    glyphs, advance = _shape(_printable(text), size, faces)
    width = ceil(advance) + 2 * _MARGIN
    above, below = ceil(ASCENT * size), ceil(DESCENT * size)
    colored = [glyph for glyph in glyphs if _has_color(glyph)]
    ink = _rasterize([glyph for glyph in glyphs if glyph not in colored])
    if ink is not None:
        pixels, _, top = ink
        above, below = max(above, top), max(below, pixels.shape[0] - top)
    coverage = np.zeros((above + below, width), np.uint8)
    if ink is not None:
        pixels, left, top = ink
        _place(coverage, pixels, _MARGIN + left, above - top)
    if not colored:
        return TextImage(coverage, above)
    emoji = np.zeros((above + below, width, 4), np.uint8)
    for glyph in colored:
        picture = _picture(glyph)
        if picture is not None:
            pixels, left, top = picture
            _place(emoji, pixels, _MARGIN + left, above - top)
    return TextImage(coverage, above, emoji)


def _printable(text: str) -> str:
    return "".join(" " if unicodedata.category(char) == "Cc" else char for char in text)


def _shape(text: str, size: float, faces: FontFaces | None) -> tuple[list[_Glyph], float]:
    """The glyphs of a line, and its width in pixels."""
    glyphs: list[_Glyph] = []
    x = 0.0
    for run in _visual_order(_runs(text, faces or faces_of_this_machine())):
        font = hb.Font(run.face)
        font.scale = (round(size * _UNITS), round(size * _UNITS))
        buffer = hb.Buffer()
        buffer.add_str(run.text)
        buffer.guess_segment_properties()
        buffer.direction = "rtl" if run.level % 2 else "ltr"
        hb.shape(font, buffer, _FEATURES)
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            left, up = x + position.x_offset / _UNITS, position.y_offset / _UNITS
            glyphs.append(_Glyph(font, info.codepoint, left, up))
            x += position.x_advance / _UNITS
    return glyphs, x


def _runs(text: str, faces: FontFaces) -> list[_Run]:
    """Splits a line where font or direction change, in logical order."""
    levels = _levels(text)
    runs: list[_Run] = []
    face: hb.Face | None = None
    for i, char in enumerate(text):
        joins = i > 0 and (_extends(char) or text[i - 1] == _JOINERS[0])
        if face is None or not joins:
            face = faces.face_for(char, text[i + 1 : i + 2] == _EMOJI_SELECTOR)
        if runs and runs[-1].face is face and runs[-1].level == levels[i]:
            runs[-1] = _Run(runs[-1].text + char, face, levels[i])
        else:
            runs.append(_Run(char, face, levels[i]))
    return runs


def _extends(char: str) -> bool:
    """Whether a character belongs to the one before: a combining mark, a joiner, a skin tone."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf") or ord(char) in _SKIN_TONES


def _levels(text: str) -> list[int]:
    """The embedding level of each character (Unicode Standard Annex 9): odd from right to left."""
    if not any(unicodedata.bidirectional(char) in ("R", "AL", "AN", "RLE", "RLO") for char in text):
        return [0] * len(text)
    storage = bidi.get_empty_storage()
    storage["base_level"] = base_level = bidi.get_base_level(text)
    storage["base_dir"] = "LR"[base_level]
    kept = [unicodedata.bidirectional(char) not in _WITHOUT_LEVEL for char in text]
    bidi.get_embedding_levels("".join(char for char, keep in zip(text, kept, strict=True) if keep), storage)
    for rule in (bidi.explicit_embed_and_overrides, bidi.resolve_weak_types):
        rule(storage)
    bidi.resolve_neutral_types(storage, False)
    bidi.resolve_implicit_levels(storage, False)
    resolved = iter([char["level"] for char in storage["chars"]])
    levels: list[int] = []
    for keep in kept:
        levels.append(next(resolved) if keep else (levels[-1] if levels else base_level))
    return levels


def _visual_order(runs: list[_Run]) -> list[_Run]:
    """The runs from left to right: from the highest level down, sequences of at least that level are reversed."""
    ordered = list(runs)
    for level in range(max((run.level for run in runs), default=0), 0, -1):
        start = None
        for i in range(len(ordered) + 1):
            inside = i < len(ordered) and ordered[i].level >= level
            if inside and start is None:
                start = i
            elif not inside and start is not None:
                ordered[start:i] = ordered[start:i][::-1]
                start = None
    return ordered


def _has_color(glyph: _Glyph) -> bool:
    face = glyph.font.face
    return bool(
        (face.has_color_png and len(glyph.font.get_glyph_color_png(glyph.id)) > 0)
        or (face.has_color_layers and face.get_glyph_color_layers(glyph.id))
        or (face.has_color_paint and face.glyph_has_color_paint(glyph.id))
    )


def _rasterize(glyphs: list[_Glyph]) -> tuple[NDArray[np.uint8], int, int] | None:
    """The coverage of glyphs, its left edge and its upper one above the baseline; None without any ink."""
    raster = hb.RasterDraw()
    raster.scale_factor = (_UNITS, _UNITS)
    for glyph in glyphs:
        raster.transform = (1.0, 0.0, 0.0, 1.0, glyph.x * _UNITS, glyph.y * _UNITS)
        raster.draw_glyph(glyph.font, glyph.id)
    return _pixels(raster.render(), 1)


def _picture(glyph: _Glyph) -> tuple[NDArray[np.uint8], int, int] | None:
    """A glyph with colors, BGRA with premultiplied alpha, its left edge and its upper one above the baseline."""
    png = glyph.font.get_glyph_color_png(glyph.id)
    if len(png) == 0:
        paint = hb.RasterPaint()
        paint.scale_factor = (_UNITS, _UNITS)
        paint.transform = (1.0, 0.0, 0.0, 1.0, glyph.x * _UNITS, glyph.y * _UNITS)
        paint.set_glyph_extents(glyph.font.get_glyph_extents(glyph.id))
        paint.paint_glyph(glyph.font, glyph.id)
        return _pixels(paint.render(), 4)
    extents = glyph.font.get_glyph_extents(glyph.id)
    image = cv2.imdecode(np.frombuffer(png.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if extents is None or image is None or image.ndim != 3 or image.shape[2] != 4:
        return None
    width, height = max(1, round(extents.width / _UNITS)), max(1, round(-extents.height / _UNITS))
    alpha = image[:, :, 3:].astype(np.uint16)
    image[:, :, :3] = (image[:, :, :3] * alpha + 127) // 255
    scaled = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return scaled, round(glyph.x + extents.x_bearing / _UNITS), round(glyph.y + extents.y_bearing / _UNITS)


def _pixels(image: hb.RasterImage | None, channels: int) -> tuple[NDArray[np.uint8], int, int] | None:
    if image is None or image.extents.width == 0 or image.extents.height == 0:
        return None
    extents = image.extents
    rows = np.frombuffer(bytes(image.buffer), np.uint8).reshape(extents.height, extents.stride)
    pixels = rows[::-1, : channels * extents.width]  # HarfBuzz's rows go upward
    if channels > 1:
        pixels = pixels.reshape(extents.height, extents.width, channels)
    return pixels, floor(extents.x_origin), extents.y_origin + extents.height


def _place(canvas: NDArray[np.uint8], pixels: NDArray[np.uint8], x: int, y: int) -> None:
    """Copies pixels to (x, y), cropped to the canvas."""
    left, top = max(0, -x), max(0, -y)
    region = canvas[y + top : y + pixels.shape[0], x + left : x + pixels.shape[1]]
    region[:] = np.maximum(region, pixels[top : top + region.shape[0], left : left + region.shape[1]])
