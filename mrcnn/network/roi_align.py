"""ROI align over the pyramid: each region is read from the level that suits its size (Lin et al. 2017, equation 1).

One bilinear sample per bin (He et al. 2017, section 3: "nearly as effective" as four), as Matterport's package does.
"""

from __future__ import annotations

import math

from keras import ops

from mrcnn.network.backend_ops import crop_levels

CANONICAL_SIDE = 224.0
"""Side in pixels of a region that belongs to P4: ImageNet's crop size."""


def roi_levels(boxes, image_shape):
    """Which of P2 to P5 each region is read from.

    Args:
        boxes: float32 (..., 4), normalized.
        image_shape: (H, W) of the canvas, pixels.

    Returns:
        int32 (...): 0 for P2 … 3 for P5. Empty boxes belong to P2.
    """
    height = boxes[..., 2] - boxes[..., 0]
    width = boxes[..., 3] - boxes[..., 1]
    side = ops.sqrt(ops.maximum(height * width, 1e-12))
    level = ops.round(ops.log2(side * (math.sqrt(image_shape[0] * image_shape[1]) / CANONICAL_SIDE)))
    return ops.cast(ops.clip(level + 2.0, 0.0, 3.0), "int32")


def roi_align(feature_maps, boxes, pool_size: int, image_shape):
    """Cut every region out of its pyramid level and bring it to a fixed size.

    Args:
        feature_maps: [P2, P3, P4, P5], each (B, h, w, C).
        boxes: float32 (B, N, 4), normalized (y1, x1, y2, x2). No gradient flows into them.
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
