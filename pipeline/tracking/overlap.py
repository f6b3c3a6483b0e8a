"""How much objects overlap, from their boxes and their box-local masks, without an array of the frame's size.

Shape letters: N, K objects on either side; P pairs; M side of a box-local mask (28 in Mask R-CNN); G side of a common
grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 16
"""Cells a side of the grid on which two masks are compared: an error of a few per cent of overlap, at little cost."""
INSIDE = 0.5
"""Mask probability from which a cell belongs to an object."""

Boxes = NDArray[np.float32]
Masks = NDArray[np.float32]


def box_overlaps(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every box with every other: float32 (N, 4), (K, 4) -> float32 (N, K), 0 … 1."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.maximum(high - low, 0)
    intersection = sides[:, :, 0] * sides[:, :, 1]
    union = _areas(a_xyxy)[:, None] + _areas(b_xyxy)[None, :] - intersection
    return np.asarray(intersection / np.maximum(union, 1e-6), np.float32)


def mask_overlaps(a_xyxy: Boxes, a_masks: Masks, b_xyxy: Boxes, b_masks: Masks) -> NDArray[np.float32]:
    """Intersection over union of P pairs of masks, measured on a grid stretched over both boxes of a pair.

    Args:
        a_xyxy, b_xyxy: float32 (P, 4), absolute pixels.
        a_masks, b_masks: float32 (P, M, M), 0 … 1.

    Returns:
        float32 (P,), 0 … 1; 0 where both masks are empty.
    """
    both = np.concatenate([np.minimum(a_xyxy[:, :2], b_xyxy[:, :2]), np.maximum(a_xyxy[:, 2:], b_xyxy[:, 2:])], axis=1)
    a = resample(a_masks, a_xyxy, both, GRID) >= INSIDE
    b = resample(b_masks, b_xyxy, both, GRID) >= INSIDE
    intersection = np.count_nonzero(a & b, axis=(1, 2))
    union = np.count_nonzero(a | b, axis=(1, 2))
    return np.asarray(intersection / np.maximum(union, 1), np.float32)


def resample(masks: Masks, from_xyxy: Boxes, to_xyxy: Boxes, size: int) -> Masks:
    """What lies on another box of the picture, of masks that were stretched over their own.

    Bilinear, 0 outside the box that a mask was made for.

    Args:
        masks: float32 (P, M, M), 0 … 1.
        from_xyxy: float32 (P, 4), the boxes that the masks lie on, absolute pixels.
        to_xyxy: float32 (P, 4), the boxes to read.
        size: cells a side of the result.

    Returns:
        float32 (P, size, size), 0 … 1.
    """
    cells = masks.shape[1]
    # Both axes at once: the x of all boxes, then the y.
    from_ends = np.concatenate([from_xyxy[:, 0::2], from_xyxy[:, 1::2]])
    to_ends = np.concatenate([to_xyxy[:, 0::2], to_xyxy[:, 1::2]])
    weights = _weights(from_ends[:, 0], from_ends[:, 1], to_ends[:, 0], to_ends[:, 1], cells, size)
    columns, rows = weights[: len(masks)], weights[len(masks) :]
    return np.asarray(rows @ masks @ columns.transpose(0, 2, 1), np.float32)


def _weights(
    from_low: Boxes, from_high: Boxes, to_low: Boxes, to_high: Boxes, cells: int, size: int
) -> NDArray[np.float32]:
    """float32 (P, size, cells): how much of each source cell is in each target cell, along one axis."""
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size
    centers = to_low[:, None] + (to_high - to_low)[:, None] * steps  # (P, size), pixels
    extent = np.maximum(from_high - from_low, 1e-3)[:, None]
    places = (centers - from_low[:, None]) / extent * cells - 0.5  # (P, size), in source cells
    inside = (places >= -0.5) & (places <= cells - 0.5)
    places = np.clip(places, 0, cells - 1)
    distance = np.abs(places[:, :, None] - np.arange(cells, dtype=np.float32))
    return np.asarray(np.maximum(0, 1 - distance) * inside[:, :, None], np.float32)


def _areas(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)
