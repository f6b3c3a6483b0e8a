"""Pastes box-local masks (M x M probabilities stretched over a box) into the frame, and encodes them for COCO.

Shape letters: M side of a mask's grid (28 in Mask R-CNN); h, w size of the part of a box that lies inside the frame.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, isfinite
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

_GAUSSIAN_TRUNCATE_SIGMAS = 4.0
_ROW_STEP = 128
"""Cached ramps of the sides have a multiple of this many rows, so that masks of many heights share one."""


def box_edges(box_xyxy: NDArray[np.float32]) -> tuple[int, int, int, int] | None:
    """Rounds a box to whole pixels: x1, y1, x2, y2, where x2 and y2 are exclusive. None for a box without area.

    Edges go to the nearest pixel edge. A box with an area keeps at least one pixel, so that small objects stay visible.

    Args:
        box_xyxy: float32 (4,), absolute pixels.
    """
    # For four numbers, plain Python takes a tenth of numpy's time.
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
    """The pixels of one object, inside its box.

    Agrees with `mrcnn.utils.unmold_mask` for boxes on whole pixels: smoothed where the box has fewer pixels than the
    grid has cells, bilinear over the box, pixel centers at half pixels, 0 outside the grid but never less than the
    grid's least value, then `>= threshold`.

    Args:
        mask_probs: float32 (M, M), 0 … 1.
        box_xyxy: float32 (4,), absolute pixels; may lie partly or wholly outside the frame.
        height, width: the frame's size in pixels.
        threshold: probability from which a pixel belongs to the object.

    Returns:
        bool (h, w), the part of the box inside the frame, and the row y0 and column x0 of its first pixel. Shape (0, 0)
        if the box is outside.
    """
    edges = box_edges(box_xyxy)
    if edges is None:
        return np.zeros((0, 0), np.bool_), 0, 0
    return paste_mask_at(mask_probs, edges, height, width, threshold)


def paste_mask_at(
    mask_probs: NDArray[np.float32], edges: tuple[int, int, int, int], height: int, width: int, threshold: float
) -> tuple[NDArray[np.bool_], int, int]:
    """`paste_mask` for a box given by its `box_edges`."""
    x1, y1, x2, y2 = edges
    x0, y0, x_end, y_end = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if x_end <= x0 or y_end <= y0:
        return np.zeros((0, 0), np.bool_), 0, 0
    mask_probs = _smoothed(mask_probs, y2 - y1, x2 - x1)
    if mask_probs[0, 0] >= threshold and mask_probs.min() >= threshold:
        return np.ones((y_end - y0, x_end - x0), np.bool_), y0, x0
    if (x0, y0, x_end, y_end) == edges:
        probs = _resize(mask_probs, y2 - y1, x2 - x1)
    else:
        # Only the visible part is computed: a box can be far larger than the frame.
        rows = _bilinear_weights(mask_probs.shape[0], y2 - y1, y0 - y1, y_end - y1)
        columns = _bilinear_weights(mask_probs.shape[1], x2 - x1, x0 - x1, x_end - x1)
        probs = np.asarray(rows @ mask_probs @ columns.T, np.float32)
    return probs >= np.float32(threshold), y0, x0


def _smoothed(mask_probs: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """float32 (M, M): blurred against aliasing where the box has fewer pixels than the grid has cells."""
    if height >= mask_probs.shape[0] and width >= mask_probs.shape[1]:
        return mask_probs
    sigma_y, sigma_x = (
        max(0.0, (cells / size - 1) / 2) for cells, size in zip(mask_probs.shape, (height, width), strict=True)
    )
    truncate = _GAUSSIAN_TRUNCATE_SIGMAS
    kernel_wh = (2 * int(truncate * sigma_x + 0.5) + 1, 2 * int(truncate * sigma_y + 0.5) + 1)
    return np.asarray(
        cv2.GaussianBlur(mask_probs, kernel_wh, sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_CONSTANT), np.float32
    )


def _resize(mask_probs: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """float32 (height, width): the whole grid, bilinear, decreasing towards 0 beyond the outermost cell centers."""
    probs = cv2.resize(mask_probs, (width, height), interpolation=cv2.INTER_LINEAR)
    # cv2 replicates the border; over the outer half cell the mask must decrease instead, as beside a cell of 0.
    first, last = _edge_ramps(mask_probs.shape[0], height)
    if len(first):
        probs[: len(first)] *= first[:, None]
        probs[-len(last) :] *= last[:, None]
    first, last = _side_ramps(mask_probs.shape[1], width, -(-height // _ROW_STEP) * _ROW_STEP)
    depth = first.shape[1]
    if depth:
        # For a few columns, cv2.multiply takes half of numpy's time.
        for side, ramps in ((probs[:, :depth], first), (probs[:, -depth:], last)):
            cv2.multiply(side, ramps[:height], dst=side)
    return np.asarray(probs, np.float32)


@lru_cache(maxsize=4096)
def _edge_ramps(cells: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two of float32 (k,), read-only: the weight of the outermost cell in the first and last k pixels, which lie beyond
    its center."""
    depth = ceil(size / (2 * cells) - 0.5) if size > cells else 0
    centers = (np.arange(depth) + 0.5) * cells / size - 0.5
    ramp = np.asarray(1.0 + centers, np.float32)
    ramp.flags.writeable = False
    return ramp, ramp[::-1]


@lru_cache(maxsize=256)
def _side_ramps(cells: int, size: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`_edge_ramps` repeated on every row: two of float32 (rows, k), read-only."""
    first, last = (np.tile(ramp, (rows, 1)) for ramp in _edge_ramps(cells, size))
    first.flags.writeable = last.flags.writeable = False
    return first, last


def _bilinear_weights(cells: int, size: int, start: int, stop: int) -> NDArray[np.float32]:
    """float32 (stop - start, cells): weight of each cell in pixels start … stop - 1 of a side of `size` pixels."""
    centers = (np.arange(start, stop) + 0.5) * cells / size - 0.5
    distance = np.abs(centers[:, None] - np.arange(cells)[None, :])
    return np.asarray(np.maximum(0.0, 1.0 - distance), np.float32)


def encode_mask(pasted: NDArray[np.bool_], y0: int, x0: int, height: int, width: int) -> dict[str, Any]:
    """COCO compressed RLE of a full-frame mask that is set only inside one box.

    The run lengths are computed inside the box, without creating a full-frame mask.

    Args:
        pasted: bool (h, w), the part of the mask inside the box.
        y0, x0: row and column of its first pixel in the frame.
        height, width: size of the frame in pixels.

    Returns:
        {"size": [height, width], "counts": str}, equal to `pycocotools.mask.encode` of the full mask.
    """
    # COCO counts down the columns. A change within a column begins or ends a run: w columns, h + 1 positions each.
    padded = np.zeros((pasted.shape[1], pasted.shape[0] + 2), np.uint8)
    if pasted.size:
        cv2.transpose(pasted.view(np.uint8), dst=padded[:, 1:-1])
    positions = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    column, row = np.divmod(positions, pasted.shape[0] + 1)
    changes = (x0 + column) * height + y0 + row
    # A run that ends at the bottom of a column and resumes at the top of the next is one run: both changes cancel.
    joined = np.flatnonzero(changes[1:] == changes[:-1])
    changes = np.delete(changes, np.concatenate([joined, joined + 1]))
    counts = np.diff(np.concatenate([[0], changes, [height * width]]))
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    compressed = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": compressed["counts"].decode("ascii")}
