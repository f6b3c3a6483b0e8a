"""Lays out the tiles of a mosaic: rows of equal cells, each with a caption above its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from pipeline.drawing.chips import chip_size, text_size
from pipeline.drawing.letterbox import fit
from pipeline.drawing.placement import Rectangle

_LEAST_CAPTION = 26
"""Least width of a caption relative to its text's size, where the cell is that wide: for a short name, rate and age."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The place of one tile.

    Attributes:
        caption: a strip for a line of text above the picture, as wide as the picture, or wider where that is narrow.
        picture: the place of the picture, with its aspect.
    """

    caption: Rectangle
    picture: Rectangle

    def contains(self, x: int, y: int) -> bool:
        """Whether a pixel lies in the cell."""
        return self.caption[0] <= x < self.caption[2] and self.caption[1] <= y < self.picture[3]


@dataclass(frozen=True, slots=True)
class Grid:
    """The places of all tiles, in their order.

    Attributes:
        cells: row by row; the last row is centered.
        size: of the captions' text, pixels to the em.
    """

    cells: Sequence[Cell]
    size: float


def arrange(aspects: Sequence[float], size_wh: tuple[int, int]) -> Grid:
    """The grid that shows the pictures largest.

    Args:
        aspects: width / height of each picture; at least one.
        size_wh: width and height of the canvas, pixels.
    """
    landscape = size_wh[0] >= size_wh[1]

    def preference(columns: int) -> tuple[int, int, int]:
        rows = ceil(len(aspects) / columns)
        pictures, _ = _pictures(aspects, (columns, rows), size_wh)
        return sum(w * h for w, h in pictures), -columns * rows, columns if landscape else rows

    columns = max(range(1, len(aspects) + 1), key=preference)
    return _placed(aspects, columns, size_wh)


def _gap(size_wh: tuple[int, int]) -> int:
    """Pixels between two cells."""
    return max(2, min(size_wh) // 180)


def _pictures(
    aspects: Sequence[float], columns_rows: tuple[int, int], size_wh: tuple[int, int]
) -> tuple[list[tuple[int, int]], float]:
    """Width and height of each picture in a grid of so many columns and rows, and the size of its text."""
    gap = _gap(size_wh)
    width, height = (max(1, (side + gap) // count - gap) for side, count in zip(size_wh, columns_rows, strict=True))
    size = text_size(height, width)
    room = width, max(1, height - _caption_height(size))
    places = [fit((aspect, 1.0), room) for aspect in aspects]
    return [(place.width, place.height) for place in places], size


def _placed(aspects: Sequence[float], columns: int, size_wh: tuple[int, int]) -> Grid:
    """The cells of a grid in the middle of the canvas, columns as wide and rows as high as their largest pictures."""
    count, gap = ceil(len(aspects) / columns), _gap(size_wh)
    pictures, size = _pictures(aspects, (columns, count), size_wh)
    caption = _caption_height(size)
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    cell_w = max(width for width, _ in pictures)
    heights = [caption + max(height for _, height in row) for row in rows]
    y = (size_wh[1] - sum(heights) - gap * (count - 1)) // 2
    cells = []
    for row, cell_h in zip(rows, heights, strict=True):
        x = (size_wh[0] - len(row) * (cell_w + gap) + gap) // 2
        for width, height in row:
            left, top = x + (cell_w - width) // 2, y + (cell_h + caption - height) // 2
            strip_w = max(width, min(cell_w, round(_LEAST_CAPTION * size)))
            strip_x = x + (cell_w - strip_w) // 2
            strip = strip_x, top - caption, strip_x + strip_w, top
            cells.append(Cell(strip, (left, top, left + width, top + height)))
            x += cell_w + gap
        y += cell_h + gap
    return Grid(cells, size)


def _caption_height(size: float) -> int:
    return chip_size("0", size)[1] + 2
