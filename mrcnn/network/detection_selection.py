"""Turns the box head's output into final detections (He et al. 2017, section 3.1, inference)."""

from __future__ import annotations

import numpy as np
from keras import ops

from mrcnn.architecture import architecture_of
from mrcnn.network.backend_ops import DEAD, class_wise_nms
from mrcnn.network.box_coding import clip_boxes, decode_deltas, have_sides

MAX_CANDIDATES = 2000
"""Candidates, those with the highest scores, that enter suppression where every class of a region is one. Of pairs of
1000 regions and 90 classes, a few hundred reach a score of 0.05 on a crowded image."""


def detect(rois, counts, class_probs, deltas, windows, image_shape, config):
    """Refine the regions' boxes for their classes, and suppress overlapping boxes of the same class.

    Args:
        rois: float32 (B, N, 4), normalized (y1, x1, y2, x2).
        counts: int32 (B,), number of proposals per image; the rest is padding.
        class_probs: float32 (B, N, K).
        deltas: float32 (B, N, K, 4), not yet multiplied by BBOX_STD_DEV.
        windows: float32 (B, 4), normalized: the part of the canvas that the image covers; boxes are clipped to it.
        image_shape: (H, W) of the canvas, pixels.
        config: ARCHITECTURE, BBOX_STD_DEV, DETECTION_MIN_CONFIDENCE, DETECTION_NMS_THRESHOLD, DETECTION_MAX_INSTANCES
            and the optional DETECTION_IGNORE_BACKGROUND are read. With the latter, a region gets its best class other
            than the background; otherwise, regions whose best class is the background are dropped. A score that
            equals DETECTION_MIN_CONFIDENCE passes.

    Returns:
        detections: float32 (B, D, 6) with D = DETECTION_MAX_INSTANCES: normalized y1, x1, y2, x2, class id, score,
            highest score first, zero-padded. In Matterport's coordinates, a box of zero height is one pixel high:
            normalized edges are inclusive.
        counts: int32 (B,), number of detections per image.
    """
    architecture = architecture_of(config)
    is_real = ops.arange(rois.shape[1], dtype="int32")[None, :] < counts[:, None]
    if architecture.every_class:
        region_indices, class_ids, scores = _every_class(class_probs, is_real)
    else:
        may_be_background = not getattr(config, "DETECTION_IGNORE_BACKGROUND", False)
        region_indices, class_ids, scores = _best_class(class_probs, is_real, may_be_background)

    std_dev = ops.convert_to_tensor(np.asarray(config.BBOX_STD_DEV, np.float32))
    classes = class_probs.shape[2]
    flat_deltas = ops.reshape(deltas, (deltas.shape[0], -1, 4))
    own_deltas = ops.take_along_axis(flat_deltas, (region_indices * classes + class_ids)[..., None], axis=1) * std_dev
    own_rois = ops.take_along_axis(rois, region_indices[..., None], axis=1)
    boxes = clip_boxes(decode_deltas(own_rois, own_deltas, architecture.max_log_scale), windows[:, None, :])
    live = scores >= float(config.DETECTION_MIN_CONFIDENCE or 0.0)
    if architecture.smallest_detection:
        live = ops.logical_and(live, have_sides(boxes, architecture.smallest_detection, image_shape))
    live_scores = ops.where(live, scores, DEAD)

    rows = ops.concatenate([boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
    limit, threshold = int(config.DETECTION_MAX_INSTANCES), float(config.DETECTION_NMS_THRESHOLD)
    detections, kept_counts = [], []
    for image in range(rois.shape[0]):
        indices, kept = class_wise_nms(boxes[image], live_scores[image], class_ids[image], limit, threshold)
        is_kept = ops.arange(limit, dtype="int32") < kept
        detections.append(ops.where(is_kept[:, None], ops.take(rows[image], indices, axis=0), 0.0))
        kept_counts.append(kept)
    return ops.stack(detections), ops.stack(kept_counts)


def _best_class(class_probs, is_real, may_be_background):
    """Candidates: each region with its most probable class; DEAD if that is the background.

    Returns:
        Region index int32, class id int32 and score float32, (B, N) each.
    """
    if not may_be_background:
        # with one or two classes, the background often is more probable than an object that is still the best guess
        class_probs = ops.concatenate([ops.zeros_like(class_probs[..., :1]), class_probs[..., 1:]], axis=-1)
    class_ids = ops.cast(ops.argmax(class_probs, axis=-1), "int32")
    scores = ops.where(ops.logical_and(is_real, class_ids > 0), ops.max(class_probs, axis=-1), DEAD)
    region_indices = ops.broadcast_to(ops.arange(class_ids.shape[1], dtype="int32")[None], class_ids.shape)
    return region_indices, class_ids, scores


def _every_class(class_probs, is_real):
    """Candidates: the MAX_CANDIDATES most probable pairs of a region and a class other than the background.

    Returns:
        Region index int32, class id int32 and score float32, (B, M) each.
    """
    batch, regions, classes = class_probs.shape
    probs = ops.where(is_real[..., None], class_probs[..., 1:], DEAD)
    count = min(MAX_CANDIDATES, regions * (classes - 1))
    scores, pairs = ops.top_k(ops.reshape(probs, (batch, regions * (classes - 1))), count)
    pairs = ops.cast(pairs, "int32")
    return pairs // (classes - 1), pairs % (classes - 1) + 1, scores
