"""Box arithmetic on tensors of any Keras backend.

Boxes are (y1, x1, y2, x2). Deltas are (dy, dx, log dh, log dw): Girshick et al. 2014, appendix C, equations 1-4.
The functions do not care whether coordinates are pixels or normalized, as long as all boxes of a call agree.
"""

from __future__ import annotations

from keras import ops

LONGEST_STRETCH = 30.0
"""Limit of log dh and log dw: e^30 times is far outside any canvas, and still a number that can be cut at its edges."""


def decode_deltas(boxes, deltas):
    """Move and stretch boxes by deltas; the inverse of `encode_deltas`.

    Args:
        boxes: float32 (..., 4), (y1, x1, y2, x2).
        deltas: float32 (..., 4), (dy, dx, log dh, log dw), already multiplied by the standard deviations.

    Returns:
        float32 (..., 4): the moved boxes, not clipped.
    """
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    center_y = boxes[..., 0] + 0.5 * height + deltas[..., 0] * height
    center_x = boxes[..., 1] + 0.5 * width + deltas[..., 1] * width
    height = height * ops.exp(ops.minimum(deltas[..., 2], LONGEST_STRETCH))
    width = width * ops.exp(ops.minimum(deltas[..., 3], LONGEST_STRETCH))
    y1 = center_y - 0.5 * height
    x1 = center_x - 0.5 * width
    return ops.stack([y1, x1, y1 + height, x1 + width], axis=-1)


def encode_deltas(boxes, targets):
    """The deltas that take `boxes` to `targets`.

    Args:
        boxes: float32 (..., 4), (y1, x1, y2, x2), of positive height and width.
        targets: float32 (..., 4), the same.

    Returns:
        float32 (..., 4): (dy, dx, log dh, log dw), not divided by the standard deviations.
    """
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    target_height = targets[..., 2] - targets[..., 0]
    target_width = targets[..., 3] - targets[..., 1]
    dy = (targets[..., 0] + 0.5 * target_height - boxes[..., 0] - 0.5 * height) / height
    dx = (targets[..., 1] + 0.5 * target_width - boxes[..., 1] - 0.5 * width) / width
    return ops.stack([dy, dx, ops.log(target_height / height), ops.log(target_width / width)], axis=-1)


def clip_boxes(boxes, window):
    """Cut boxes at a window's edges; a box that lies outside becomes an empty box on its edge.

    Args:
        boxes: float32 (..., N, 4), (y1, x1, y2, x2).
        window: float32 (..., 1, 4) or (4,), the same coordinates.

    Returns:
        float32 (..., N, 4).
    """
    low = ops.concatenate([window[..., :2], window[..., :2]], axis=-1)
    high = ops.concatenate([window[..., 2:], window[..., 2:]], axis=-1)
    return ops.minimum(ops.maximum(boxes, low), high)


def box_areas(boxes):
    """Areas of boxes (..., 4): float32 (...); 0 for a box turned inside out."""
    return ops.relu(boxes[..., 2] - boxes[..., 0]) * ops.relu(boxes[..., 3] - boxes[..., 1])


def iou_one_to_many(box, boxes):
    """Intersection over union of one box (4,) with each of boxes (N, 4): float32 (N,); 0 where both are empty."""
    top_left = ops.maximum(box[:2], boxes[:, :2])
    bottom_right = ops.minimum(box[2:], boxes[:, 2:])
    sides = ops.relu(bottom_right - top_left)
    intersection = sides[:, 0] * sides[:, 1]
    union = box_areas(box) + box_areas(boxes) - intersection
    return ops.where(intersection > 0, intersection / ops.maximum(union, 1e-30), 0.0)


def iou_matrix(boxes_a, boxes_b):
    """Intersection over union of each of boxes_a (N, 4) with each of boxes_b (M, 4): float32 (N, M)."""
    a, b = boxes_a[:, None, :], boxes_b[None, :, :]
    height = ops.relu(ops.minimum(a[..., 2], b[..., 2]) - ops.maximum(a[..., 0], b[..., 0]))
    width = ops.relu(ops.minimum(a[..., 3], b[..., 3]) - ops.maximum(a[..., 1], b[..., 1]))
    intersection = height * width
    union = box_areas(boxes_a)[:, None] + box_areas(boxes_b)[None, :] - intersection
    return ops.where(intersection > 0, intersection / ops.maximum(union, 1e-30), 0.0)
