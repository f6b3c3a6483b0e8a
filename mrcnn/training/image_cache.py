"""The decoded images of a run, kept within a limit of memory."""

from __future__ import annotations

import logging
from collections import OrderedDict

import numpy as np

from mrcnn.coco.image_files import read_image_bgr
from mrcnn.training.annotated_images import AnnotatedImage

logger = logging.getLogger(__name__)

MEMORY_BYTES = 2 * 1024**3
"""Limit of the decoded images; beyond it, the least recently used are dropped."""


class UnreadableImageError(ValueError):
    """An image that was there when the run began can no longer be read."""


class ImageCache:
    """Reads images and keeps the most recently used ones.

    Attributes:
        unreadable: the paths that could not be read, with the reason.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES):
        self._memory_bytes = memory_bytes
        self._held: OrderedDict[str, np.ndarray] = OrderedDict()
        self._used_bytes = 0
        self.unreadable: dict[str, str] = {}

    def get(self, image: AnnotatedImage) -> np.ndarray:
        """The image: uint8 (H, W, 3), RGB.

        Raises:
            UnreadableImageError: it cannot be read; the first time, a warning names it.
        """
        key = str(image.path)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        if key in self.unreadable:
            raise UnreadableImageError(self.unreadable[key])
        try:
            pixels = read_image(image)
        except ValueError as error:
            self.unreadable[key] = str(error)
            logger.warning("%s: it is left out from here on (%d so far)", error, len(self.unreadable))
            raise UnreadableImageError(str(error)) from None
        self._held[key] = pixels
        self._used_bytes += pixels.nbytes
        while self._used_bytes > self._memory_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._used_bytes -= dropped.nbytes
        return pixels


def read_image(image: AnnotatedImage) -> np.ndarray:
    """An image from its file: uint8 (H, W, 3), RGB.

    Raises:
        ValueError: it cannot be read, or its size is not the annotated one.
    """
    try:
        pixels = read_image_bgr(image.path)
    except OSError as error:
        raise ValueError(f"{image.path} cannot be read as an image: {error.strerror or error}") from None
    if pixels is None:
        raise ValueError(f"{image.path} cannot be read as an image")
    if pixels.shape[:2] != (image.height, image.width):
        raise ValueError(
            f"{image.path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, "
            f"the annotations say {image.width} x {image.height}"
        )
    return np.ascontiguousarray(pixels[..., ::-1])
