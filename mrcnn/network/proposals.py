"""Turns scored anchors into region proposals for the heads (Ren et al. 2015, section 3.3)."""

from __future__ import annotations

import numpy as np
from keras import ops

from mrcnn.architecture import architecture_of
from mrcnn.network.anchors import AnchorSettings, level_ends
from mrcnn.network.backend_ops import DEAD, non_max_suppression
from mrcnn.network.box_coding import clip_boxes, decode_deltas, have_sides

CANVAS = np.array([0.0, 0.0, 1.0, 1.0], np.float32)
"""The window of an image that covers its whole canvas, (y1, x1, y2, x2) in normalized coordinates of every kind."""


LARGEST_LOGIT = 80.0
"""Its exponential is finite in float32."""


def anchor_scores(class_logits, architecture):
    """What anchors are ranked by: float32 (B, A), 0 or more.

    It is the probability of an object. Where anchors compete level by level, it is the odds, which order anchors as
    torchvision and detectron2 do, by their logits: above a logit of 17, all probabilities are 1 in float32.

    Args:
        class_logits: float32 (B, A, 2), (background, object).
        architecture: proposals_per_level is read.
    """
    if not architecture.proposals_per_level:
        return ops.softmax(class_logits, axis=-1)[..., 1]
    return ops.exp(ops.minimum(class_logits[..., 1] - class_logits[..., 0], LARGEST_LOGIT))


def propose(scores, rpn_deltas, anchors, windows, image_shape, count: int, config):
    """Apply deltas to the best anchors, clip them and suppress overlapping ones.

    Anchors compete within groups: one group of all anchors, or one for each pyramid level (`proposals_per_level` of
    the architecture). Of each group, the PRE_NMS_LIMIT best anchors enter suppression; of what remains of all groups,
    the best `count` are proposed.

    Args:
        scores: float32 (B, A), see `anchor_scores`.
        rpn_deltas: float32 (B, A, 4), not yet multiplied by RPN_BBOX_STD_DEV.
        anchors: float32 (A, 4), normalized (y1, x1, y2, x2).
        windows: float32 (B, 4), normalized: the part of the canvas that the image covers. Boxes are clipped to it if
            anchors compete level by level, otherwise to the canvas.
        image_shape: (H, W) of the canvas, pixels.
        count: proposals per image (POST_NMS_ROIS_INFERENCE or POST_NMS_ROIS_TRAINING).
        config: ARCHITECTURE, PRE_NMS_LIMIT, RPN_BBOX_STD_DEV, RPN_NMS_THRESHOLD and the settings of anchors are read.

    Returns:
        rois: float32 (B, count, 4), normalized (y1, x1, y2, x2), highest score first, zero-padded.
        counts: int32 (B,), number of proposals per image.
    """
    architecture = architecture_of(config)
    std_dev = ops.convert_to_tensor(np.asarray(config.RPN_BBOX_STD_DEV, np.float32))
    ends = level_ends(AnchorSettings.from_config(config), *image_shape) if architecture.proposals_per_level else None
    anchors = ops.convert_to_tensor(anchors)

    def best_of(image, start, end):
        """Proposals of one group: boxes (n, 4) and scores (n,), highest first, DEAD in unused rows."""
        best_scores, best = ops.top_k(scores[image, start:end], min(config.PRE_NMS_LIMIT, end - start))
        best = best + start
        deltas = ops.take(rpn_deltas[image], best, axis=0) * std_dev
        boxes = decode_deltas(ops.take(anchors, best, axis=0), deltas, architecture.max_log_scale)
        boxes = clip_boxes(boxes, ops.convert_to_tensor(CANVAS) if ends is None else windows[image])
        if architecture.smallest_proposal:
            is_large = have_sides(boxes, architecture.smallest_proposal, image_shape)
            best_scores = ops.where(is_large, best_scores, DEAD)
        indices, kept = non_max_suppression(boxes, best_scores, count, float(config.RPN_NMS_THRESHOLD))
        is_kept = ops.arange(count, dtype="int32") < kept
        return ops.take(boxes, indices, axis=0), ops.where(is_kept, ops.take(best_scores, indices), DEAD)

    rois, counts = [], []
    for image in range(scores.shape[0]):
        if ends is None:
            boxes, found_scores = best_of(image, 0, anchors.shape[0])
        else:
            groups = [best_of(image, start, end) for start, end in zip((0, *ends), ends, strict=False)]
            boxes, found_scores = (ops.concatenate(parts) for parts in zip(*groups, strict=True))
            found_scores, best = ops.top_k(found_scores, count)
            boxes = ops.take(boxes, best, axis=0)
        is_kept = found_scores >= 0.0
        rois.append(ops.where(is_kept[:, None], boxes, 0.0))
        counts.append(ops.sum(ops.cast(is_kept, "int32")))
    return ops.stack(rois), ops.stack(counts)
