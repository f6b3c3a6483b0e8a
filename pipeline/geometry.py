"""Intersection over union of boxes, and greedy matching.

Shape letters: N, M objects on the two sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def iou_matrix(boxes_a_xyxy: NDArray[np.float32], boxes_b_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every box of one set with every box of another.

    Args:
        boxes_a_xyxy: float32 (N, 4), absolute pixels.
        boxes_b_xyxy: float32 (M, 4), absolute pixels.

    Returns:
        float32 (N, M), 0 … 1; 0 for boxes without area.
    """
    low = np.maximum(boxes_a_xyxy[:, None, :2], boxes_b_xyxy[None, :, :2])
    high = np.minimum(boxes_a_xyxy[:, None, 2:], boxes_b_xyxy[None, :, 2:])
    intersection = _areas(low, high)
    areas_a = _areas(boxes_a_xyxy[:, :2], boxes_a_xyxy[:, 2:])
    areas_b = _areas(boxes_b_xyxy[:, :2], boxes_b_xyxy[:, 2:])
    union = areas_a[:, None] + areas_b[None, :] - intersection
    return np.asarray(intersection / np.maximum(union, 1e-6), np.float32)


def greedy_pairs(scores: NDArray[np.floating], threshold: float) -> list[tuple[int, int]]:
    """Pairs rows with columns, the highest score first; each row and each column is used at most once.

    Args:
        scores: float (N, M). NaN never matches.
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
