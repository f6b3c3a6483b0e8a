"""Annotated images to train on, from COCO's instances_*.json: polygons, run lengths and crowd regions.

Reports everything that is wrong before the training begins: an error names the image or the annotation that cannot be
used; what is left out or corrected is a warning with a count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from mrcnn.coco.annotation_file import (
    Annotation,
    AnnotationError,
    AnnotationFile,
    AnnotationWarnings,
    CocoImage,
    by_id,
    polygon_extent,
    read_annotation_file,
    rle_of,
)
from mrcnn.coco.image_files import check_image_files, locate

TINY_SIDE = 4
"""Pixels of the image: an object with a shorter side gets a warning."""

EDGE_TOLERANCE = 1.5
"""Pixels by which a polygon may exceed the image without a warning: annotation tools round."""


class EmptyClass(Enum):
    """Whether a class without a usable object is an error or a warning."""

    REFUSE = "refuse"
    WARN = "warn"


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
    """One image with its objects.

    Attributes:
        image_id: the id in the annotation file.
        path: the image file.
        height: pixels.
        width: pixels.
        instances: its objects.
        crowd_boxes: float32 (m, 4), (y1, x1, y2, x2) in pixels: regions of uncounted objects, neither object nor
            background.
        crowds: the same regions with class and mask, where they are known.
        is_complete: False where only objects of the classes are annotated: what else it shows is neither object nor
            background for the region proposals and for the classifier of all categories.
    """

    image_id: int
    path: Path
    height: int
    width: int
    instances: tuple[Instance, ...]
    crowd_boxes: np.ndarray
    crowds: tuple[Instance, ...] = ()
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class AnnotatedImages:
    """A set of annotated images.

    Attributes:
        class_names: names of the classes, the background first.
        category_names: names of all categories of the file; an Instance's category counts from 1 into this.
        images: the images, in the file's order.
        warnings: what was left out or corrected, by kind.
    """

    class_names: tuple[str, ...]
    category_names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    warnings: AnnotationWarnings = field(default_factory=AnnotationWarnings)


CROWD = "region marked iscrowd, neither object nor background"
"""The kind of warning for what may be meant as an object: CVAT's exporter, Datumaro, marks all masks so."""

Drawn = tuple[Annotation, np.ndarray, np.ndarray]
"""An annotation with its box and mask, as in `Instance`."""


def load_coco(
    images_dir: str | Path,
    annotations: str | Path,
    classes: Sequence[str] | None = None,
    empty_class: EmptyClass = EmptyClass.REFUSE,
) -> AnnotatedImages:
    """Read a COCO annotation file and check it against the image folder.

    Args:
        images_dir: folder of the images that the file names.
        annotations: the JSON file.
        classes: categories that become classes, in this order; None takes all that have a usable object. Objects of
            the others are kept with class_id 0.
        empty_class: how to treat one of `classes` without a usable object, or one that is no category of the file.

    Returns:
        The images with their masks drawn. Objects without area and parts of boxes outside the image are left out and
        counted in `warnings`.

    Raises:
        AnnotationError: the file is missing or no COCO JSON; two records have the same id; it names an unknown
            category or image; an image is missing, unreadable or of another size; a class has no object.
    """
    file = read_annotation_file(Path(annotations))
    if classes is not None:
        _check_classes(file, list(classes), empty_class)
    grouped = _grouped(file)
    paths = locate(file.path, Path(images_dir), file.images)
    check_image_files(file.path, paths, file.images)
    drawn = {
        image_id: [
            (one, *shape) for one in grouped[image_id] if (shape := _draw(one, image, file.warnings)) is not None
        ]
        for image_id, image in file.images.items()
    }
    usable = {one.category_id for rows in drawn.values() for one, *_ in rows if not one.is_crowd}
    names = _class_names(file, usable, classes, empty_class)
    class_ids = {name: index for index, name in enumerate(names, start=1)}
    # (class id, category counted from 1) by category id
    numbers = {
        category_id: (class_ids.get(name, 0), index)
        for index, (category_id, name) in enumerate(file.categories.items(), start=1)
    }
    images = (
        _annotated(image, paths[image.image_id], drawn.pop(image.image_id), numbers) for image in file.images.values()
    )
    return AnnotatedImages(("BG", *names), tuple(file.categories.values()), tuple(images), file.warnings)


def _check_classes(file: AnnotationFile, classes: list[str], empty_class: EmptyClass) -> None:
    known = list(file.categories.values())
    unknown = [name for name in classes if name not in known]
    if unknown and empty_class is EmptyClass.REFUSE:
        raise AnnotationError(f"{file.path} has no category {', '.join(unknown)}; it has {', '.join(known)}")
    if not classes or len(set(classes)) < len(classes):
        raise AnnotationError(f"{file.path}: the classes must be one or more different names, got {classes}")


def _grouped(file: AnnotationFile) -> dict[int, list[Annotation]]:
    """Annotations by image id, duplicates left out; each has an id of its own and a segmentation."""
    by_id(file.path, [one.record for one in file.annotations], "annotation")
    seen: set[tuple[int, int, str]] = set()
    grouped: dict[int, list[Annotation]] = {image_id: [] for image_id in file.images}
    for one in file.annotations:
        if "segmentation" not in one.record:
            raise AnnotationError(f"{one.label} has no segmentation: masks are needed, boxes alone are not enough")
        segmentation = one.record["segmentation"]
        key = (one.image_id, one.category_id, json.dumps(segmentation))
        if key in seen and segmentation:
            file.warnings.add("identical object annotated twice, taken once", one.record["id"])
            continue
        seen.add(key)
        grouped[one.image_id].append(one)
    return grouped


