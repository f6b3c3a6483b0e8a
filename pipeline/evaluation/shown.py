"""What a run with a score threshold would show of annotated images: right, wrong, and where nothing is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mrcnn.coco.annotation_file import Record
from pipeline.evaluation.agreement import IOU_THRESHOLD


@dataclass(frozen=True, slots=True)
class ShownObjects:
    """Counts over all images.

    Attributes:
        score: the threshold, 0 … 1.
        objects: annotated objects.
        shown: detections from the threshold on, without those in crowd regions.
        right: those that are an object, each object by one detection at most.
        empty_images: images without an object or crowd region.
        false_alarms: detections shown in these.
    """

    score: float
    objects: int = 0
    shown: int = 0
    right: int = 0
    empty_images: int = 0
    false_alarms: int = 0

    @property
    def text(self) -> str:
        """The counts in one line."""
        return (
            f"at a score of {self.score:g}, {self.shown} objects are shown, {self.right} of them right (mask IoU "
            f"{IOU_THRESHOLD:g}), of {self.objects}; {self.false_alarms} on the {self.empty_images} images without any"
        )

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def shown_objects(
    images: Collection[int], annotations: Sequence[Record], found: Sequence[Record], score: float
) -> ShownObjects:
    """Count what would be shown.

    Args:
        images: ids of all images.
        annotations: COCO's records with masks as run lengths, of the classes that count.
        found: COCO's result records of these classes.
        score: the threshold, 0 … 1.
    """
    truth, shown = defaultdict(list), defaultdict(list)
    for record in annotations:
        truth[record["image_id"]].append(record)
    for record in found:
        if record["score"] >= score:
            shown[record["image_id"]].append(record)
    right = outside_crowds = 0
    for image_id, detections in shown.items():
        matched, counted = _matched(truth[image_id], detections)
        right, outside_crowds = right + matched, outside_crowds + counted
    empty = [image_id for image_id in images if not truth[image_id]]
    return ShownObjects(
        score=score,
        objects=sum(not record["iscrowd"] for record in annotations),
        shown=outside_crowds,
        right=right,
        empty_images=len(empty),
        false_alarms=sum(len(shown[image_id]) for image_id in empty),
    )


def _matched(truth: Sequence[Record], detections: Sequence[Record]) -> tuple[int, int]:
    """How many detections of an image are objects, and how many are those or lie outside the crowd regions."""
    best_first = sorted(detections, key=lambda record: -record["score"])
    if not truth:
        return 0, len(best_first)
    masks = [record["segmentation"] for record in truth]
    crowd = [int(record["iscrowd"]) for record in truth]
    iou = np.asarray(coco_mask.iou([record["segmentation"] for record in best_first], masks, crowd))
    same = np.array([[one["category_id"] == other["category_id"] for other in truth] for one in best_first])
    overlaps = np.where(same & (iou >= IOU_THRESHOLD), iou, 0.0)
    is_crowd = np.array(crowd, bool)
    taken = is_crowd.copy()
    right = counted = 0
    for row in overlaps:
        free = np.where(taken, 0.0, row)
        if free.any():
            taken[free.argmax()] = True
            right, counted = right + 1, counted + 1
        elif not row[is_crowd].any():
            counted += 1
    return right, counted
