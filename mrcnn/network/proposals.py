"""From the scored anchors to the regions that the heads look at (Ren et al. 2015, section 3.3)."""

from __future__ import annotations

import numpy as np
from keras import ops

from mrcnn.network.backend_ops import non_max_suppression
from mrcnn.network.box_coding import clip_boxes, decode_deltas

PRE_NMS_LIMIT = 6000
"""Best anchors that enter suppression, where the Config has no PRE_NMS_LIMIT: the paper's number, and
Matterport's."""


def propose(object_probs, rpn_deltas, anchors, count: int, config):
    """Move the best anchors by their deltas, cut them at the canvas and suppress overlapping ones.

    Args:
        object_probs: float32 (B, A), probability that an anchor holds an object.
        rpn_deltas: float32 (B, A, 4), as the network gives them (not yet multiplied by RPN_BBOX_STD_DEV).
        anchors: float32 (A, 4), normalized.
        count: proposals per image (POST_NMS_ROIS_INFERENCE or POST_NMS_ROIS_TRAINING).
        config: RPN_BBOX_STD_DEV, RPN_NMS_THRESHOLD and, if it has one, PRE_NMS_LIMIT count.

    Returns:
        rois: float32 (B, count, 4), normalized (y1, x1, y2, x2), best first, zeros from the image's count on.
        counts: int32 (B,), how many each image has.
    """
    limit = min(getattr(config, "PRE_NMS_LIMIT", PRE_NMS_LIMIT), anchors.shape[0])
    std_dev = ops.convert_to_tensor(np.asarray(config.RPN_BBOX_STD_DEV, np.float32))
    anchors = ops.convert_to_tensor(anchors)
    window = ops.convert_to_tensor(np.array([0.0, 0.0, 1.0, 1.0], np.float32))
    rois, counts = [], []
    for image in range(object_probs.shape[0]):
        scores, best = ops.top_k(object_probs[image], limit)
        deltas = ops.take(rpn_deltas[image], best, axis=0) * std_dev
        boxes = clip_boxes(decode_deltas(ops.take(anchors, best, axis=0), deltas), window)
        indices, kept = non_max_suppression(boxes, scores, count, float(config.RPN_NMS_THRESHOLD))
        is_kept = ops.arange(count, dtype="int32") < kept
        rois.append(ops.where(is_kept[:, None], ops.take(boxes, indices, axis=0), 0.0))
        counts.append(kept)
    return ops.stack(rois), ops.stack(counts)
