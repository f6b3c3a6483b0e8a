"""Draws the pictures of several cameras side by side, each with its name and state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import chip_size, draw_banner, draw_chip
from pipeline.drawing.grid import Cell, Grid, arrange
from pipeline.drawing.palette import BLACK, PALETTE, TEXT_BACKGROUND, ColorBgr
from pipeline.drawing.placement import Rectangle

Image = NDArray[np.uint8]

_ASPECT = 16 / 9
"""Of a camera that has not shown a picture yet."""
_ALERT_BGR: ColorBgr = PALETTE[1]
"""Orange: the name of a camera that has no live picture."""
_SLATE_GRAY = 40
_DIMMED = 0.35
_SEPARATOR = " · "


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """What a mosaic shows of one camera.

    Attributes:
        name: of the camera.
        picture_bgr: uint8 (H, W, 3), its newest picture, redacted; None before the first.
        details: short texts such as "15 fps", the most important first; those without room are left out.
        slate: why the picture is not live, such as "offline since 14:03"; "" if it is.
        pixel_aspect: width / height of a pixel of the picture.
    """

    name: str
    picture_bgr: Image | None = None
    details: Sequence[str] = ()
    slate: str = ""
    pixel_aspect: float = 1.0

    @property
    def aspect(self) -> float:
        """Width / height as it is shown."""
        if self.picture_bgr is None:
            return _ASPECT
        height, width = self.picture_bgr.shape[:2]
        return float(width * self.pixel_aspect / height)

    @property
    def caption(self) -> tuple[str, Sequence[str], bool]:
        """All that the caption depends on."""
        return self.name, self.details, bool(self.slate)

    def has_same_picture(self, other: Tile) -> bool:
        """Whether both show the same picture, live or with the same slate."""
        return self.picture_bgr is other.picture_bgr and self.slate == other.slate

    def is_same(self, other: Tile) -> bool:
        """Whether both look the same."""
        return self.has_same_picture(other) and self.caption == other.caption and self.aspect == other.aspect


class Mosaic:
    """A canvas with a tile for each camera; redraws those that have changed.

    Args:
        size_wh: width and height of the canvas, pixels.

    Attributes:
        canvas: uint8 (H, W, 3), what was drawn last.
    """

    def __init__(self, size_wh: tuple[int, int]) -> None:
        self.size_wh = size_wh
        self.canvas: Image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
        self._aspects: list[float] = []
        self._grid = Grid((), 0.0)
        self._drawn: Sequence[Tile] = ()

    def shows(self, tiles: Sequence[Tile]) -> bool:
        """Whether drawing these tiles would change nothing."""
        return len(tiles) == len(self._drawn) and all(map(Tile.is_same, tiles, self._drawn))

    def draw(self, tiles: Sequence[Tile]) -> Image:
        """Draws the tiles in rows.

        Args:
            tiles: one for each camera, at least one, in the order of the frame before.

        Returns:
            uint8 (H, W, 3), valid until the next call, which draws on the same array.
        """
        before: Sequence[Tile | None] = self._drawn
        aspects = [tile.aspect for tile in tiles]
        if aspects != self._aspects:
            self._aspects, self._grid = aspects, arrange(aspects, self.size_wh)
            self.canvas[:] = BLACK
            before = [None] * len(tiles)
        for cell, tile, old in zip(self._grid.cells, tiles, before, strict=True):
            if old is None or old.caption != tile.caption:
                _draw_caption(self.canvas, cell, tile, self._grid.size)
            if old is None or not tile.has_same_picture(old):
                _draw_picture(_region(self.canvas, cell.picture), tile)
        self._drawn = tuple(tiles)
        return self.canvas

    def tile_at(self, x: int, y: int) -> int | None:
        """Index of the tile at a pixel of the canvas; None between tiles."""
        return next((index for index, cell in enumerate(self._grid.cells) if cell.contains(x, y)), None)

    def picture_at(self, index: int) -> Rectangle:
        """Where the picture of a tile lies on the canvas."""
        return self._grid.cells[index].picture


def _region(canvas: Image, rectangle: Rectangle) -> Image:
    """The part of a rectangle that lies on the canvas; empty for some cameras if the window is too small for all."""
    x1, y1, x2, y2 = (max(0, edge) for edge in rectangle)
    return canvas[y1:y2, x1:x2]


def _draw_picture(region: Image, tile: Tile) -> None:
    """Fills the region with the tile's picture; with a slate, dimmed or gray."""
    if region.size == 0:
        return
    if tile.picture_bgr is None:
        region[:] = _SLATE_GRAY
    else:
        _scale_into(region, tile.picture_bgr)
    if tile.slate:
        if tile.picture_bgr is not None:
            cv2.convertScaleAbs(region, dst=region, alpha=_DIMMED)
        draw_banner(region, tile.slate)


def _scale_into(region: Image, picture_bgr: Image) -> None:
    """Scales a picture to a region, in place.

    Halving until less than another half remains, and then interpolating, looks like averaging areas of any size and
    takes a fifth of its time.
    """
    height, width = region.shape[:2]
    while picture_bgr.shape[0] >= 2 * height and picture_bgr.shape[1] >= 2 * width:
        half_wh = picture_bgr.shape[1] // 2, picture_bgr.shape[0] // 2
        picture_bgr = np.asarray(cv2.resize(picture_bgr, half_wh, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.resize(picture_bgr, (width, height), dst=region, interpolation=cv2.INTER_LINEAR)


def _draw_caption(canvas: Image, cell: Cell, tile: Tile, size: float) -> None:
    """Draws the name on the left and the details on the right, in one line."""
    region = _region(canvas, cell.caption)
    region[:] = BLACK
    width = region.shape[1]
    name = _shortened(tile.name, size, width)
    name_width = chip_size(name, size)[0]
    draw_chip(region, name, (0, 0), size, _ALERT_BGR if tile.slate else TEXT_BACKGROUND)
    for count in range(len(tile.details), 0, -1):
        text = _SEPARATOR.join(tile.details[:count])
        text_width = chip_size(text, size)[0]
        if name_width + text_width + size <= width:
            draw_chip(region, text, (width - text_width, 0), size, TEXT_BACKGROUND)
            return


def _shortened(text: str, size: float, width: int) -> str:
    """The text, or as much of its beginning as fits into so many pixels, with an ellipsis."""
    for end in range(len(text), 0, -1):
        shown = text if end == len(text) else f"{text[:end].rstrip()}…"
        if chip_size(shown, size)[0] <= width:
            return shown
    return ""
