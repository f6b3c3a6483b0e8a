"""How far two sets of detections of the same frames agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.drawing.masks import encode_mask, paste_mask
from pipeline.geometry import greedy_pairs, iou_matrix
from pipeline.records import Instances

IOU_THRESHOLD = 0.5
MASK_THRESHOLD = 0.5
"""Least probability of a pixel of an object."""

RunLength = dict[str, Any]
"""A mask of a whole frame as compressed run lengths, see `encode_mask`."""


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

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.expected + other.expected, self.found + other.found, self.matched + other.matched)

    @property
    def recall(self) -> float:
        """Share of the expected objects that were found, 0 … 1; 1 where nothing was expected."""
        return self.matched / self.expected if self.expected else 1.0

    @property
    def f1(self) -> float:
        """Share of matched objects in the mean of both counts, 0 … 1; NaN where both sets are empty."""
        total = self.expected + self.found
        return 2 * self.matched / total if total else float("nan")

    @property
    def text(self) -> str:
        """The counts in words."""
        return f"{self.matched} matched of {self.expected} and {self.found}"


def agreement(
    expected: Sequence[Instances], found: Sequence[Instances], iou_threshold: float = IOU_THRESHOLD
) -> Agreement:
    """Match objects of the same class frame by frame, the best overlap first.

    Args:
        expected: instances of each frame.
        found: those of the other set, of the same frames.
        iou_threshold: 0 … 1, above 0: boxes that overlap less are not the same object.
    """
    matched = sum(_matched(one, other, iou_threshold) for one, other in zip(expected, found, strict=True))
    return Agreement(sum(map(len, expected)), sum(map(len, found)), matched)


def _matched(one: Instances, other: Instances, iou_threshold: float) -> int:
    iou = iou_matrix(one.boxes_xyxy, other.boxes_xyxy)
    return len(greedy_pairs(np.where(one.class_ids[:, None] == other.class_ids[None], iou, 0), iou_threshold))


def mask_agreement(expected: Instances, found: Instances, size_hw: tuple[int, int], iou_threshold: float) -> Agreement:
    """Match the objects of one frame by class and the overlap of their masks, the best first.

    Args:
        expected, found: instances of the frame.
        size_hw: height and width of the frame, pixels.
        iou_threshold: 0 … 1, above 0: masks that overlap less are not the same object.
    """
    sides = [frame_masks(instances, size_hw) for instances in (expected, found)]
    matched = 0
    if all(sides):
        iou = np.asarray(coco_mask.iou(sides[1], sides[0], [0] * len(sides[0]))).T
        same_class = expected.class_ids[:, None] == found.class_ids[None]
        matched = len(greedy_pairs(np.where(same_class, iou, 0), iou_threshold))
    return Agreement(len(expected), len(found), matched)


def frame_masks(instances: Instances, size_hw: tuple[int, int]) -> list[RunLength]:
    """The masks of the instances of a frame of this height and width in pixels; an empty one for what lies outside."""
    boxes = zip(instances.mask_probs, instances.boxes_xyxy, strict=True)
    pasted = (paste_mask(probs, box, *size_hw, MASK_THRESHOLD) for probs, box in boxes)
    return [encode_mask(*one, *size_hw) for one in pasted]
