"""From a box-local mask (M x M probabilities stretched over a box) to the pixels that it covers.

Shape letters: M side of a mask's grid (28 in Mask R-CNN); h, w size of the part of a box that lies inside the frame.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, isfinite

import cv2
import numpy as np
from numpy.typing import NDArray

_GAUSSIAN_REACH_SIGMAS = 4.0
_SIDE_ROWS = 128
"""Rows of a kept fall of the sides are multiples of this, so that masks of many heights share one."""


def box_edges(box_xyxy: NDArray[np.float32]) -> tuple[int, int, int, int] | None:
    """A box's edges on the pixel grid: x1, y1, x2, y2, where x2 and y2 are just outside. None if it covers nothing.

    Edges go to the nearest pixel edge. A box with an area keeps at least one pixel, so that small objects stay visible.

    Args:
        box_xyxy: float32 (4,), absolute pixels.
    """
    # Four numbers: Python's own arithmetic takes a tenth of numpy's time.
    x1, y1, x2, y2 = box_xyxy.tolist()
    if not (isfinite(x1) and isfinite(y1) and isfinite(x2) and isfinite(y2)) or x2 <= x1 or y2 <= y1:
        return None
    left, top, right, bottom = floor(x1 + 0.5), floor(y1 + 0.5), floor(x2 + 0.5), floor(y2 + 0.5)
    if right <= left:
        left, right = floor(x1), floor(x1) + 1
    if bottom <= top:
        top, bottom = floor(y1), floor(y1) + 1
    return left, top, right, bottom


def paste_mask(
    mask_probs: NDArray[np.float32], box_xyxy: NDArray[np.float32], height: int, width: int, threshold: float
) -> tuple[NDArray[np.bool_], int, int]:
    """The pixels that one object covers, limited to its box.

    Agrees with `mrcnn.utils.unmold_mask` for boxes on whole pixels: smoothed where the box has fewer pixels than the
    grid has cells, bilinear over the box, pixel centers at half pixels, 0 outside the grid but never less than the
    grid's least value, then `>= threshold`.

    Args:
        mask_probs: float32 (M, M), 0 … 1.
        box_xyxy: float32 (4,), absolute pixels; may lie partly or wholly outside the frame.
        height, width: the frame's size in pixels.
        threshold: probability from which on a pixel belongs to the object.

    Returns:
        bool (h, w), the part of the box inside the frame, and the row y0 and column x0 of its first pixel. (0, 0) shape
        where nothing of the box is inside.
    """
    edges = box_edges(box_xyxy)
    if edges is None:
        return np.zeros((0, 0), np.bool_), 0, 0
    return paste_mask_on(mask_probs, edges, height, width, threshold)


def paste_mask_on(
    mask_probs: NDArray[np.float32], edges: tuple[int, int, int, int], height: int, width: int, threshold: float
) -> tuple[NDArray[np.bool_], int, int]:
    """As `paste_mask`, for a box whose `box_edges` are known."""
    x1, y1, x2, y2 = edges
    x0, y0, x_end, y_end = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if x_end <= x0 or y_end <= y0:
        return np.zeros((0, 0), np.bool_), 0, 0
    mask_probs = _smoothed(mask_probs, y2 - y1, x2 - x1)
    if mask_probs[0, 0] >= threshold and mask_probs.min() >= threshold:
        return np.ones((y_end - y0, x_end - x0), np.bool_), y0, x0
    if (x0, y0, x_end, y_end) == edges:
        probs = _stretch(mask_probs, y2 - y1, x2 - x1)
    else:
        # Only the visible part is computed: a box can be far larger than the frame.
        rows = _weights(mask_probs.shape[0], y2 - y1, y0 - y1, y_end - y1)
        columns = _weights(mask_probs.shape[1], x2 - x1, x0 - x1, x_end - x1)
        probs = np.asarray(rows @ mask_probs @ columns.T, np.float32)
    return probs >= np.float32(threshold), y0, x0


def _smoothed(mask_probs: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """float32 (M, M): a Gaussian takes away what a box of this size, smaller than the grid, cannot show."""
    if height >= mask_probs.shape[0] and width >= mask_probs.shape[1]:
        return mask_probs
    sigma_y, sigma_x = (
        max(0.0, (cells / size - 1) / 2) for cells, size in zip(mask_probs.shape, (height, width), strict=True)
    )
    reach = _GAUSSIAN_REACH_SIGMAS
    kernel_wh = (2 * int(reach * sigma_x + 0.5) + 1, 2 * int(reach * sigma_y + 0.5) + 1)
    return np.asarray(
        cv2.GaussianBlur(mask_probs, kernel_wh, sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_CONSTANT), np.float32
    )


def _stretch(mask_probs: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """float32 (height, width): the whole grid, bilinear, falling to 0 beyond the outermost cell centers."""
    probs = cv2.resize(mask_probs, (width, height), interpolation=cv2.INTER_LINEAR)
    # cv2 repeats the border; half a cell from the edge outwards the mask's weight falls, as beside a cell of 0.
    first, last = _edge_falls(mask_probs.shape[0], height)
    if len(first):
        probs[: len(first)] *= first[:, None]
        probs[-len(last) :] *= last[:, None]
    first, last = _side_falls(mask_probs.shape[1], width, -(-height // _SIDE_ROWS) * _SIDE_ROWS)
    depth = first.shape[1]
    if depth:
        # In columns of a few pixels cv2 multiplies twice as quickly as numpy.
        for side, falls in ((probs[:, :depth], first), (probs[:, -depth:], last)):
            cv2.multiply(side, falls[:height], dst=side)
    return np.asarray(probs, np.float32)


@lru_cache(maxsize=4096)
def _edge_falls(cells: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two of float32 (k,), read-only: weight of the grid in the first k pixels, before the first cell's center, and in
    the last k."""
    depth = ceil(size / (2 * cells) - 0.5) if size > cells else 0
    centers = (np.arange(depth) + 0.5) * cells / size - 0.5
    fall = np.asarray(1.0 + centers, np.float32)
    fall.flags.writeable = False
    return fall, fall[::-1]


@lru_cache(maxsize=256)
def _side_falls(cells: int, size: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`_edge_falls` below one another: two of float32 (rows, k), read-only."""
    first, last = (np.tile(fall, (rows, 1)) for fall in _edge_falls(cells, size))
    first.flags.writeable = last.flags.writeable = False
    return first, last


def _weights(cells: int, size: int, start: int, stop: int) -> NDArray[np.float32]:
    """float32 (stop - start, cells): how pixels start … stop - 1 of a stretched side mix the grid's cells."""
    centers = (np.arange(start, stop) + 0.5) * cells / size - 0.5
    distance = np.abs(centers[:, None] - np.arange(cells)[None, :])
    return np.asarray(np.maximum(0.0, 1.0 - distance), np.float32)
