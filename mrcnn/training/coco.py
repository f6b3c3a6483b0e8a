"""Reads annotated images: COCO's instances_*.json with polygons, run lengths and crowd regions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SMALLEST_SIDE = 1.0
"""Pixels: a box with a shorter side cannot be learned from."""


class AnnotationError(ValueError):
    """An annotation file cannot be used; the text names the file and the annotation."""


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One annotated object.

    Attributes:
        class_id: 1 … K - 1; 0 if its category is not among the classes.
        category: index of its category among all categories of the file, from 1.
        box: int (4,), (y1, x1, y2, x2) in pixels of the image, the extent of its mask.
        mask: uint8 (y2 - y1, x2 - x1), 0 or 255.
    """

    class_id: int
    category: int
    box: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """One photograph with its objects.

    Attributes:
        image_id: the id in the annotation file.
        path: the image file.
        height: pixels.
        width: pixels.
        instances: its objects.
        crowd_boxes: float32 (m, 4), (y1, x1, y2, x2) in pixels: regions of uncounted objects, neither object nor
            background.
    """

    image_id: int
    path: Path
    height: int
    width: int
    instances: tuple[Instance, ...]
    crowd_boxes: np.ndarray


@dataclass(frozen=True, slots=True)
class AnnotatedImages:
    """A set of annotated images.

    Attributes:
        class_names: names of the classes, the background first.
        category_names: names of all categories of the file; an Instance's category counts from 1 into this.
        images: the images, in the file's order.
        warnings: what was left out, counted by kind.
    """

    class_names: tuple[str, ...]
    category_names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    warnings: Counter = field(default_factory=Counter)


def load_coco(images_dir: str | Path, annotations: str | Path, classes: Sequence[str] | None = None) -> AnnotatedImages:
    """Read a COCO annotation file and check it against the image folder.

    Args:
        images_dir: folder of the images that the file names.
        annotations: the JSON file.
        classes: categories to be classes, in this order; None takes all. Objects of the others are kept with class_id
            0.

    Returns:
        The images with their masks drawn. Objects without area and parts of boxes outside the image are left out and
        counted in `warnings`.

    Raises:
        AnnotationError: the file is missing, no COCO JSON, names a missing image or an unknown category, or a class has
        no object.
    """
    path, folder = Path(annotations), Path(images_dir)
    document = _read_json(path)
    categories = {int(c["id"]): (index, str(c["name"])) for index, c in enumerate(document["categories"], start=1)}
    names = [name for _, name in categories.values()]
    chosen = list(names if classes is None else classes)
    _check_classes(path, chosen, names)
    class_ids = {name: index for index, name in enumerate(chosen, start=1)}

    grouped: dict[int, list[dict[str, Any]]] = {int(image["id"]): [] for image in document["images"]}
    for annotation in document["annotations"]:
        _check_annotation(path, annotation, grouped, categories)
        grouped[int(annotation["image_id"])].append(annotation)
    warnings: Counter = Counter()
    images = []
    for image in document["images"]:
        file = folder / str(image["file_name"])
        if not file.is_file():
            raise AnnotationError(f"{path}: image {image['id']} is {image['file_name']!r}, but {file} does not exist")
        images.append(_read_image(path, file, image, grouped[int(image["id"])], categories, class_ids, warnings))
    found = {instance.class_id for image in images for instance in image.instances}
    empty = [name for name, class_id in class_ids.items() if class_id not in found]
    if empty and classes is not None:
        raise AnnotationError(f"{path}: no usable object of the class {', '.join(empty)}")
    if not found - {0}:
        raise AnnotationError(f"{path}: no usable object at all in {len(images)} images")
    return AnnotatedImages(("BG", *chosen), tuple(names), tuple(images), warnings)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AnnotationError(f"annotation file {path} does not exist")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise AnnotationError(f"{path} is not readable as JSON: {error}") from None
    missing = [
        key for key in ("images", "annotations", "categories") if not isinstance(document, dict) or key not in document
    ]
    if missing:
        raise AnnotationError(f"{path} has no {', '.join(missing)}: expected COCO's instances format")
    return document


def _check_classes(path: Path, chosen: list[str], names: list[str]) -> None:
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise AnnotationError(f"{path} has no category {', '.join(unknown)}; it has {', '.join(names)}")
    twice = [name for name, count in Counter(chosen).items() if count > 1]
    if twice or not chosen:
        raise AnnotationError(f"{path}: the classes must be one or more different names, got {chosen}")


def _check_annotation(path: Path, annotation: dict[str, Any], grouped: dict, categories: dict) -> None:
    where = f"{path}: annotation {annotation.get('id')}"
    for key in ("image_id", "category_id", "segmentation"):
        if key not in annotation:
            raise AnnotationError(f"{where} has no {key}")
    if int(annotation["image_id"]) not in grouped:
        raise AnnotationError(f"{where} belongs to image {annotation['image_id']}, which the file does not list")
    if int(annotation["category_id"]) not in categories:
        raise AnnotationError(f"{where} has category {annotation['category_id']}, which the file does not list")


def _read_image(path, file, image, annotations, categories, class_ids, warnings) -> AnnotatedImage:
    height, width = int(image["height"]), int(image["width"])
    instances, crowd_boxes = [], []
    for annotation in annotations:
        mask = _draw(path, annotation, height, width)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0 or min(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 < SMALLEST_SIDE:
            warnings["objects without area inside the image"] += 1
            continue
        box = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
        if annotation.get("iscrowd"):
            crowd_boxes.append(box)
            continue
        category, name = categories[int(annotation["category_id"])]
        cut = np.ascontiguousarray(mask[box[0] : box[2], box[1] : box[3]]) * np.uint8(255)
        instances.append(Instance(class_ids.get(name, 0), category, box, cut))
    crowds = np.array(crowd_boxes, np.float32).reshape(-1, 4)
    return AnnotatedImage(int(image["id"]), file, height, width, tuple(instances), crowds)


def _draw(path: Path, annotation: dict[str, Any], height: int, width: int) -> np.ndarray:
    """The mask of an annotation: uint8 (height, width), 0 or 1."""
    from pycocotools import mask as coco_mask

    segmentation = annotation["segmentation"]
    try:
        if isinstance(segmentation, dict):
            rle = segmentation
            if isinstance(rle["counts"], list):
                rle = coco_mask.frPyObjects(rle, height, width)
            if tuple(rle["size"]) != (height, width):
                raise ValueError(f"its mask is {rle['size']}, the image {[height, width]}")
            return coco_mask.decode(rle)
        polygons = [np.asarray(polygon, np.float64).reshape(-1, 2).ravel().tolist() for polygon in segmentation]
        polygons = [polygon for polygon in polygons if len(polygon) >= 6]
        if not polygons:
            return np.zeros((height, width), np.uint8)
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    except (ValueError, TypeError, KeyError) as error:
        raise AnnotationError(
            f"{path}: annotation {annotation.get('id')} has an unreadable segmentation: {error}"
        ) from None
