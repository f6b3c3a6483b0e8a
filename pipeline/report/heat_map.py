"""Where objects were: for each place of the picture, how much of the time one covered it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.report.detection_lines import StoredFrame

GRID_WIDTH = 160
SAMPLE_EVERY_S = 0.2
"""Frames between these samples are skipped: they show nearly the same, and masks take time to decode."""

Grid = NDArray[np.float32]


class HeatMap:
    """Adds up the objects' masks, or their boxes where there are no masks, on a grid over the frame."""

    def __init__(self) -> None:
        self._total: Grid | None = None
        self._count = 0
        self._next = float("-inf")

    def add(self, frame: StoredFrame, at: float) -> None:
        """Count a frame, if it is due.

        Args:
            frame: its objects.
            at: its time, seconds; later than that of the frame before.
        """
        if at < self._next:
            return
        self._next = at + SAMPLE_EVERY_S
        if self._total is None:
            height = max(1, round(GRID_WIDTH * frame.height / frame.width))
            self._total = np.zeros((min(height, 4 * GRID_WIDTH), GRID_WIDTH), np.float32)
        self._count += 1
        if frame.objects:
            self._total += covered(frame, self._total.shape[0], self._total.shape[1])

    def shares(self) -> Grid | None:
        """float32 (GH, GW), 0 … 1: the share of the frames in which objects covered each cell; None without frames."""
        return None if self._total is None else self._total / np.float32(self._count)


def covered(frame: StoredFrame, rows: int, columns: int) -> Grid:
    """float32 (rows, columns), 0 … 1: how much of each cell the objects of a frame cover together."""
    grid = np.zeros((rows, columns), np.float32)
    masks = [one.mask.rle() for one in frame.objects if one.mask is not None]
    if masks:
        picture = coco_mask.decode(coco_mask.merge(masks)).astype(np.float32)
        grid = np.asarray(cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
    for one in frame.objects:
        if one.mask is None:
            x1, x2 = (_cells(x, frame.width, columns) for x in one.box[0::2])
            y1, y2 = (_cells(y, frame.height, rows) for y in one.box[1::2])
            grid[y1:y2, x1:x2] = 1
    return grid


def _cells(position: float, size: int, cells: int) -> int:
    return round(min(max(position / size, 0.0), 1.0) * cells)
