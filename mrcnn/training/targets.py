"""Training targets of the RPN's anchors and of the regions that the heads classify.

Letters: A anchors; G slots for objects, the first of which are used; C slots for crowd regions; N proposals; T sampled
regions, the first P of which are for objects; M of those get a mask; S side of a mask. Boxes are (y1, x1, y2, x2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from keras import ops

from mrcnn.network.backend_ops import gathering_sampler
from mrcnn.network.box_coding import encode_deltas, iou_matrix
from mrcnn.network.numpy_boxes import areas, intersections

RPN_POSITIVE_IOU = 0.7
RPN_NEGATIVE_IOU = 0.3
"""Ren et al. 2015, section 3.1.2."""

REGION_POSITIVE_IOU = 0.5
"""He et al. 2017, section 3.1."""

CROWD_SHARE = 0.5
"""A box with more than this share of its area inside a crowd region is neither object nor background."""


def numpy_iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and (M, 4): float32 (N, M)."""
    intersection = intersections(boxes_a[:, None], boxes_b[None])
    union = areas(boxes_a)[:, None] + areas(boxes_b)[None, :] - intersection
    return intersection / np.maximum(union, 1e-9)


def numpy_share_inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Largest share of each box's (N, 4) area that lies in one of the regions (M, 4): float32 (N,)."""
    if len(regions) == 0:
        return np.zeros(len(boxes), np.float32)
    return intersections(boxes[:, None], regions[None]).max(axis=1) / np.maximum(areas(boxes), 1e-9)


