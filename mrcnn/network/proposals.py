"""Turns scored anchors into region proposals for the heads (Ren et al. 2015, section 3.3)."""

from __future__ import annotations

import numpy as np
from keras import ops

from mrcnn.architecture import architecture_of
from mrcnn.network.backend_ops import non_max_suppression
from mrcnn.network.box_coding import clip_boxes, decode_deltas


def propose(object_probs, rpn_deltas, anchors, count: int, config):
    """Apply deltas to the best anchors, clip them to the canvas and suppress overlapping ones.

    Args:
        object_probs: float32 (B, A), probability that an anchor contains an object.
        rpn_deltas: float32 (B, A, 4), not yet multiplied by RPN_BBOX_STD_DEV.
        anchors: float32 (A, 4), normalized (y1, x1, y2, x2).
        count: proposals per image (POST_NMS_ROIS_INFERENCE or POST_NMS_ROIS_TRAINING).
        config: PRE_NMS_LIMIT, RPN_BBOX_STD_DEV and RPN_NMS_THRESHOLD are read.

    Returns:
        rois: float32 (B, count, 4), normalized (y1, x1, y2, x2), highest score first, zero-padded.
        counts: int32 (B,), number of proposals per image.
    """
    max_log_scale = architecture_of(config).max_log_scale
    limit = min(config.PRE_NMS_LIMIT, anchors.shape[0])
    std_dev = ops.convert_to_tensor(np.asarray(config.RPN_BBOX_STD_DEV, np.float32))
    anchors = ops.convert_to_tensor(anchors)
    window = ops.convert_to_tensor(np.array([0.0, 0.0, 1.0, 1.0], np.float32))
    rois, counts = [], []
    for image in range(object_probs.shape[0]):
        scores, best = ops.top_k(object_probs[image], limit)
        deltas = ops.take(rpn_deltas[image], best, axis=0) * std_dev
        boxes = clip_boxes(decode_deltas(ops.take(anchors, best, axis=0), deltas, max_log_scale), window)
        indices, kept = non_max_suppression(boxes, scores, count, float(config.RPN_NMS_THRESHOLD))
        is_kept = ops.arange(count, dtype="int32") < kept
        rois.append(ops.where(is_kept[:, None], ops.take(boxes, indices, axis=0), 0.0))
        counts.append(kept)
    return ops.stack(rois), ops.stack(counts)
