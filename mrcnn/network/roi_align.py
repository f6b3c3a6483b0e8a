"""ROI align over the pyramid: each region is pooled from the level that matches its size (Lin et al. 2017, equation 1).

One bilinear sample per bin (He et al. 2017, section 3: "nearly as effective" as four), as Matterport's package does.
"""

from __future__ import annotations

import math

from keras import ops

from mrcnn.network.backend_ops import crop_levels
from mrcnn.network.constants import CANONICAL_SIDE


def roi_levels(boxes, image_shape):
    """Index of the pyramid level from which each region is pooled.

    Args:
        boxes: float32 (..., 4), normalized (y1, x1, y2, x2).
        image_shape: (H, W) of the canvas, pixels.

    Returns:
        int32 (...): 0 for P2 … 3 for P5; 0 for empty boxes.
    """
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    side = ops.sqrt(ops.maximum(height * width, 1e-12))
    level = ops.round(ops.log2(side * (math.sqrt(image_shape[0] * image_shape[1]) / CANONICAL_SIDE)))
    return ops.cast(ops.clip(level + 2.0, 0.0, 3.0), "int32")


def roi_align(feature_maps, boxes, pool_size: int, image_shape):
    """Pool every region from its pyramid level to a fixed size.

    Args:
        feature_maps: [P2, P3, P4, P5], each (B, h, w, C).
        boxes: float32 (B, N, 4), normalized (y1, x1, y2, x2). Gradients do not propagate to them.
        pool_size: side of the result, cells.
        image_shape: (H, W) of the canvas, pixels.

    Returns:
        (B, N, pool_size, pool_size, C).
    """
    batch, count = boxes.shape[0], boxes.shape[1]
    flat_boxes = ops.reshape(ops.stop_gradient(boxes), (batch * count, 4))
    image_indices = ops.repeat(ops.arange(batch, dtype="int32"), count)
    levels = roi_levels(flat_boxes, image_shape)
    pooled = crop_levels(feature_maps, flat_boxes, image_indices, levels, pool_size)
    return ops.reshape(pooled, (batch, count, pool_size, pool_size, feature_maps[0].shape[-1]))
