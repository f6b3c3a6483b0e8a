"""How much the shown objects of a video change from frame to frame: outlines that breathe, objects that come and go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.evaluation.agreement import IOU_THRESHOLD, RunLength
from pipeline.geometry import greedy_pairs


@dataclass(frozen=True, slots=True)
class Flicker:
    """Sums over pairs of consecutive frames that show the same number of objects in truth.

    Attributes:
        objects: objects of the pairs; one that both frames of a pair have counts once.
        vanished: those that only one of the two frames has.
        mask_change: sum of 1 - IoU of the two masks of the others.
        present: objects that are there in truth, over all frames where their number is known.
        found: those that have a detection, at most so many of a frame as are there.
        false_alarms: detections beyond that number.
    """

    objects: int = 0
    vanished: int = 0
    mask_change: float = 0.0
    present: int = 0
    found: int = 0
    false_alarms: int = 0

    def __add__(self, other: Flicker) -> Flicker:
        return Flicker(
            self.objects + other.objects,
            self.vanished + other.vanished,
            self.mask_change + other.mask_change,
            self.present + other.present,
            self.found + other.found,
            self.false_alarms + other.false_alarms,
        )

    @property
    def change(self) -> float:
        """Mean change of an object between two frames, 0 (none) … 1 (it vanishes); NaN where there is none."""
        return (self.mask_change + self.vanished) / self.objects if self.objects else float("nan")

    @property
    def change_of_masks(self) -> float:
        """Mean of 1 - IoU of the two masks of an object that both frames have; NaN where there is none."""
        shared = self.objects - self.vanished
        return self.mask_change / shared if shared else float("nan")

    @property
    def recall(self) -> float:
        """Share of the present objects that are found; NaN where none is present."""
        return self.found / self.present if self.present else float("nan")


def flicker(frames: Sequence[Sequence[RunLength]], present: Sequence[int | None]) -> Flicker:
    """Measure the changes between consecutive frames.

    What moves in truth changes too: the number compares networks on the same frames and has no meaning of its own.
    It compares them fairly at equal recall, since an object that is never found never flickers: see
    `threshold_for_recall`.

    Args:
        frames: the masks of the detections of each frame, all of one class.
        present: how many objects of that class each frame shows in truth; None where that is not known or about to
            change. A pair of frames with different or unknown numbers is left out.
    """
    total = Flicker()
    for masks, count in zip(frames, present, strict=True):
        if count is not None:
            found = min(len(masks), count)
            total += Flicker(present=count, found=found, false_alarms=len(masks) - found)
    for (before, there), (after, then) in pairwise(zip(frames, present, strict=True)):
        if there is not None and there == then:
            total += _between(before, after)
    return total


def _between(before: Sequence[RunLength], after: Sequence[RunLength]) -> Flicker:
    shared = []
    if before and after:
        iou = np.asarray(coco_mask.iou(list(after), list(before), [0] * len(before))).T
        shared = [float(iou[pair]) for pair in greedy_pairs(iou, IOU_THRESHOLD)]
    objects = len(before) + len(after) - len(shared)
    return Flicker(objects=objects, vanished=objects - len(shared), mask_change=sum(1 - one for one in shared))


def threshold_for_recall(measure: Callable[[float], Flicker], recall: float) -> float:
    """The highest score threshold, in steps of 0.01, at which the recall is at least this; 0.01 if none reaches it.

    Args:
        measure: the numbers at a threshold.
        recall: 0 … 1.
    """
    steps = (step / 100 for step in range(99, 1, -1))
    return next((threshold for threshold in steps if measure(threshold).recall >= recall), 0.01)