def _class_names(
    file: AnnotationFile, usable: set[int], classes: Sequence[str] | None, empty_class: EmptyClass
) -> list[str]:
    """Names of the classes; one without a usable object is an error or a warning.

    Args:
        file: gets the warnings.
        usable: ids of the categories with a usable object.
        classes, empty_class: see `load_coco`.
    """
    crowds = len(file.warnings.get(CROWD, ()))
    hint = f" ({crowds} regions are marked iscrowd, as CVAT marks masks; set it to 0)" if crowds else ""
    if not usable:
        raise AnnotationError(
            f"{file.path}: no usable object at all; each needs a polygon or a mask with an area{hint}"
        )
    used = [name for category_id, name in file.categories.items() if category_id in usable]
    if classes is not None:
        empty = [name for name in classes if name not in used]
        if empty and (empty_class is EmptyClass.REFUSE or len(empty) == len(classes)):
            raise AnnotationError(f"{file.path}: no usable object of the class {', '.join(empty)}{hint}")
        for name in empty:
            file.warnings.add("class without a usable object", name)
        return list(classes)
    annotated = {one.category_id for one in file.annotations if not one.is_crowd}
    for category_id, name in file.categories.items():
        if category_id not in annotated:
            file.warnings.add("category that no annotation has, left out of the classes", name)
        elif category_id not in usable:
            file.warnings.add("class without a usable object, left out of the classes", name)
    return used


def _draw(
    annotation: Annotation, image: CocoImage, warnings: AnnotationWarnings
) -> tuple[np.ndarray, np.ndarray] | None:
    """Box and mask as in `Instance`, or None, counted in `warnings`, if there is no area inside the image."""
    annotation_id, height, width = annotation.record["id"], image.height, image.width
    rle, extent = rle_of(annotation, image), polygon_extent(annotation.record["segmentation"])
    y1, x1, y2, x2 = extent if extent is not None else (0, 0, height, width)
    if min(y2 - y1, x2 - x1) > 0 and (y1 >= height or x1 >= width or y2 <= 0 or x2 <= 0):
        warnings.add("object outside its image, left out", annotation_id)
        return None
    mask = coco_mask.decode(rle)
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if min(y2 - y1, x2 - x1) <= 0 or len(ys) == 0:
        warnings.add("object without area, left out", annotation_id)
        return None
    if max(-y1, -x1, y2 - height, x2 - width) > EDGE_TOLERANCE:
        warnings.add("object that extends beyond its image, clipped", annotation_id)
    box = np.array([ys[0], xs[0], ys[-1] + 1, xs[-1] + 1])
    if annotation.is_crowd:
        warnings.add(CROWD, annotation_id)
    elif min(box[2:] - box[:2]) < TINY_SIDE:
        warnings.add(f"object less than {TINY_SIDE} pixels high or wide, too small to learn", annotation_id)
    return box, np.ascontiguousarray(mask[box[0] : box[2], box[1] : box[3]]) * np.uint8(255)


def _annotated(
    image: CocoImage, path: Path, drawn: Sequence[Drawn], numbers: Mapping[int, tuple[int, int]]
) -> AnnotatedImage:
    objects, crowds = [], []
    for one, box, mask in drawn:
        (crowds if one.is_crowd else objects).append(Instance(*numbers[one.category_id], box, mask))
    crowd_boxes = np.array([crowd.box for crowd in crowds], np.float32).reshape(-1, 4)
    return AnnotatedImage(image.image_id, path, image.height, image.width, tuple(objects), crowd_boxes, tuple(crowds))


def concatenate(parts: Sequence[AnnotatedImages]) -> AnnotatedImages:
    """One set of the images of several; a set that is named twice counts twice.

    Raises:
        ValueError: they differ in classes or categories, or in the order of these.
    """
    first = parts[0]
    for other in parts[1:]:
        if (other.class_names, other.category_names) != (first.class_names, first.category_names):
            raise ValueError(
                f"the sets must have the same classes and categories in the same order, got {first.class_names} of "
                f"{len(first.category_names)} categories and {other.class_names} of {len(other.category_names)}"
            )
    return replace(first, images=tuple(image for part in parts for image in part.images))


VALIDATION_SHARE = 0.1
MAX_VALIDATION = 200
MIN_TO_SPLIT = 10
"""With fewer images, the training images serve as validation too."""


def split(data: AnnotatedImages, seed: int) -> tuple[AnnotatedImages, AnnotatedImages]:
    """(images to train on, images to validate on): one image in ten, chosen by the seed among those with an object.

    The last image of a class is used for training.

    Args:
        data: is not changed.
        seed: the same seed and images give the same choice.

    Returns:
        Both parts in the order of the file; with fewer than `MIN_TO_SPLIT` images both are all of them.
    """
    count = len(data.images)
    if count < MIN_TO_SPLIT:
        return data, data
    classes = [{one.class_id for one in image.instances if one.class_id} for image in data.images]
    left = {class_id: sum(class_id in found for found in classes) for class_id in range(1, len(data.class_names))}
    wanted = min(MAX_VALIDATION, max(1, round(VALIDATION_SHARE * count)))
    aside: set[int] = set()
    for index in np.random.default_rng([seed, 7]).permutation(count):
        found = classes[index]
        if len(aside) == wanted:
            break
        if found and all(left[class_id] > 1 for class_id in found):
            aside.add(int(index))
            for class_id in found:
                left[class_id] -= 1
    if not aside:
        return data, data
    train = tuple(image for index, image in enumerate(data.images) if index not in aside)
    validation = tuple(image for index, image in enumerate(data.images) if index in aside)
    return replace(data, images=train), replace(data, images=validation)
