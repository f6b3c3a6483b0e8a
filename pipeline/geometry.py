"""Boxes and box-local masks: intersection over union, resampling, and greedy matching.

Shape letters: N, K objects on the two sides; P pairs; M side of a box-local mask (28 in Mask R-CNN); S side of a target
grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FOREGROUND = 0.5
"""Mask probability from which a cell belongs to an object."""

Boxes = NDArray[np.float32]
Masks = NDArray[np.float32]


def iou_matrix(boxes_a_xyxy: Boxes, boxes_b_xyxy: Boxes) -> NDArray[np.float32]:
    """Intersection over union of every box of one set with every box of another.

    Args:
        boxes_a_xyxy: float32 (N, 4), absolute pixels.
        boxes_b_xyxy: float32 (K, 4), absolute pixels.

    Returns:
        float32 (N, K), 0 … 1; 0 for boxes without area.
    """
    low = np.maximum(boxes_a_xyxy[:, None, :2], boxes_b_xyxy[None, :, :2])
    high = np.minimum(boxes_a_xyxy[:, None, 2:], boxes_b_xyxy[None, :, 2:])
    intersection = _areas(low, high)
    areas_a = _areas(boxes_a_xyxy[:, :2], boxes_a_xyxy[:, 2:])
    areas_b = _areas(boxes_b_xyxy[:, :2], boxes_b_xyxy[:, 2:])
    union = areas_a[:, None] + areas_b[None, :] - intersection
    return np.asarray(intersection / np.maximum(union, 1e-6), np.float32)


def mask_iou(a_xyxy: Boxes, a_masks: Masks, b_xyxy: Boxes, b_masks: Masks, size: int) -> NDArray[np.float32]:
    """Intersection over union of P pairs of masks, on a grid over the union of each pair's boxes.

    Needs no arrays of the frame's size. With a grid of 16 x 16 the result is off by a few percent.

    Args:
        a_xyxy, b_xyxy: float32 (P, 4), absolute pixels.
        a_masks, b_masks: float32 (P, M, M), 0 … 1; M may differ between the two.
        size: S.

    Returns:
        float32 (P,), 0 … 1; 0 where both masks are empty.
    """
    both = np.concatenate([np.minimum(a_xyxy[:, :2], b_xyxy[:, :2]), np.maximum(a_xyxy[:, 2:], b_xyxy[:, 2:])], axis=1)
    a = resample_masks(a_masks, a_xyxy, both, size) >= FOREGROUND
    b = resample_masks(b_masks, b_xyxy, both, size) >= FOREGROUND
    intersection = np.count_nonzero(a & b, axis=(1, 2))
    union = np.count_nonzero(a | b, axis=(1, 2))
    return np.asarray(intersection / np.maximum(union, 1), np.float32)


def resample_masks(masks: Masks, from_xyxy: Boxes, to_xyxy: Boxes, size: int) -> Masks:
    """Resamples masks from their own boxes to other ones: bilinear, 0 outside their own.

    Args:
        masks: float32 (P, M, M), 0 … 1.
        from_xyxy: float32 (P, 4), the boxes of the masks, absolute pixels.
        to_xyxy: float32 (P, 4), the boxes of the result.
        size: S.

    Returns:
        float32 (P, S, S), 0 … 1.
    """
    cells = masks.shape[1]
    # Both axes at once: the x of all boxes, then the y.
    from_ends = np.concatenate([from_xyxy[:, 0::2], from_xyxy[:, 1::2]])
    to_ends = np.concatenate([to_xyxy[:, 0::2], to_xyxy[:, 1::2]])
    weights = _bilinear_weights(from_ends, to_ends, cells, size)
    columns, rows = weights[: len(masks)], weights[len(masks) :]
    return np.asarray(rows @ masks @ columns.transpose(0, 2, 1), np.float32)


def greedy_pairs(scores: NDArray[np.floating], threshold: float) -> list[tuple[int, int]]:
    """Pairs rows with columns, the highest score first; each row and each column is used at most once.

    Args:
        scores: float (N, K). NaN never matches.
        threshold: lowest score of a pair.

    Returns:
        (row, column) of each pair, best first; equal scores by the lower row, then by the lower column.
    """
    rows, columns = np.nonzero(scores >= threshold)
    order = np.argsort(-scores[rows, columns], kind="stable")
    pairs: dict[int, int] = {}
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return list(pairs.items())


def _areas(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = np.maximum(high - low, 0)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float32)


def _bilinear_weights(
    from_ends: NDArray[np.float32], to_ends: NDArray[np.float32], cells: int, size: int
) -> NDArray[np.float32]:
    """float32 (B, S, cells): weight of each source cell in each target cell, along one axis.

    Args:
        from_ends, to_ends: float32 (B, 2), start and end of the source and target intervals, pixels.
        cells: of the source.
        size: S.
    """
    from_low, to_low = from_ends[:, :1], to_ends[:, :1]
    steps = (np.arange(size, dtype=np.float32) + 0.5) / size
    centers = to_low + (to_ends[:, 1:] - to_low) * steps  # (B, S), pixels
    extent = np.maximum(from_ends[:, 1:] - from_low, 1e-3)
    positions = (centers - from_low) / extent * cells - 0.5  # (B, S), in source cells
    inside = (positions >= -0.5) & (positions <= cells - 0.5)
    positions = np.clip(positions, 0, cells - 1)
    distance = np.abs(positions[:, :, None] - np.arange(cells, dtype=np.float32))
    return np.asarray(np.maximum(0, 1 - distance) * inside[:, :, None], np.float32)
