"""Turns the box head's output into final detections (He et al. 2017, section 3.1, inference)."""

from __future__ import annotations

import numpy as np
from keras import ops

from mrcnn.architecture import architecture_of
from mrcnn.network.backend_ops import DEAD, class_wise_nms
from mrcnn.network.box_coding import clip_boxes, decode_deltas


def detect(rois, counts, class_probs, deltas, windows, config):
    """Refine each region's box for its best class, and suppress overlapping boxes of the same class.

    Args:
        rois: float32 (B, N, 4), normalized (y1, x1, y2, x2).
        counts: int32 (B,), number of proposals per image; the rest is padding.
        class_probs: float32 (B, N, K).
        deltas: float32 (B, N, K, 4), not yet multiplied by BBOX_STD_DEV.
        windows: float32 (B, 4), normalized: the part of the canvas that the image covers; boxes are clipped to it.
        config: BBOX_STD_DEV, DETECTION_MIN_CONFIDENCE, DETECTION_NMS_THRESHOLD, DETECTION_MAX_INSTANCES and the
            optional DETECTION_IGNORE_BACKGROUND are read. With the latter, a region gets its best class other than
            the background; otherwise, regions whose best class is the background are dropped.

    Returns:
        detections: float32 (B, D, 6) with D = DETECTION_MAX_INSTANCES: normalized y1, x1, y2, x2, class id, score,
            highest score first, zero-padded. A box of zero height is one pixel high: normalized edges are inclusive.
        counts: int32 (B,), number of detections per image.
    """
    batch, regions = rois.shape[0], rois.shape[1]
    std_dev = ops.convert_to_tensor(np.asarray(config.BBOX_STD_DEV, np.float32))
    if getattr(config, "DETECTION_IGNORE_BACKGROUND", False):
        # with one or two classes, the background often is more probable than an object that is still the best guess
        class_probs = ops.concatenate([ops.zeros_like(class_probs[..., :1]), class_probs[..., 1:]], axis=-1)
    class_ids = ops.cast(ops.argmax(class_probs, axis=-1), "int32")
    scores = ops.max(class_probs, axis=-1)
    own_deltas = ops.take_along_axis(deltas, class_ids[..., None, None], axis=2)[:, :, 0] * std_dev
    boxes = decode_deltas(rois, own_deltas, architecture_of(config).max_log_scale)
    boxes = clip_boxes(boxes, windows[:, None, :])

    is_real = ops.arange(regions, dtype="int32")[None, :] < counts[:, None]
    is_sure = scores >= float(config.DETECTION_MIN_CONFIDENCE or 0.0)
    live = ops.where(ops.logical_and(ops.logical_and(is_real, class_ids > 0), is_sure), scores, DEAD)

    rows = ops.concatenate([boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
    limit, threshold = int(config.DETECTION_MAX_INSTANCES), float(config.DETECTION_NMS_THRESHOLD)
    detections, kept_counts = [], []
    for image in range(batch):
        indices, kept = class_wise_nms(boxes[image], live[image], class_ids[image], limit, threshold)
        is_kept = ops.arange(limit, dtype="int32") < kept
        detections.append(ops.where(is_kept[:, None], ops.take(rows[image], indices, axis=0), 0.0))
        kept_counts.append(kept)
    return ops.stack(detections), ops.stack(kept_counts)
