"""A segmenter without a network: two boxes that drift."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances
from pipeline.segmentation.segmenter import Segmenter


class DriftingBoxes(Segmenter):
    """Returns two boxes that drift from left to right, after the delay of a network."""

    def __init__(self, takes_s: float = 0.05) -> None:
        self._takes_s = takes_s
        self._closed = threading.Event()
        self._count = 0

    @property
    def labels(self) -> Sequence[str]:
        return ("BG", "person")

    @property
    def description(self) -> str:
        return "two boxes, no network"

    def open(self) -> None:
        self._closed.clear()

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        return [self._segment(image_bgr) for image_bgr in images_bgr]

    def _segment(self, image_bgr: NDArray[np.uint8]) -> Instances:
        self._closed.wait(self._takes_s)
        self._count += 1
        height, width = image_bgr.shape[:2]
        x = 0.1 * width + 0.002 * width * (self._count % 100)
        boxes = np.array([(x, 20, x + 60, height - 20), (x + 0.5 * width, 40, x + 0.5 * width + 50, height - 10)])
        masks = np.ones((2, 28, 28), np.float32)
        return Instances(boxes.astype(np.float32), np.array([1, 1], np.int32), np.array([0.95, 0.9], np.float32), masks)

    def close(self) -> None:
        self._closed.set()
