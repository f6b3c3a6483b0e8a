"""Fits an image into another size without distorting it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def letterbox(image_bgr: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Scales an image to fit a size, with black bars; returns the image itself if it already has that size.

    Args:
        image_bgr: uint8 (H, W, 3).
        size_wh: width and height in pixels.
    """
    height, width = image_bgr.shape[:2]
    if (width, height) == size_wh:
        return image_bgr
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner_wh = (max(1, min(size_wh[0], round(width * scale))), max(1, min(size_wh[1], round(height * scale))))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x, y = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    canvas[y : y + inner_wh[1], x : x + inner_wh[0]] = cv2.resize(image_bgr, inner_wh, interpolation=interpolation)
    return canvas
