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


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much better the second of two sets of detections is than the first, in mask AP, 0 … 1.

    Attributes:
        mean: over all images.
        low, high: the 95 % interval over `samples` draws of the images with replacement (Efron 1979).
    """

    mean: float
    low: float
    high: float


def paired_difference(
    annotations: Sequence[Record],
    first: Sequence[Record],
    second: Sequence[Record],
    category_ids: Sequence[int],
    samples: int = 1000,
) -> PairedDifference:
    """Compare the mask AP of two sets of detections of the same images.

    Args:
        annotations, first, second, category_ids: see `measure`.
        samples: number of draws.
    """
    images = sorted({record["image_id"] for record in (*annotations, *first, *second)})
    ids = sorted(set(category_ids))
    if not images:
        return PairedDifference(math.nan, math.nan, math.nan)
    sides = [_Resampled(annotations, detections, ids, images) for detections in (first, second)]
    whole = np.ones(len(images))
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(images), whole / len(images), samples)
    before, after = ([side.ap(weights) for weights in (whole, *draws)] for side in sides)
    differences = np.array(after) - np.array(before)
    low, high = np.nanpercentile(differences[1:], [2.5, 97.5])
    return PairedDifference(float(differences[0]), float(low), float(high))


_Matches = tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


class _Resampled:
    """Matches of detections with annotations, made once, from which AP follows for any number of each image."""

    def __init__(
        self, annotations: Sequence[Record], detections: Sequence[Record], ids: Sequence[int], images: Sequence[int]
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(_indexed(annotations), _indexed(_with_areas(detections, Kind.MASK)), "segm")
            parameters = evaluation.params
            parameters.imgIds, parameters.catIds, parameters.maxDets = list(images), list(ids), [MAX_DETECTIONS]
            parameters.areaRng, parameters.areaRngLbl = [list(AREAS["all"])], ["all"]
            parameters.iouThrs = np.array(IOU_THRESHOLDS)
            evaluation.evaluate()
        self._recalls = parameters.recThrs
        self._categories = []
        for place in range(len(ids)):
            found = evaluation.evalImgs[place * len(images) : (place + 1) * len(images)]
            self._categories.append(self._category(found))

    def ap(self, weights: NDArray[np.float64]) -> float:
        """Mean AP, with each image as often as its weight says; NaN without objects."""
        found = [self._ap_of(weights, *category) for category in self._categories]
        return float(np.nanmean(found)) if not all(map(math.isnan, found)) else math.nan

    def _category(self, found: Sequence[dict[str, NDArray[np.float64]] | None]) -> _Matches:
        """Images of the detections, best first; whether each is right or wrong at each threshold; objects by image."""
        objects = np.array([0 if one is None else np.sum(np.logical_not(one["gtIgnore"])) for one in found])
        known = [(image, one) for image, one in enumerate(found) if one is not None and len(one["dtScores"])]
        if not known:
            none = np.zeros((len(IOU_THRESHOLDS), 0))
            return np.zeros(0, np.intp), none, none, objects
        order = np.argsort(-np.concatenate([one["dtScores"] for _, one in known]), kind="mergesort")
        owners = np.concatenate([np.full(len(one["dtScores"]), image) for image, one in known])[order]
        matched = np.concatenate([one["dtMatches"] for _, one in known], axis=1)[:, order] > 0
        counts = np.concatenate([one["dtIgnore"] for _, one in known], axis=1)[:, order] == 0
        return owners, (matched & counts).astype(np.float64), (~matched & counts).astype(np.float64), objects

    def _ap_of(
        self,
        weights: NDArray[np.float64],
        owners: NDArray[np.intp],
        right: NDArray[np.float64],
        wrong: NDArray[np.float64],
        objects: NDArray[np.float64],
    ) -> float:
        total = float(weights @ objects)
        if total == 0:
            return math.nan
        times = weights[owners]
        hits, misses = np.cumsum(right * times, axis=1), np.cumsum(wrong * times, axis=1)
        precision = hits / np.maximum(hits + misses, np.spacing(1.0))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        at_recalls = []
        for recall, values in zip(hits / total, precision, strict=True):
            places = np.searchsorted(recall, self._recalls, side="left")
            at_recalls.append(np.append(values, 0.0)[places])
        return float(np.mean(at_recalls))


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
