"""Reads annotated images, runs a segmenter over them, and measures its detections."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mrcnn.coco.annotation_file import (
    Annotation,
    AnnotationError,
    AnnotationFile,
    CocoImage,
    Record,
    read_annotation_file,
    rle_of,
)
from mrcnn.coco.average_precision import AveragePrecision, Kind, measure
from mrcnn.coco.image_files import locate
from pipeline.drawing.masks import encode_mask, paste_mask
from pipeline.errors import InputError
from pipeline.labels import is_unused, resolve_classes
from pipeline.records import Instances
from pipeline.segmentation.segmenter import Segmenter
from pipeline.sources.images import load_image

PasteMask = Callable[..., tuple[NDArray[np.bool_], int, int]]
"""`paste_mask` with its threshold."""
OnImage = Callable[[int, int], None]
"""Called after each image with the number of images done and in all."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """The annotated objects of an evaluation.

    Attributes:
        file: the annotation file.
        images: by id, in the file's order.
        annotations: COCO's records of these images, with bbox (x, y, width, height in pixels), area, iscrowd and the
            mask as compressed run lengths.
        without_area: how many were left out because nothing of their mask or box lies inside the image.
    """

    file: AnnotationFile
    images: Mapping[int, CocoImage]
    annotations: tuple[Record, ...]
    without_area: int = 0


@dataclass(frozen=True, slots=True)
class ClassMatch:
    """Which classes of a model are which categories of an annotation file.

    Attributes:
        category_ids: by class id, for those that are evaluated.
        names: the model's name of each category id that is evaluated.
        not_annotated: classes of the model that are no category of the file.
        unknown: categories of the file that are not classes of the model.
    """

    category_ids: Mapping[int, int]
    names: Mapping[int, str]
    not_annotated: tuple[str, ...]
    unknown: tuple[str, ...]

    def unmatched_text(self) -> str | None:
        """One line about the classes and categories that are not evaluated; None if there are none."""
        parts = [
            f"{len(names)} {what}: {_some(names)}"
            for names, what in (
                (self.unknown, "categories of the annotations are unknown to the model"),
                (self.not_annotated, "classes of the model are not annotated"),
            )
            if names
        ]
        return f"left out: {'; '.join(parts)}" if parts else None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The numbers of a model on a set of images.

    Attributes:
        classes: the evaluated classes.
        images: number of segmented images.
        objects, crowds: annotated objects and crowd regions of the evaluated classes.
        detections: number of detections of these classes.
        by_area: by kind ("mask", "box") and size (see `average_precision.AREAS`), mean over the classes.
        by_class: by kind and class name, over all sizes.
        image_ms: median time of the segmenter for an image, milliseconds.
        found: the detections, COCO's result records.
    """

    classes: ClassMatch
    images: int
    objects: int
    crowds: int
    detections: int
    by_area: Mapping[str, Mapping[str, AveragePrecision]]
    by_class: Mapping[str, Mapping[str, AveragePrecision]]
    image_ms: float
    found: Sequence[Record] = ()

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "objects": self.objects,
            "crowd_regions": self.crowds,
            "detections": self.detections,
            "image_ms": round(self.image_ms, 1),
            "unknown_categories": list(self.classes.unknown),
            "classes_not_annotated": list(self.classes.not_annotated),
            **{
                kind.value: {
                    "by_size": {area: found.record() for area, found in self.by_area[kind.value].items()},
                    "by_class": {name: found.record() for name, found in self.by_class[kind.value].items()},
                }
                for kind in Kind
            },
        }


def read_ground_truth(path: Path, limit: int | None = None) -> GroundTruth:
    """Read and check an annotation file; no image is opened.

    Args:
        path: COCO's instances format: polygons, run lengths, crowd regions.
        limit: the number of images to take, from the start; None takes all.

    Raises:
        InputError: the file cannot be read, is no COCO JSON, lists no image or no object, or has a record that cannot
            be used, which is named.
    """
    try:
        file = read_annotation_file(path)
        images = dict(list(file.images.items())[:limit])
        found = [_record(one, images[one.image_id]) for one in file.annotations if one.image_id in images]
    except AnnotationError as error:
        raise InputError(str(error)) from None
    annotations = tuple(record for record in found if record is not None)
    if not annotations:
        among = f"{len(images)} images" + ("" if limit is None else f" (--limit {limit})")
        raise InputError(f"{path} has no annotated object in its {among}: there is nothing to measure")
    return GroundTruth(file, images, annotations, len(found) - len(annotations))


def image_paths(truth: GroundTruth, images_dir: Path) -> dict[int, Path]:
    """The image files by image id. Raises InputError unless every image of the ground truth lies in the folder."""
    try:
        return dict(locate(truth.file.path, images_dir, truth.images))
    except AnnotationError as error:
        raise InputError(str(error)) from None


