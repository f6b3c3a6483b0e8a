"""COCO's average precision of detections, by size and by class, counted by pycocotools."""

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

from pipeline.evaluation.truth import Record, Truth

MOST_DETECTIONS = 100
"""So many detections of an image count, the best ones, as in COCO's own numbers."""

_WITHOUT_LIMIT = 1e10

AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, _WITHOUT_LIMIT),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, _WITHOUT_LIMIT),
    "32_to_64": (32**2, 64**2),
    "above_64": (64**2, _WITHOUT_LIMIT),
}
"""From and to which area of its mask, pixels, an annotated object is of a size. The first four are COCO's."""


class Kind(Enum):
    """What of a detection is compared with the annotation."""

    MASK = "mask"
    BOX = "box"


_IOU_TYPES = {Kind.MASK: "segm", Kind.BOX: "bbox"}


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """COCO's numbers over some objects, each 0 … 1, NaN where there is no object.

    Attributes:
        objects: how many there are, crowd regions not counted.
        ap: average precision, the mean over overlaps (IoU) of 0.5, 0.55 … 0.95.
        ap50, ap75: average precision at an overlap of 0.5 and 0.75.
        ar: recall, the mean over the same overlaps, of at most 100 detections an image.
        ar50: recall at an overlap of 0.5.
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


def measure(truth: Truth, detections: Sequence[Record], kind: Kind, category_ids: Sequence[int]) -> BySizeAndClass:
    """Average precision and recall.

    Args:
        truth: the annotations.
        detections: COCO's result records: image_id, category_id, score, bbox, segmentation (compressed run lengths).
        kind: what is compared.
        category_ids: what is evaluated; a mean over classes is over those of them that have objects.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of every step
        evaluation = COCOeval(
            _indexed(truth, truth.annotations), _indexed(truth, _results(detections, kind)), _IOU_TYPES[kind]
        )
        evaluation.params.catIds = list(category_ids)
        evaluation.params.maxDets = [MOST_DETECTIONS]
        evaluation.params.areaRng = [list(limits) for limits in AREAS.values()]
        evaluation.params.areaRngLbl = list(AREAS)
        evaluation.evaluate()
        evaluation.accumulate()
    # (overlaps, recalls, categories, areas, 1) and (overlaps, categories, areas, 1)
    precision, recall = evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]
    overlaps = evaluation.params.iouThrs
    ids = evaluation.params.catIds  # sorted by COCOeval
    by_area = {
        area: _precision(overlaps, precision[..., index], recall[..., index], _count(truth, category_ids, area))
        for index, area in enumerate(AREAS)
    }
    by_category = {
        int(ids[k]): _precision(overlaps, precision[:, :, k, 0], recall[:, k, 0], _count(truth, [ids[k]], "all"))
        for k in range(len(ids))
    }
    return BySizeAndClass(by_area, by_category)


def _results(detections: Sequence[Record], kind: Kind) -> list[Record]:
    """The detections as COCO's annotations; their size is that of the mask or of the box, as is being compared."""
    results: list[Record] = []
    for index, found in enumerate(detections, start=1):
        _x, _y, width, height = found["bbox"]
        area = float(coco_mask.area(found["segmentation"])) if kind is Kind.MASK else width * height
        results.append({**found, "id": index, "area": area, "iscrowd": 0})
    return results


def _indexed(truth: Truth, annotations: Sequence[Record]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.image_id, "height": image.height, "width": image.width} for image in truth.images],
        "categories": [{"id": category_id, "name": name} for name, category_id in truth.categories.items()],
        "annotations": [dict(record) for record in annotations],
    }
    coco.createIndex()
    return coco


def _count(truth: Truth, category_ids: Sequence[int], area: str) -> int:
    least, most = AREAS[area]
    wanted = set(category_ids)
    return sum(
        record["category_id"] in wanted and not record["iscrowd"] and least <= record["area"] <= most
        for record in truth.annotations
    )


def _precision(
    overlaps: NDArray[np.float64], precision: NDArray[np.float64], recall: NDArray[np.float64], objects: int
) -> AveragePrecision:
    at50, at75 = (int(np.flatnonzero(np.isclose(overlaps, overlap))[0]) for overlap in (0.5, 0.75))
    return AveragePrecision(
        objects, _mean(precision), _mean(precision[at50]), _mean(precision[at75]), _mean(recall), _mean(recall[at50])
    )


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what is known; COCOeval writes -1 where there is no object."""
    known = np.asarray(values)[np.asarray(values) > -1]
    return float(known.mean()) if known.size else math.nan
