"""An image on its way into the network and back: the mean color, and what is known of it as a row of numbers.

Letters: B images of a batch; H, W pixels; K classes with the background.
"""

from __future__ import annotations

import numpy as np

from mrcnn.matterport.boxes import denorm_boxes, norm_boxes
from mrcnn.matterport.resizing import unmold_mask


def compose_image_meta(image_id, original_image_shape, image_shape, window, scale, active_class_ids) -> np.ndarray:
    """What is known of one image as one row of numbers.

    Args:
        image_id: a number of the caller's.
        original_image_shape: (H, W, C) before molding.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in pixels of the canvas: where the image lies.
        scale: factor by which the image was resized.
        active_class_ids: (K,) of 0 and 1.

    Returns:
        float64 (12 + K,).
    """
    return np.array([image_id, *original_image_shape, *image_shape, *window, scale, *active_class_ids], np.float64)


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of rows from `compose_image_meta`, (B, 12 + K): int32, but `scale` float32, each with B rows."""
    ends = {"image_id": 0, "original_image_shape": slice(1, 4), "image_shape": slice(4, 7), "window": slice(7, 11)}
    parts = {name: meta[:, columns].astype(np.int32) for name, columns in ends.items()}
    parts["scale"] = meta[:, 11].astype(np.float32)
    parts["active_class_ids"] = meta[:, 12:].astype(np.int32)
    return parts


def mold_image(images: np.ndarray, config) -> np.ndarray:
    """RGB images (..., 3) minus MEAN_PIXEL, as floats."""
    return images.astype(np.float32) - config.MEAN_PIXEL


def unmold_image(normalized_images: np.ndarray, config) -> np.ndarray:
    """The inverse of `mold_image`: uint8 (..., 3), RGB."""
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)


def unmold_detections(raw, original_image_shape, image_shape, window):
    """Bring what was found on a canvas to the image.

    Args:
        raw: a `network.detector.RawDetections`.
        original_image_shape: (H, W, C) of the image.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in pixels of the canvas: where the image lies.

    Returns:
        boxes int32 (N, 4) pixels, class_ids int32 (N,), scores float32 (N,), masks bool (H, W, N).
    """
    y1, x1, y2, x2 = norm_boxes(np.asarray(window), image_shape[:2])
    scale = np.array([y2 - y1, x2 - x1, y2 - y1, x2 - x1])
    in_window = np.divide(raw.boxes - np.array([y1, x1, y1, x1]), scale)
    boxes = denorm_boxes(in_window, original_image_shape[:2])
    # Boxes that rounding left empty have no pixel to show.
    keep = np.flatnonzero((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) > 0)
    masks = np.zeros((*original_image_shape[:2], len(keep)), bool)
    for place, index in enumerate(keep):
        masks[:, :, place] = unmold_mask(raw.mask_probs[index], boxes[index], original_image_shape)
    return boxes[keep], raw.class_ids[keep], raw.scores[keep], masks
