"""Fits an image into another size without distorting it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fit:
    """Where an image lies inside a canvas, pixels: its upper left corner and its size."""

    x: int
    y: int
    width: int
    height: int


def fit(image_wh: tuple[float, float], size_wh: tuple[int, int]) -> Fit:
    """The largest place for an image in the middle of a canvas.

    Args:
        image_wh: width and height as they should be seen, in any unit.
        size_wh: width and height of the canvas in pixels.
    """
    scale = min(size_wh[0] / image_wh[0], size_wh[1] / image_wh[1])
    width, height = (max(1, min(size, round(side * scale))) for side, size in zip(image_wh, size_wh, strict=True))
    return Fit((size_wh[0] - width) // 2, (size_wh[1] - height) // 2, width, height)


def letterbox(image_bgr: NDArray[np.uint8], size_wh: tuple[int, int], pixel_aspect: float = 1.0) -> NDArray[np.uint8]:
    """Scales an image to fit a size, with black bars; returns the image itself if it already has that size.

    Args:
        image_bgr: uint8 (H, W, 3).
        size_wh: width and height in pixels.
        pixel_aspect: width over height of the image's pixels; those of the result are square.
    """
    height, width = image_bgr.shape[:2]
    if (width, height) == size_wh and pixel_aspect == 1.0:
        return image_bgr
    place = fit((width * pixel_aspect, height), size_wh)
    # Up to half the size, linear interpolation skips no pixel, and takes a third of the time.
    shrinks = 2 * place.width < width or 2 * place.height < height
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    inner = cv2.resize(image_bgr, (place.width, place.height), interpolation=interpolation)
    if (place.width, place.height) == size_wh:
        return np.asarray(inner, np.uint8)
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    canvas[place.y : place.y + place.height, place.x : place.x + place.width] = inner
    return canvas
