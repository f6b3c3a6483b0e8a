"""How far two sets of detections of the same frames agree.

Letters: N instances of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.records import Instances

LEAST_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts over all frames.

    Attributes:
        expected: objects of the first set.
        found: objects of the second.
        matched: pairs of the two, each object in one pair at most.
    """

    expected: int
    found: int
    matched: int

    @property
    def share(self) -> float:
        """Of the expected objects, 0 … 1; 1 where nothing was expected."""
        return self.matched / self.expected if self.expected else 1.0


def agreement(expected: Sequence[Instances], found: Sequence[Instances], least_iou: float = LEAST_IOU) -> Agreement:
    """Pair objects of the same class, frame by frame, the best overlap first.

    Args:
        expected: instances of each frame.
        found: those of the other set, of the same frames.
        least_iou: 0 … 1: boxes that overlap less are not the same object.
    """
    matched = sum(_matched(one, other, least_iou) for one, other in zip(expected, found, strict=True))
    return Agreement(sum(map(len, expected)), sum(map(len, found)), matched)


def _matched(one: Instances, other: Instances, least_iou: float) -> int:
    a, b = one.boxes_xyxy[:, None].astype(np.float64), other.boxes_xyxy[None].astype(np.float64)
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0)
    intersection = sides.prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - intersection
    iou = np.where(one.class_ids[:, None] == other.class_ids[None], intersection / np.maximum(union, 1e-12), 0.0)
    count = 0
    while iou.size and iou.max() >= least_iou:
        row, column = np.unravel_index(iou.argmax(), iou.shape)
        iou[row], iou[:, column] = -1.0, -1.0
        count += 1
    return count
