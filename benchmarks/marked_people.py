"""People who wear a mark, so that a picture shows whether privacy has covered them, whatever network finds them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances
from pipeline.segmentation.segmenter import Segmenter

CHECK = 8
"""Pixels: side of one check of a mark, which has 3 x 3. A blur as coarse as privacy's mixes their colors to gray."""
MARK = 3 * CHECK
_PINK_BGR, _GREEN_BGR = (220, 20, 220), (20, 200, 20)
_LEAST_CHROMA = 50
"""Gray levels between a check's colors: cameras and recordings compress, and the overlay tints."""
_CORE = 4
"""Pixels: side of the inner part of a check, which must have its color."""
BODY_WH = (5 * MARK, 8 * MARK)
"""Of the box that `MarkedPeople` puts around a mark."""


def paint(image_bgr: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]]) -> None:
    """Paint a mark on each person on whom there is room for one.

    Args:
        image_bgr: uint8 (H, W, 3), changed in place.
        masks: bool (H, W) each: the visible people.
    """
    colors = np.array([[_PINK_BGR, _GREEN_BGR, _PINK_BGR], [_GREEN_BGR, _PINK_BGR, _GREEN_BGR]] * 2, np.uint8)[:3]
    mark = np.kron(colors, np.ones((CHECK, CHECK, 1), np.uint8))
    for mask in masks:
        # The middle of the largest square inside the person.
        room = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_C, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(room.argmax()), room.shape)
        if room[y, x] > MARK // 2:
            image_bgr[y - MARK // 2 : y + MARK // 2, x - MARK // 2 : x + MARK // 2] = mark


def marks(image_bgr: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """The centers (x, y) of the marks that can be seen in a picture, uint8 (H, W, 3)."""
    blue, green, red = (channel.astype(np.int16) for channel in cv2.split(image_bgr))
    chroma = np.minimum(blue, red) - green
    core = np.ones((_CORE, _CORE), np.uint8)
    pink = cv2.erode((chroma > _LEAST_CHROMA).astype(np.uint8), core)
    green_part = cv2.erode((green - np.maximum(blue, red) > _LEAST_CHROMA).astype(np.uint8), core)
    # A pink check with a green one on each side.
    found = pink[CHECK:-CHECK, CHECK:-CHECK].copy()
    for part in (green_part[CHECK:-CHECK, : -2 * CHECK], green_part[CHECK:-CHECK, 2 * CHECK :]):
        found &= part
    for part in (green_part[: -2 * CHECK, CHECK:-CHECK], green_part[2 * CHECK :, CHECK:-CHECK]):
        found &= part
    if not found.any():
        return []
    _, _, _, centers = cv2.connectedComponentsWithStats(found)
    return [(round(x) + CHECK, round(y) + CHECK) for x, y in centers[1:]]


class MarkedPeople(Segmenter):
    """Finds the people by their marks, after the delay of a network."""

    def __init__(self, takes_s: float = 0.05) -> None:
        self._takes_s = takes_s
        self._closed = threading.Event()

    @property
    def labels(self) -> Sequence[str]:
        return ("BG", "person")

    @property
    def description(self) -> str:
        return "people by their marks, no network"

    def open(self) -> None:
        self._closed.clear()

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        self._closed.wait(self._takes_s)
        return [_people(image_bgr) for image_bgr in images_bgr]

    def close(self) -> None:
        self._closed.set()


def _people(image_bgr: NDArray[np.uint8]) -> Instances:
    half = np.array(BODY_WH) / 2
    boxes = [(*(np.array(center) - half), *(np.array(center) + half)) for center in marks(image_bgr)]
    count, (height, width) = len(boxes), image_bgr.shape[:2]
    boxes_xyxy = np.clip(np.array(boxes, np.float32).reshape(count, 4), 0, [width, height, width, height])
    ids, scores = np.ones(count, np.int32), np.full(count, 0.95, np.float32)
    return Instances(boxes_xyxy.astype(np.float32), ids, scores, np.ones((count, 28, 28), np.float32))
