"""How much of what one engine finds another finds too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances

SAME_CANVAS_IOU = 0.9
OTHER_CANVAS_IOU = 0.5
"""What lies beside the picture on its canvas moves the boxes of small objects by a pixel or two: on another canvas a
box counts that COCO would count for the same object."""
PERCENT = {"int8": 90, "bfloat16": 95, "float16": 95, "float32": 97}
"""Of the objects that an engine must find as the reference does, by its precision, on the same canvas."""
OTHER_CANVAS_PERCENT = 90


@dataclass(frozen=True)
class Agreement:
    """Counts over some frames.

    Attributes:
        wanted: objects that the reference found.
        found: objects that the engine found.
        matched: pairs of them, of one class and with boxes that overlap enough, each object once.
    """

    wanted: int
    found: int
    matched: int

    @property
    def share(self) -> float:
        """Matched objects in percent of the mean of both numbers (F1): missing ones cost, and so do extra ones.

        Nothing found on either side is no agreement that could be told: NaN."""
        both = self.wanted + self.found
        return 200 * self.matched / both if both else float("nan")

    @property
    def text(self) -> str:
        """The counts in words."""
        return f"{self.matched} matched of {self.wanted} and {self.found}"

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.wanted + other.wanted, self.found + other.found, self.matched + other.matched)


def least_percent(description: str) -> int:
    """What an engine must reach on the canvas of the reference; its description names its precision."""
    return next((percent for precision, percent in PERCENT.items() if precision in description), PERCENT["float32"])


def agreement(pairs: Iterable[tuple[Instances, Instances]], least_iou: float = SAME_CANVAS_IOU) -> Agreement:
    """Over frames, each with what the reference and what the engine found."""
    return sum((compare(wanted, found, least_iou) for wanted, found in pairs), Agreement(0, 0, 0))


def compare(wanted: Instances, found: Instances, least_iou: float = SAME_CANVAS_IOU) -> Agreement:
    """On one frame: best overlap first."""
    overlaps = box_iou(wanted.boxes_xyxy, found.boxes_xyxy)
    overlaps[wanted.class_ids[:, None] != found.class_ids[None]] = 0
    matched = 0
    while overlaps.size and overlaps.max() >= least_iou:
        row, column = np.unravel_index(overlaps.argmax(), overlaps.shape)
        overlaps[row], overlaps[:, column] = 0, 0
        matched += 1
    return Agreement(len(wanted), len(found), matched)


def box_iou(boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64 (N, M): overlaps of boxes (N, 4) with (M, 4), both (x1, y1, x2, y2)."""
    a, b = boxes_xyxy[:, None].astype(np.float64), others_xyxy[None].astype(np.float64)
    inner = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inner
    return inner / np.maximum(union, 1e-12)
