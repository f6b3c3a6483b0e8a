"""Boxes and anchors in NumPy and helpers on tensors, with the signatures of Matterport's package.

The helpers on tensors import Keras when called, which keeps `mrcnn.utils` light.

Boxes are (y1, x1, y2, x2), y2 and x2 exclusive. Shape letters: N boxes; H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.architecture import MATTERPORT
from mrcnn.network.anchors import centered_anchors, level_anchors, normalize_boxes
from mrcnn.network.numpy_boxes import areas, decode_deltas, iou


def extract_bboxes(mask: NDArray[Any]) -> NDArray[np.int32]:
    """Bounding box of each mask.

    Args:
        mask: (H, W, N), 0 or 1.

    Returns:
        int32 (N, 4), pixels; zeros for an empty mask.
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
    """Intersection over union of one box (4,) with boxes (N, 4), given their areas: (N,)."""
    return iou(box, boxes, np.asarray(box_area), boxes_area)


def compute_overlaps(boxes1: NDArray[Any], boxes2: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of boxes1 (N1, 4) with boxes2 (N2, 4): float64 (N1, N2)."""
    overlaps = iou(boxes1[:, None], boxes2[None], areas(boxes1)[:, None], areas(boxes2)[None])
    return overlaps.astype(np.float64)


def compute_overlaps_masks(masks1: NDArray[Any], masks2: NDArray[Any]) -> NDArray[np.floating]:
    """Intersection over union of masks1 (H, W, N1) with masks2 (H, W, N2): (N1, N2).

    Pixels above 0.5 belong to a mask; the overlap of two empty masks is NaN.
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
    """Greedy non-maximum suppression.

    Args:
        boxes: (N, 4).
        scores: (N,).
        threshold: intersection over union, 0 … 1; a kept box suppresses boxes of lower score that overlap it by more.

    Returns:
        int32, indices of the kept boxes, highest score first.
    """
    boxes = boxes if boxes.dtype.kind == "f" else boxes.astype(np.float32)
    box_areas = areas(boxes)
    remaining = scores.argsort()[::-1]
    keep = []
    while remaining.size:
        best, others = remaining[0], remaining[1:]
        keep.append(best)
        overlaps = iou(boxes[best], boxes[others], box_areas[best], box_areas[others])
        remaining = others[~(overlaps > threshold)]
    return np.array(keep, np.int32)


def apply_box_deltas(boxes: NDArray[Any], deltas: NDArray[Any]) -> NDArray[np.float32]:
    """Apply deltas to boxes (Girshick et al. 2014, appendix C, equations 1 to 4).

    Args:
        boxes: (N, 4).
        deltas: (N, 4), dy, dx, log dh, log dw, relative to each box's size.

    Returns:
        float32 (N, 4).
    """
    return decode_deltas(boxes.astype(np.float32), deltas.astype(np.float32), MATTERPORT.max_log_scale)


def box_refinement(box: NDArray[Any], gt_box: NDArray[Any]) -> NDArray[np.float32]:
    """Deltas float32 (N, 4) that turn `box` (N, 4) into `gt_box` (N, 4); the inverse of `apply_box_deltas`."""
    box, gt_box = box.astype(np.float32), gt_box.astype(np.float32)
    size, gt_size = box[:, 2:4] - box[:, :2], gt_box[:, 2:4] - gt_box[:, :2]
    center, gt_center = box[:, :2] + 0.5 * size, gt_box[:, :2] + 0.5 * gt_size
    return np.concatenate([(gt_center - center) / size, np.log(gt_size / size)], axis=1)


def norm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.float32]:
    """Pixel boxes in normalized coordinates, see `mrcnn.network.anchors.normalize_boxes`.

    Args:
        boxes: (N, 4), pixels, y2 and x2 exclusive.
        shape: height and width of the image, pixels.

    Returns:
        float32 (N, 4), y2 and x2 inclusive.
    """
    return normalize_boxes(boxes, shape[0], shape[1])


def denorm_boxes(boxes: ArrayLike, shape: Sequence[int]) -> NDArray[np.int32]:
    """Normalized boxes (N, 4) in whole pixels: int32 (N, 4); the inverse of `norm_boxes`."""
    height, width = shape[:2]
    scale = np.array([height - 1, width - 1, height - 1, width - 1])
    return np.around(np.multiply(boxes, scale) + np.array([0, 0, 1, 1])).astype(np.int32)


def generate_anchors(
    scales: ArrayLike, ratios: ArrayLike, shape: Sequence[int], feature_stride: float, anchor_stride: int
) -> NDArray[np.float64]:
    """Anchors of one feature map (Ren et al. 2015, section 3.1.1).

    Args:
        scales: sides of the square anchor, input pixels.
        ratios: width / height of the anchors.
        shape: height and width of the feature map, cells.
        feature_stride: input pixels per cell.
        anchor_stride: cells between neighboring anchor positions.

    Returns:
        float64 (N, 4), input pixels, ordered by row, column, ratio and scale, the last one varying fastest. The anchors
        of cell (i, j) are centered at (i, j) * feature_stride.
    """
    ratios = np.atleast_1d(ratios)
    strides = (feature_stride, feature_stride)
    by_scale = [
        level_anchors(centered_anchors(scale, ratios), shape, strides, anchor_stride) for scale in np.atleast_1d(scales)
    ]
    return np.stack(by_scale, axis=1).reshape(-1, 4)


def generate_pyramid_anchors(
    scales: Sequence[Any],
    ratios: ArrayLike,
    feature_shapes: ArrayLike,
    feature_strides: Sequence[float],
    anchor_stride: int,
) -> NDArray[np.float64]:
    """Concatenate the anchors of all pyramid levels; each level has its own scale, feature shape and stride."""
    shapes = np.asarray(feature_shapes)
    levels = [
        generate_anchors(scale, ratios, shape, stride, anchor_stride)
        for scale, shape, stride in zip(scales, shapes, feature_strides, strict=False)
    ]
    return np.concatenate(levels, axis=0)


def box_refinement_graph(box: Any, gt_box: Any) -> Any:
    """Compute `mrcnn.matterport.boxes.box_refinement` on tensors: deltas float32 (N, 4)."""
    from keras import ops

    from mrcnn.network.box_coding import encode_deltas

    return encode_deltas(ops.cast(box, "float32"), ops.cast(gt_box, "float32"))


def batch_slice(inputs: Any, graph_fn: Callable[..., Any], batch_size: int, names: Sequence[str] | None = None) -> Any:
    """Apply a function of single items to each item of a batch.

    Args:
        inputs: one tensor or a list of tensors, (batch_size, ...).
        graph_fn: takes one item of each input; returns a tensor or a list of tensors, of the same shape for each item.
        batch_size: number of items in the batch.
        names: ignored; tensors of Keras 3 have no names.

    Returns:
        The stacked results (batch_size, ...), a list if `graph_fn` returns a list of several.
    """
    from keras import ops

    inputs = inputs if isinstance(inputs, list | tuple) else [inputs]
    results = [graph_fn(*(tensor[i] for tensor in inputs)) for i in range(batch_size)]
    results = [result if isinstance(result, list | tuple) else [result] for result in results]
    stacked = [ops.stack(items, axis=0) for items in zip(*results, strict=True)]
    return stacked[0] if len(stacked) == 1 else stacked
