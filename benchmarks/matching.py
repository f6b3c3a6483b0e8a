"""How much of what one engine finds another finds too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances

LEAST_IOU = 0.9


@dataclass(frozen=True)
class Agreement:
    """Counts over some frames.

    Attributes:
        wanted: objects that the reference found.
        found: objects that the engine found.
        matched: pairs of them, of one class and with boxes that overlap by LEAST_IOU or more, each object once.
    """

    wanted: int
    found: int
    matched: int

    @property
    def share(self) -> float:
        """Matched objects in percent of those of whichever found more: missing ones count, and so do extra ones.

        Nothing found on either side is no agreement that could be told: NaN."""
        most = max(self.wanted, self.found)
        return 100 * self.matched / most if most else float("nan")

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.wanted + other.wanted, self.found + other.found, self.matched + other.matched)


def agreement(pairs: Iterable[tuple[Instances, Instances]]) -> Agreement:
    """Over frames, each with what the reference and what the engine found."""
    return sum((compare(wanted, found) for wanted, found in pairs), Agreement(0, 0, 0))


def compare(wanted: Instances, found: Instances) -> Agreement:
    """On one frame: best overlap first."""
    overlaps = box_iou(wanted.boxes_xyxy, found.boxes_xyxy)
    overlaps[wanted.class_ids[:, None] != found.class_ids[None]] = 0
    matched = 0
    while overlaps.size and overlaps.max() >= LEAST_IOU:
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
