"""Reads image files from any path: cv2.imread opens no path outside the system's code page under Windows."""

from __future__ import annotations

import os

import cv2
import numpy as np
from numpy.typing import NDArray

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def read_image_bgr(path: str | os.PathLike[str]) -> NDArray[np.uint8] | None:
    """An image in color as it is stored: rotation tags are not applied, an alpha channel is dropped.

    Args:
        path: of the file.

    Returns:
        uint8 (H, W, 3), BGR; None: OpenCV cannot decode it, or it is empty.

    Raises:
        OSError: the file cannot be read.
    """
    content = np.fromfile(path, np.uint8)
    return cv2.imdecode(content, AS_STORED) if content.size else None
