"""Box arithmetic on tensors of any Keras backend; `mrcnn.network.numpy_boxes` has its counterpart in NumPy.

Boxes are (y1, x1, y2, x2), in pixels or normalized as long as all boxes of a call agree. Deltas are (dy, dx, log dh,
log dw): Girshick et al. 2014, appendix C, equations 1-4.
"""

from __future__ import annotations

from keras import ops


def decode_deltas(boxes, deltas, max_log_scale: float):
    """Apply deltas to boxes; the inverse of `encode_deltas`.

    Args:
        boxes: float32 (..., 4), (y1, x1, y2, x2).
        deltas: float32 (..., 4), (dy, dx, log dh, log dw), already multiplied by the standard deviations.
        max_log_scale: upper limit of log dh and log dw.

    Returns:
        float32 (..., 4), not clipped.
    """
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    center_y = boxes[..., 0] + 0.5 * height + deltas[..., 0] * height
    center_x = boxes[..., 1] + 0.5 * width + deltas[..., 1] * width
    height = height * ops.exp(ops.minimum(deltas[..., 2], max_log_scale))
    width = width * ops.exp(ops.minimum(deltas[..., 3], max_log_scale))
    y1 = center_y - 0.5 * height
    x1 = center_x - 0.5 * width
    return ops.stack([y1, x1, y1 + height, x1 + width], axis=-1)


def encode_deltas(boxes, targets):
    """Deltas that turn `boxes` into `targets`.

    Args:
        boxes: float32 (..., 4), (y1, x1, y2, x2), of positive height and width.
        targets: float32 (..., 4), likewise.

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
    """Clip boxes to a window; a box outside becomes an empty box on the window's edge.

    Args:
        boxes: float32 (..., N, 4), (y1, x1, y2, x2).
        window: float32 (..., 1, 4) or (4,), in the same coordinates.

    Returns:
        float32 (..., N, 4).
    """
    low = ops.concatenate([window[..., :2], window[..., :2]], axis=-1)
    high = ops.concatenate([window[..., 2:], window[..., 2:]], axis=-1)
    return ops.minimum(ops.maximum(boxes, low), high)


def have_sides(boxes, smallest: float, image_shape):
    """Whether height and width of boxes (..., 4), normalized, are `smallest` pixels or more: bool (...).

    Args:
        boxes: float32, (y1, x1, y2, x2) divided by the canvas size.
        smallest: pixels.
        image_shape: (H, W) of the canvas, pixels.
    """
    is_high = boxes[..., 2] - boxes[..., 0] >= smallest / image_shape[0]
    return ops.logical_and(is_high, boxes[..., 3] - boxes[..., 1] >= smallest / image_shape[1])


def box_areas(boxes):
    """Areas of boxes (..., 4): float32 (...); 0 for an inverted box."""
    return ops.relu(boxes[..., 2] - boxes[..., 0]) * ops.relu(boxes[..., 3] - boxes[..., 1])


def iou_matrix(boxes_a, boxes_b):
    """Intersection over union of boxes (N, 4) with boxes (M, 4): float32 (N, M); 0 where both are empty."""
    a, b = boxes_a[:, None, :], boxes_b[None, :, :]
    height = ops.relu(ops.minimum(a[..., 2], b[..., 2]) - ops.maximum(a[..., 0], b[..., 0]))
    width = ops.relu(ops.minimum(a[..., 3], b[..., 3]) - ops.maximum(a[..., 1], b[..., 1]))
    intersection = height * width
    union = box_areas(boxes_a)[:, None] + box_areas(boxes_b)[None, :] - intersection
    return ops.where(intersection > 0, intersection / ops.maximum(union, 1e-30), 0.0)