def rpn_targets(
    anchors: np.ndarray,
    gt_boxes: np.ndarray,
    crowd_boxes: np.ndarray,
    std_dev: np.ndarray,
    sampled: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Which anchors are objects, which background, and the deltas that take an anchor to its object.

    An anchor is an object if it overlaps one by 0.7 or is one of the best for that object; background if it overlaps
    none by 0.3 and does not lie in a crowd region. At most half of the sampled ones are objects.

    Args:
        anchors: float32 (A, 4), pixels.
        gt_boxes: float32 (n, 4), pixels, positive height and width.
        crowd_boxes: float32 (m, 4), pixels.
        std_dev: (4,), RPN_BBOX_STD_DEV.
        sampled: number of anchors that count (RPN_TRAIN_ANCHORS_PER_IMAGE).
        rng: chooses among the candidates.

    Returns:
        match int8 (A,): 1 object, -1 background, 0 does not count; deltas float32 (A, 4), zeros but at objects.
    """
    match = np.zeros(len(anchors), np.int8)
    deltas = np.zeros((len(anchors), 4), np.float32)
    best_object = np.zeros(len(anchors), np.intp)
    best_iou = np.zeros(len(anchors), np.float32)
    if len(gt_boxes):
        iou = numpy_iou(anchors, gt_boxes)
        best_object = iou.argmax(axis=1)
        best_iou = iou[np.arange(len(anchors)), best_object]
        match[best_iou >= RPN_POSITIVE_IOU] = 1
        rows, columns = np.nonzero((iou == iou.max(axis=0)) & (iou > 0))
        match[rows] = 1
        best_object[rows] = columns  # an object's best anchor learns that object, even if it overlaps another more
    is_background = (best_iou < RPN_NEGATIVE_IOU) & (match == 0)
    is_background[is_background] = numpy_share_inside(anchors[is_background], crowd_boxes) <= CROWD_SHARE
    match[is_background] = -1

    _subsample(match, 1, sampled // 2, rng)
    positives = np.flatnonzero(match == 1)
    _subsample(match, -1, sampled - len(positives), rng)
    if len(positives):
        deltas[positives] = numpy_deltas(anchors[positives], gt_boxes[best_object[positives]]) / np.asarray(
            std_dev, np.float32
        )
    return match, deltas


def numpy_deltas(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """`box_coding.encode_deltas` on arrays: float32 (N, 4), not divided by the standard deviations."""
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    shift = (targets[:, :2] + 0.5 * target_size - boxes[:, :2] - 0.5 * size) / size
    return np.concatenate([shift, np.log(target_size / size)], axis=1).astype(np.float32)


class ObjectSlots(NamedTuple):
    """The annotated objects of one image.

    Attributes:
        boxes: float32 (G, 4), normalized.
        class_ids: int32 (G,).
        used: float32 (G,), 1 in used rows.
        crowd_boxes: float32 (C, 4), normalized, zeros in unused rows.
    """

    boxes: object
    class_ids: object
    used: object
    crowd_boxes: object


class RegionTargets(NamedTuple):
    """The sampled regions of one image: P slots for objects first, then those for background.

    Unused slots have a weight of 0.

    Attributes:
        rois: float32 (T, 4), normalized; no gradient flows into them.
        counts: float32 (T,), 1 where the slot is used.
        is_object: float32 (T,), 1 where it holds an object.
        object_indices: int32 (T,), which of the G objects (0 for background).
        class_ids: int32 (T,), 0 for background.
        deltas: float32 (T, 4), divided by BBOX_STD_DEV; zeros for background.
    """

    rois: object
    counts: object
    is_object: object
    object_indices: object
    class_ids: object
    deltas: object


def sample_regions(proposals, truth: ObjectSlots, noise, sampled: int, objects: int, std_dev) -> RegionTargets:
    """Sample the regions of one image on which the heads are trained.

    The objects' own boxes join the proposals. A region is an object if it overlaps one by 0.5. Regions of objects with
    a class above 0 come before those of class 0: objects of categories that are not among the classes, from which the
    network learns regions and masks, and which the classifier learns as background.

    Args:
        proposals: float32 (N, 4), normalized, zeros in unused rows.
        truth: the annotated objects.
        noise: float32 (N + G,), uniform 0 … 1: decides what is sampled.
        sampled: T.
        objects: P.
        std_dev: BBOX_STD_DEV.
    """
    rois = ops.stop_gradient(ops.concatenate([proposals, truth.boxes], axis=0))
    areas = (rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1])
    iou = iou_matrix(rois, truth.boxes) * truth.used[None, :]
    best_iou, best_object = ops.max(iou, axis=1), ops.cast(ops.argmax(iou, axis=1), "int32")
    is_positive = ops.logical_and(best_iou >= REGION_POSITIVE_IOU, areas > 0)
    in_crowd = _share_inside(rois, areas, truth.crowd_boxes) > CROWD_SHARE
    is_negative = ops.logical_and(ops.logical_and(best_iou < REGION_POSITIVE_IOU, areas > 0), ops.logical_not(in_crowd))

    preference = noise + ops.cast(ops.take(truth.class_ids, best_object) > 0, "float32")
    positive_keys, positive = ops.top_k(ops.where(is_positive, preference, -1.0), objects)
    negative_keys, negative = ops.top_k(ops.where(is_negative, noise, -1.0), sampled - objects)
    is_object = ops.cast(positive_keys >= 0, "float32")
    background = ops.zeros((sampled - objects,), "float32")
    chosen = ops.cast(ops.concatenate([positive, negative]), "int32")
    counts = ops.concatenate([is_object, ops.cast(negative_keys >= 0, "float32")])
    is_object = ops.concatenate([is_object, background])
    object_indices = ops.take(best_object, chosen) * ops.cast(is_object, "int32")
    rois = ops.take(rois, chosen, axis=0) * counts[:, None]
    # an unused slot gets the whole canvas as box, so that no logarithm of zero enters the gradient
    canvas = ops.convert_to_tensor(np.array([0, 0, 1, 1], np.float32))
    sources = ops.where(is_object[:, None] > 0, rois, canvas)
    goals = ops.where(is_object[:, None] > 0, ops.take(truth.boxes, object_indices, axis=0), canvas)
    deltas = encode_deltas(sources, goals) / ops.convert_to_tensor(np.asarray(std_dev, np.float32))
    class_ids = ops.take(truth.class_ids, object_indices) * ops.cast(is_object, "int32")
    return RegionTargets(rois, counts, is_object, object_indices, class_ids, deltas)


def mask_targets(rois, gt_boxes, mini_masks, object_indices, side: int):
    """Each region's part of its object's mask, sampled at the centers of the cells of the head's mask.

    Args:
        rois: float32 (M, 4), normalized.
        gt_boxes: float32 (G, 4), normalized.
        mini_masks: float32 (G, h, w), 0 … 1, each stretched over its object's box.
        object_indices: int32 (M,).
        side: S.

    Returns:
        float32 (M, S, S), 0 … 1; 0 outside the object's box.
    """
    boxes = ops.take(gt_boxes, object_indices, axis=0)
    sizes = ops.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    relative_low = (rois[:, :2] - boxes[:, :2]) / sizes
    relative_high = (rois[:, 2:] - boxes[:, :2]) / sizes
    half_cell = 0.5 * (relative_high - relative_low) / side
    # A border of zeros, so that a sample in the outermost half cell is not treated as outside the mask.
    framed = ops.pad(mini_masks, [[0, 0], [1, 1], [1, 1]])
    cells = ops.convert_to_tensor(np.array(mini_masks.shape[1:3], np.float32))
    # The sampler puts 0 and 1 on the centers of the first and last cell of the framed mask.
    low = ((relative_low + half_cell) * cells + 0.5) / (cells + 1)
    high = ((relative_high - half_cell) * cells + 0.5) / (cells + 1)
    grid = ops.concatenate([low, high], axis=1)
    levels = ops.zeros_like(object_indices)
    sampled = gathering_sampler([framed[..., None]])(grid, object_indices, levels, side)
    return ops.stop_gradient(sampled[..., 0])


def full_mask_targets(rois, full_masks, object_indices, side: int):
    """The same from full masks (G, H, W), 0 or 1: sampled from the centers of a region's first pixels to its last."""
    masks = ops.cast(full_masks, "float32")[..., None]
    sampled = gathering_sampler([masks])(rois, object_indices, ops.zeros_like(object_indices), side)
    return ops.stop_gradient(sampled[..., 0])


def random_regions(gt_boxes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Regions in place of proposals, for heads that are trained without the RPN (USE_RPN_ROIS = False).

    Nine of ten are boxes of objects with each edge moved by up to half the object's side; the others are uniform.

    Args:
        gt_boxes: float32 (n, 4), normalized, n of 1 or more.
        count: N.
        rng: of all random choices.

    Returns:
        float32 (N, 4), normalized, inside the canvas.
    """
    near = gt_boxes[rng.integers(len(gt_boxes), size=count)]
    sides = np.tile(near[:, 2:] - near[:, :2], 2)
    around = np.clip(near + sides * rng.uniform(-0.5, 0.5, (count, 4)), 0, 1)
    anywhere = rng.uniform(0, 1, (count, 4))
    regions = np.where(np.arange(count)[:, None] < 0.9 * count, around, anywhere)
    corners = np.sort(regions.reshape(count, 2, 2), axis=1)  # opposite edges may have swapped
    return corners.reshape(count, 4).astype(np.float32)


def _share_inside(rois, areas, regions):
    height = ops.relu(
        ops.minimum(rois[:, None, 2], regions[None, :, 2]) - ops.maximum(rois[:, None, 0], regions[None, :, 0])
    )
    width = ops.relu(
        ops.minimum(rois[:, None, 3], regions[None, :, 3]) - ops.maximum(rois[:, None, 1], regions[None, :, 1])
    )
    return ops.max(height * width, axis=1) / ops.maximum(areas, 1e-9)


def _subsample(match: np.ndarray, label: int, most: int, rng: np.random.Generator) -> None:
    """Keep at most `most` anchors of a label, chosen at random; set the others to 0."""
    found = np.flatnonzero(match == label)
    if len(found) > most:
        match[rng.choice(found, len(found) - most, replace=False)] = 0
