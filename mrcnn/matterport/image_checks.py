"""Refuses images that a network cannot take, in words that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def check_image(index: int, image: Any, channels: int) -> None:
    """Raise ValueError unless image number `index` is an array (H, W, `channels`) of 8-bit colors."""
    if image is None:
        raise ValueError(
            f"image {index} is None: the file was not read (cv2.imread returns None for a missing or damaged file)"
        )
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != channels or image.size == 0:
        found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image {index} must be an RGB array (H, W, {channels}), got {found}")
    if image.dtype != np.uint8:
        _check_range(index, image)


def _check_range(index: int, image: np.ndarray) -> None:
    """Raises ValueError unless the values are those of 8-bit colors, whatever their dtype."""
    expected = f"image {index} must have values from 0 to 255, best as uint8, got {image.dtype}"
    if image.dtype == np.uint16 or image.dtype.kind not in "uif":
        raise ValueError(f"{expected}: convert it, for 16 bits with (image // 256).astype(np.uint8)")
    if not np.isfinite(image).all():
        raise ValueError(f"{expected} with NaN or infinity")
    least, most = image.min(), image.max()
    if least < 0 or most > 255:
        raise ValueError(f"{expected} from {least:g} to {most:g}")
    if image.dtype.kind == "f" and 0 < most <= 1:
        raise ValueError(f"{expected} from {least:g} to {most:g}: multiply it by 255")


def check_same_shape(images: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless the images, resized, can be one batch."""
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"all images of a batch must have the same size after resizing, got {shapes}: "
            "use IMAGE_RESIZE_MODE 'square' or images of the same size"
        )
