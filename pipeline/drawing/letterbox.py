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
    inner_wh = fitted((width, height), size_wh)
    interpolation = cv2.INTER_AREA if inner_wh[0] < width or inner_wh[1] < height else cv2.INTER_LINEAR
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x, y = (size_wh[0] - inner_wh[0]) // 2, (size_wh[1] - inner_wh[1]) // 2
    canvas[y : y + inner_wh[1], x : x + inner_wh[0]] = cv2.resize(image_bgr, inner_wh, interpolation=interpolation)
    return canvas


def fitted(size_wh: tuple[float, float], into_wh: tuple[int, int]) -> tuple[int, int]:
    """The largest width and height with the aspect of one size that fit into another, at least 1 x 1 pixels."""
    scale = min(into_wh[0] / size_wh[0], into_wh[1] / size_wh[1])
    return max(1, min(into_wh[0], round(size_wh[0] * scale))), max(1, min(into_wh[1], round(size_wh[1] * scale)))