def match_classes(labels: Sequence[str], truth: GroundTruth, only: Sequence[str] = ()) -> ClassMatch:
    """Match classes and categories by name, whatever the case.

    Args:
        labels: class names of the model by id, the background first.
        truth: the annotations.
        only: evaluate only these classes, names or ids of the model; empty for all.

    Raises:
        InputError: no class, or not each of `only`, is both a class of the model and a category of the file.
    """
    path, categories = truth.file.path, truth.file.categories
    by_name = {name.strip().casefold(): category_id for category_id, name in categories.items()}
    found = {
        class_id: by_name[label.strip().casefold()]
        for class_id, label in enumerate(labels)
        if class_id > 0 and label.strip().casefold() in by_name
    }
    if not found:
        raise InputError(
            f"no class of the model is a category of {path}: the model has {_some(labels[1:])}, "
            f"the file {_some(tuple(categories.values()))}"
        )
    chosen = resolve_classes(only, labels) if only else frozenset(found)
    for class_id in sorted(chosen - found.keys()):
        raise InputError(f"--classes: {labels[class_id]!r} is no category of {path}")
    category_ids = {class_id: found[class_id] for class_id in sorted(chosen)}
    return ClassMatch(
        category_ids,
        {category_id: labels[class_id] for class_id, category_id in category_ids.items()},
        tuple(
            label
            for class_id, label in enumerate(labels)
            if class_id > 0 and class_id not in found and not is_unused(label)
        ),
        tuple(name for category_id, name in categories.items() if category_id not in found.values()),
    )


def evaluate(
    segmenter: Segmenter,
    truth: GroundTruth,
    images_dir: Path,
    *,
    classes: Sequence[str] = (),
    mask_threshold: float = 0.5,
    on_image: OnImage | None = None,
) -> Evaluation:
    """COCO's box and mask AP of a segmenter.

    All detections of the segmenter count: make it with a low `model.min_score` (`evaluate` on the command line takes
    0.03), since every detection that it drops can only lower AP.

    Args:
        segmenter: opened and closed by the caller.
        truth: from `read_ground_truth`.
        images_dir: the folder that the file names are relative to.
        classes: evaluate only these, names or ids of the model; empty for all that the file has too.
        mask_threshold: least probability of a pixel of an object, as `overlay.mask_threshold`.
        on_image: see `OnImage`.

    Raises:
        InputError: no common class, no object of them, or an image is missing, unreadable or of another size.
    """
    matched = match_classes(segmenter.labels, truth, classes)
    paths = image_paths(truth, images_dir)
    of_classes = [record for record in truth.annotations if record["category_id"] in matched.names]
    objects = sum(not record["iscrowd"] for record in of_classes)
    if objects == 0:
        raise InputError(f"{truth.file.path} has no object of the class {_some(tuple(matched.names.values()))}")
    paste = partial(paste_mask, threshold=mask_threshold)
    detections: list[Record] = []
    times_ms: list[float] = []
    for done, (image_id, image) in enumerate(truth.images.items(), start=1):
        picture = load_image(paths[image_id])
        if picture.shape[:2] != (image.height, image.width):
            raise InputError(
                f"{paths[image_id]} is {picture.shape[1]}x{picture.shape[0]} pixels, {truth.file.path} says "
                f"{image.width}x{image.height}: the annotations belong to another version of it"
            )
        started = time.perf_counter()
        instances = segmenter.segment_batch([picture])[0]
        times_ms.append(1000 * (time.perf_counter() - started))
        detections.extend(_records(instances, image, matched.category_ids, paste))
        if on_image is not None:
            on_image(done, len(truth.images))
    measured = {kind.value: measure(truth.annotations, detections, kind, list(matched.names)) for kind in Kind}
    return Evaluation(
        classes=matched,
        images=len(truth.images),
        objects=objects,
        crowds=len(of_classes) - objects,
        detections=len(detections),
        by_area={kind: found.by_area for kind, found in measured.items()},
        by_class={
            kind: {matched.names[category_id]: numbers for category_id, numbers in found.by_category.items()}
            for kind, found in measured.items()
        },
        image_ms=statistics.median(times_ms),
        found=tuple(detections),
    )


def _record(annotation: Annotation, image: CocoImage) -> Record | None:
    """An annotation as pycocotools takes it, or None if nothing of it lies inside the image."""
    mask, given = rle_of(annotation, image), annotation.record
    mask_area = coco_mask.area(mask)
    if not mask_area:
        return None
    try:
        box = [float(edge) for edge in given.get("bbox", coco_mask.toBbox(mask))]
        area = float(given.get("area", mask_area))
    except (TypeError, ValueError) as error:
        raise InputError(f"{annotation.label} has a bbox or area that is no number: {error}") from None
    if not math.isfinite(area):
        raise InputError(f"{annotation.label} has the area {area}, expected a number of pixels")
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise InputError(
            f"{annotation.label} has the bbox {given.get('bbox')!r}, expected x, y, width, height in pixels"
        )
    x, y, width, height = box
    if width <= 0 or height <= 0 or x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0:
        return None
    return {
        "image_id": annotation.image_id,
        "category_id": annotation.category_id,
        "iscrowd": int(annotation.is_crowd),
        "bbox": box,
        "area": area,
        "segmentation": mask,
    }


def _records(instances: Instances, image: CocoImage, category_ids: Mapping[int, int], paste: PasteMask) -> list[Record]:
    """The instances of one image as COCO's result records, those of the evaluated classes."""
    records: list[Record] = []
    for index, class_id in enumerate(instances.class_ids.tolist()):
        if class_id not in category_ids:
            continue
        box = instances.boxes_xyxy[index]
        pasted, y0, x0 = paste(instances.mask_probs[index], box, image.height, image.width)
        x1, y1, x2, y2 = (float(edge) for edge in box)
        records.append(
            {
                "image_id": image.image_id,
                "category_id": category_ids[class_id],
                "score": float(instances.scores[index]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": encode_mask(pasted, y0, x0, image.height, image.width),
            }
        )
    return records


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "") if names else "none"
