"""Reads the ground truth of an evaluation: COCO's instances_*.json, checked before a network is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
from mrcnn.coco.image_files import locate
from pipeline.errors import InputError


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


def read_ground_truth(path: Path, limit: int | None = None) -> GroundTruth:
    """Read and check an annotation file; no image is opened.

    Args:
        path: COCO's instances format: polygons, run lengths, crowd regions.
        limit: take only so many images, the first ones; None takes all.

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
    if len(box) != 4 or not all(math.isfinite(value) for value in (*box, area)):
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
