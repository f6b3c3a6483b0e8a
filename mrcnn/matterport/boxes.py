"""Boxes and anchors in NumPy: overlaps, suppression, encoding as deltas, normalization.

Boxes are (y1, x1, y2, x2), with y2 and x2 outside the box. Shape letters: N boxes, H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def extract_bboxes(mask: NDArray[Any]) -> NDArray[np.int32]:
    """The tight box around each mask.

    Args:
        mask: (H, W, N), 0 or 1.

    Returns:
        int32 (N, 4); zeros for a mask without a pixel.
    """
    boxes = np.zeros((mask.shape[-1], 4), np.int32)
    for i in range(mask.shape[-1]):
        rows = np.flatnonzero(mask[:, :, i].any(axis=1))
        columns = np.flatnonzero(mask[:, :, i].any(axis=0))
        if rows.size:
            boxes[i] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return boxes


def compute_iou(
    box: NDArray[Any], boxes: NDArray[Any], box_area: float, boxes_area: NDArray[Any]
) -> NDArray[np.floating]:
    """Intersection over union of one box (4,) with boxes (N, 4), whose areas the caller already has; (N,)."""
    height = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    width = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    intersection = np.maximum(height, 0) * np.maximum(width, 0)
    return intersection / (box_area + boxes_area - intersection)


def compute_overlaps(boxes1: NDArray[Any], boxes2: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of each of boxes1 (N1, 4) with each of boxes2 (N2, 4); float64 (N1, N2)."""
    top_left = np.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    bottom_right = np.minimum(boxes1[:, None, 2:4], boxes2[None, :, 2:4])
    intersection = np.maximum(bottom_right - top_left, 0).prod(axis=2)
    union = _areas(boxes2)[None] + _areas(boxes1)[:, None] - intersection
    return (intersection / union).astype(np.float64)


def compute_overlaps_masks(masks1: NDArray[Any], masks2: NDArray[Any]) -> NDArray[np.floating]:
    """Intersection over union of each of masks1 (H, W, N1) with each of masks2 (H, W, N2); (N1, N2).

    A mask that is 0.5 or less everywhere counts as empty; two empty masks have no overlap defined (nan).
    """
    count1, count2 = masks1.shape[-1], masks2.shape[-1]
    if masks1.size == 0 or masks2.size == 0:
        return np.zeros((count1, count2))
    flat1 = (masks1.reshape(-1, count1) > 0.5).astype(np.float32)
    flat2 = (masks2.reshape(-1, count2) > 0.5).astype(np.float32)
    intersections = flat1.T @ flat2
    unions = flat1.sum(axis=0)[:, None] + flat2.sum(axis=0)[None] - intersections
    with np.errstate(invalid="ignore"):
        return intersections / unions


def non_max_suppression(boxes: NDArray[Any], scores: NDArray[Any], threshold: float) -> NDArray[np.int32]:
    """Greedy suppression: a box goes when it overlaps a better one that stays by more than the threshold.

    Args:
        boxes: (N, 4).
        scores: (N,).
        threshold: intersection over union, 0 … 1.

    Returns:
        int32, indices of the boxes that stay, best score first.
    """
    boxes = boxes if boxes.dtype.kind == "f" else boxes.astype(np.float32)
    areas = _areas(boxes)
    remaining = scores.argsort()[::-1]
    keep = []
    while remaining.size:
        best, others = remaining[0], remaining[1:]
        keep.append(best)
        overlaps = compute_iou(boxes[best], boxes[others], areas[best], areas[others])
        remaining = others[~(overlaps > threshold)]
    return np.array(keep, np.int32)


def apply_box_deltas(boxes: NDArray[Any], deltas: NDArray[Any]) -> NDArray[np.float32]:
    """Move and stretch boxes (Girshick et al. 2014, appendix C, equations 1 to 4).

    Args:
        boxes: (N, 4).
        deltas: (N, 4), dy, dx, log dh, log dw, relative to each box's size.

    Returns:
        float32 (N, 4).
    """
    boxes, deltas = boxes.astype(np.float32), deltas.astype(np.float32)
    size = boxes[:, 2:4] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = size * np.exp(deltas[:, 2:4])
    top_left = center - 0.5 * size
    return np.concatenate([top_left, top_left + size], axis=1)


def box_refinement(box: NDArray[Any], gt_box: NDArray[Any]) -> NDArray[np.float32]:
    """The deltas (N, 4) that turn `box` (N, 4) into `gt_box` (N, 4): what `apply_box_deltas` undoes."""
    box, gt_box = box.astype(np.float32), gt_box.astype(np.float32)
    size, gt_size = box[:, 2:4] - box[:, :2], gt_box[:, 2:4] - gt_box[:, :2]
    center, gt_center = box[:, :2] + 0.5 * size, gt_box[:, :2] + 0.5 * gt_size
    return np.concatenate([(gt_center - center) / size, np.log(gt_size / size)], axis=1)


def norm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Pixels to normalized coordinates, in which 0 … 1 runs from the first pixel to the last one of an image.

    Args:
        boxes: (N, 4), pixels, y2 and x2 outside the box.
        shape: height and width of the image, pixels.

    Returns:
        float32 (N, 4), y2 and x2 inside the box.
    """
    scale, shift = _normalization(shape)
    return ((np.asarray(boxes) - shift) / scale).astype(np.float32)


def denorm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.int32]:
    """Normalized coordinates (N, 4) to whole pixels, int32 (N, 4): what `norm_boxes` undoes."""
    scale, shift = _normalization(shape)
    return np.around(np.multiply(boxes, scale) + shift).astype(np.int32)


def generate_anchors(
    scales: ArrayLike, ratios: ArrayLike, shape: Sequence[int], feature_stride: float, anchor_stride: int
) -> NDArray[np.float64]:
    """Anchors of one feature map (Ren et al. 2015, section 3.1.1).

    Args:
        scales: sides of the square anchor, input pixels.
        ratios: width / height of the anchors.
        shape: height and width of the feature map, cells.
        feature_stride: input pixels per cell.
        anchor_stride: 1: anchors at every cell, 2: at every other cell …

    Returns:
        float64 (N, 4), input pixels, by row, column, ratio and scale, the last one running fastest. The anchors of
        cell (i, j) are centered at (i, j) * feature_stride.
    """
    scales, roots = np.atleast_1d(scales), np.sqrt(np.atleast_1d(ratios))
    sizes = np.stack([(scales / roots[:, None]).ravel(), (scales * roots[:, None]).ravel()], axis=1)
    rows, columns = (np.arange(0, count, anchor_stride) * feature_stride for count in shape[:2])
    centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return np.concatenate([centers - 0.5 * sizes, centers + 0.5 * sizes], axis=2).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Sequence[Any],
    ratios: ArrayLike,
    feature_shapes: ArrayLike,
    feature_strides: Sequence[float],
    anchor_stride: int,
) -> NDArray[np.float64]:
    """Anchors of all pyramid levels, one after the other; level i has its own scale, shape and stride (see above)."""
    shapes = np.asarray(feature_shapes)
    levels = [
        generate_anchors(scale, ratios, shape, stride, anchor_stride)
        for scale, shape, stride in zip(scales, shapes, feature_strides, strict=False)
    ]
    return np.concatenate(levels, axis=0)


def _areas(boxes: NDArray[Any]) -> NDArray[Any]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _normalization(shape: Sequence[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    height, width = shape[:2]
    return np.array([height - 1, width - 1, height - 1, width - 1]), np.array([0, 0, 1, 1])
