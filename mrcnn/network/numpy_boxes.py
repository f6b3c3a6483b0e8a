"""Box arithmetic in NumPy; `mrcnn.network.box_coding` has its counterpart on tensors.

Boxes are (y1, x1, y2, x2), y2 and x2 exclusive, in pixels or normalized as long as all boxes of a call agree. Shape
letters: N, M boxes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[Any]
"""(..., 4), any numeric dtype, (y1, x1, y2, x2)."""


def areas(boxes: Boxes) -> NDArray[Any]:
    """Areas of boxes (..., 4): (...); the boxes must not be inverted."""
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def intersections(boxes_a: Boxes, boxes_b: Boxes) -> NDArray[Any]:
    """Areas of the intersections of boxes (..., 4) and (..., 4), which broadcast: (...)."""
    height = np.minimum(boxes_a[..., 2], boxes_b[..., 2]) - np.maximum(boxes_a[..., 0], boxes_b[..., 0])
    width = np.minimum(boxes_a[..., 3], boxes_b[..., 3]) - np.maximum(boxes_a[..., 1], boxes_b[..., 1])
    return np.asarray(np.maximum(height, 0) * np.maximum(width, 0))


def iou(boxes_a: Boxes, boxes_b: Boxes, areas_a: NDArray[Any], areas_b: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of boxes (..., 4) and (..., 4) with areas (...), which broadcast: (...)."""
    intersection = intersections(boxes_a, boxes_b)
    return np.asarray(intersection / (areas_a + areas_b - intersection))


def decode_deltas(boxes: NDArray[np.float32], deltas: NDArray[np.float32], max_log_scale: float) -> NDArray[np.float32]:
    """Apply deltas to boxes (Girshick et al. 2014, appendix C).

    Args:
        boxes: float32 (N, 4).
        deltas: float32 (N, 4), (dy, dx, log dh, log dw), already multiplied by the standard deviations.
        max_log_scale: upper limit of log dh and log dw.

    Returns:
        float32 (N, 4), not clipped.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    centers = boxes[:, :2] + np.float32(0.5) * sizes + deltas[:, :2] * sizes
    sizes = sizes * np.exp(np.minimum(deltas[:, 2:], np.float32(max_log_scale)))
    low = centers - np.float32(0.5) * sizes
    return np.concatenate([low, low + sizes], axis=1)
