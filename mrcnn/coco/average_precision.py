"""COCO's average precision of detections, by size and by class, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mrcnn.coco.annotation_file import Record

MAX_DETECTIONS = 100
"""Per image; those of the highest scores count, as in COCO's own numbers."""

_UNLIMITED = 1e10

AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, _UNLIMITED),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, _UNLIMITED),
    "32_to_64": (32**2, 64**2),
    "above_64": (64**2, _UNLIMITED),
}
"""Least and largest area of an object's mask, square pixels. The first four are COCO's."""

ALL_AREAS: Mapping[str, tuple[float, float]] = {"all": AREAS["all"]}

IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's."""


class Kind(Enum):
    """What of a detection is compared with the annotation."""

    MASK = "mask"
    BOX = "box"


_IOU_TYPES = {Kind.MASK: "segm", Kind.BOX: "bbox"}


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's numbers over some objects, each 0 … 1, NaN where there is no object or the threshold was not measured.

    Attributes:
        objects: how many there are, crowd regions not counted.
        ap: average precision, the mean over the IoU thresholds.
        ap50, ap75: average precision at an IoU of 0.5 and 0.75.
        ar: recall, the mean over the IoU thresholds, of at most `MAX_DETECTIONS` an image.
        ar50: recall at an IoU of 0.5.
    """

    objects: int
    ap: float
    ap50: float
    ap75: float
    ar: float
    ar50: float

    def record(self) -> dict[str, float | None]:
        """For JSON: null where there is no number."""
        values = {"AP": self.ap, "AP50": self.ap50, "AP75": self.ap75, "AR": self.ar, "AR50": self.ar50}
        return {"objects": self.objects} | {
            name: None if math.isnan(value) else round(value, 6) for name, value in values.items()
        }


@dataclass(frozen=True, slots=True)
class BySizeAndClass:
    """The numbers of one kind: by size of the object (see `AREAS`), and by category id over all sizes."""

    by_area: Mapping[str, AveragePrecision]
    by_category: Mapping[int, AveragePrecision]


def measure(
    annotations: Sequence[Record],
    detections: Sequence[Record],
    kind: Kind,
    category_ids: Sequence[int],
    areas: Mapping[str, tuple[float, float]] = AREAS,
    iou_thresholds: Sequence[float] = IOU_THRESHOLDS,
) -> BySizeAndClass:
    """Average precision and recall.

    Args:
        annotations: COCO's records: image_id, category_id, iscrowd, area, segmentation (compressed run lengths), and
            for boxes bbox (x, y, width, height in pixels). Their ids do not count.
        detections: COCO's result records: image_id, category_id, score, segmentation, and for boxes bbox.
        kind: whether masks or boxes are compared.
        category_ids: the evaluated classes; means are over those of them that have objects.
        areas: ranges of areas by name, the first without limits.
        iou_thresholds: 0 … 1, 0.5 among them.
    """
    ids = sorted(set(category_ids))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = COCOeval(_indexed(annotations), _indexed(_with_areas(detections, kind)), _IOU_TYPES[kind])
        parameters = evaluation.params
        parameters.imgIds = sorted({record["image_id"] for record in (*annotations, *detections)})
        parameters.catIds, parameters.maxDets = ids, [MAX_DETECTIONS]
        parameters.areaRng, parameters.areaRngLbl = [list(limits) for limits in areas.values()], list(areas)
        parameters.iouThrs = np.array(iou_thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    # (IoU thresholds, recalls, categories, areas, 1) and (IoU thresholds, categories, areas, 1)
    precision, recall = evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]
    at50, at75 = (np.isclose(iou_thresholds, threshold) for threshold in (0.5, 0.75))

    def numbers(categories: slice, area: int) -> AveragePrecision:
        least, most = list(areas.values())[area]
        objects = sum(
            record["category_id"] in ids[categories] and not record["iscrowd"] and least <= record["area"] <= most
            for record in annotations
        )
        precisions, recalls = precision[:, :, categories, area], recall[:, categories, area]
        means = map(_mean, (precisions, precisions[at50], precisions[at75], recalls, recalls[at50]))
        return AveragePrecision(objects, *means)

    return BySizeAndClass(
        {name: numbers(slice(None), area) for area, name in enumerate(areas)},
        {category_id: numbers(slice(index, index + 1), 0) for index, category_id in enumerate(ids)},
    )


def _with_areas(detections: Sequence[Record], kind: Kind) -> list[Record]:
    """The detections as annotations; their size is that of the mask or of the box, as is being compared."""

    def area(found: Record) -> float:
        return (
            float(coco_mask.area(found["segmentation"])) if kind is Kind.MASK else found["bbox"][2] * found["bbox"][3]
        )

    return [{**found, "area": area(found), "iscrowd": 0} for found in detections]


def _indexed(records: Sequence[Record]) -> COCO:
    coco = COCO()
    sizes = {record["image_id"]: record["segmentation"]["size"] for record in records}
    coco.dataset = {
        "images": [{"id": image_id, "height": height, "width": width} for image_id, (height, width) in sizes.items()],
        "categories": [],
        # Numbered from 1: pycocotools takes the id 0 for "no match".
        "annotations": [{**record, "id": number} for number, record in enumerate(records, start=1)],
    }
    coco.createIndex()
    return coco


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the defined values: COCOeval writes -1 where there is no object."""
    known = values[values > -1]
    return float(known.mean()) if known.size else math.nan
