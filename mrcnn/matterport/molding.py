"""Conversions between images and the network's inputs and outputs: mean color, image metadata, detections.

Shape letters: B images per batch; H, W height and width in pixels; N instances; K classes including the background.
"""

from __future__ import annotations

import numpy as np

from mrcnn.engines.base import RawDetections
from mrcnn.matterport.boxes import denorm_boxes, norm_boxes
from mrcnn.matterport.resizing import unmold_mask
from mrcnn.network.numpy_boxes import areas


def compose_image_meta(image_id, original_image_shape, image_shape, window, scale, active_class_ids) -> np.ndarray:
    """Metadata of one image as a vector.

    Args:
        image_id: a number chosen by the caller.
        original_image_shape: (H, W, C) before molding.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in canvas pixels: the part of the canvas that the image covers.
        scale: factor by which the image was resized.
        active_class_ids: (K,), 0 or 1.

    Returns:
        float64 (12 + K,).
    """
    return np.array([image_id, *original_image_shape, *image_shape, *window, scale, *active_class_ids], np.float64)


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of vectors (B, 12 + K) from `compose_image_meta` by name: int32 (`scale`: float32), with B rows each."""
    fields = {"image_id": 0, "original_image_shape": slice(1, 4), "image_shape": slice(4, 7), "window": slice(7, 11)}
    parts = {name: meta[:, columns].astype(np.int32) for name, columns in fields.items()}
    parts["scale"] = meta[:, 11].astype(np.float32)
    parts["active_class_ids"] = meta[:, 12:].astype(np.int32)
    return parts


def mold_image(images: np.ndarray, config) -> np.ndarray:
    """RGB images (..., 3) minus MEAN_PIXEL: float64."""
    return images.astype(np.float32) - config.MEAN_PIXEL


def unmold_image(normalized_images: np.ndarray, config) -> np.ndarray:
    """The inverse of `mold_image`: uint8 (..., 3), RGB."""
    return (normalized_images + config.MEAN_PIXEL).astype(np.uint8)


def unmold_detections(raw: RawDetections, original_image_shape, image_shape, window):
    """Transform detections from canvas to image coordinates.

    Args:
        raw: detections on the canvas.
        original_image_shape: (H, W, C) of the image.
        image_shape: (H, W, C) of the canvas.
        window: (y1, x1, y2, x2) in canvas pixels: the part of the canvas that the image covers.

    Returns:
        boxes int32 (N, 4) pixels, class_ids int32 (N,), scores float32 (N,), masks bool (H, W, N).
    """
    y1, x1, y2, x2 = norm_boxes(np.asarray(window), image_shape[:2])
    scale = np.array([y2 - y1, x2 - x1, y2 - y1, x2 - x1])
    in_window = np.divide(raw.boxes - np.array([y1, x1, y1, x1]), scale)
    boxes = denorm_boxes(in_window, original_image_shape[:2])
    keep = np.flatnonzero(areas(boxes) > 0)  # rounding may leave boxes empty
    masks = np.zeros((*original_image_shape[:2], len(keep)), bool)
    for row, index in enumerate(keep):
        masks[:, :, row] = unmold_mask(raw.mask_probs[index], boxes[index], original_image_shape)
    return boxes[keep], raw.class_ids[keep], raw.scores[keep], masks
