"""Reads annotated images: COCO's instances_*.json with polygons, run lengths and crowd regions.

Everything that can be wrong is found here, before training begins: what cannot be used at all is an error that names
the image or the annotation, what can be left out or mended is a finding with a count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.training.coco_segmentation import drawn_extent, is_empty, rle_of
from mrcnn.training.findings import AnnotationError, Findings
from mrcnn.training.image_files import check_image_files, locate

__all__ = ["AnnotatedImage", "AnnotatedImages", "AnnotationError", "EmptyClass", "Instance", "load_coco"]

TINY_SIDE = 4
"""Pixels of the photograph: an object with a shorter side is hardly to be seen."""

EDGE_TOLERANCE = 1.5
"""Pixels by which a polygon may reach over the edge without being worth a word: annotation tools round."""


class EmptyClass(Enum):
    """What a class without a usable object is: a mistake, or worth a line."""

    REFUSE = "refuse"
    COUNT = "count"


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
        crowds: the same regions with class and mask, where they are known.
    """

    image_id: int
    path: Path
    height: int
    width: int
    instances: tuple[Instance, ...]
    crowd_boxes: np.ndarray
    crowds: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnotatedImages:
    """A set of annotated images.

    Attributes:
        class_names: names of the classes, the background first.
        category_names: names of all categories of the file; an Instance's category counts from 1 into this.
        images: the images, in the file's order.
        findings: what was left out or mended, by kind.
    """

    class_names: tuple[str, ...]
    category_names: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    findings: Findings = field(default_factory=Findings)


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
        classes: categories to be classes, in this order; None takes all that have a usable object. Objects of the
            others are kept with class_id 0.
        empty_class: what one of `classes` without a usable object is, or one that is no category of the file.

    Returns:
        The images with their masks drawn. Objects without area and parts of boxes outside the image are left out and
        counted in `findings`.

    Raises:
        AnnotationError: the file is missing or no COCO JSON; an id is there twice; it names an unknown category or
            image; an image is missing, unreadable or of another size; a class has no object.
    """
    path, folder = Path(annotations), Path(images_dir)
    document = _read_json(path)
    if not folder.is_dir():
        raise AnnotationError(f"the image folder {folder} {'is a file' if folder.exists() else 'does not exist'}")
    categories = _categories(path, document["categories"])
    names = [name for _, name in categories.values()]
    if classes is not None:
        _check_classes(path, list(classes), names, empty_class)
    findings = Findings()
    images = _images(path, document["images"], findings)
    grouped = _grouped(path, document["annotations"], images, categories, findings)
    files = locate(path, folder, {image_id: str(image["file_name"]) for image_id, image in images.items()})
    check_image_files(path, files, {image_id: (image["width"], image["height"]) for image_id, image in images.items()})

    counted = Counter(int(one["category_id"]) for rows in grouped.values() for one in rows if not one.get("iscrowd"))
    drawn = {image_id: _draw_all(path, images[image_id], grouped[image_id], findings) for image_id in images}
    usable = {int(one["category_id"]) for rows in drawn.values() for one, *_ in rows if not one.get("iscrowd")}
    chosen = _chosen(path, classes, categories, counted, usable, empty_class, findings)
    class_ids = {name: index for index, name in enumerate(chosen, start=1)}
    return AnnotatedImages(
        ("BG", *chosen),
        tuple(names),
        tuple(_annotated(images[i], files[i], drawn.pop(i), categories, class_ids) for i in images),
        findings,
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise AnnotationError(f"annotation file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise AnnotationError(f"{path} is not readable as JSON: {error}") from None
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(document, dict) or not isinstance(document.get(key), list)]
    if missing:
        raise AnnotationError(
            f"{path} has no {', '.join(missing)}: expected COCO's instances format (export it as 'COCO')"
        )
    return document


def _whole(row: Any, key: str, where: str) -> int:
    """A whole number of a row, or an error that says where it should have been."""
    value = row.get(key) if isinstance(row, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or int(value) != value:
        raise AnnotationError(f"{where} must have a whole number {key!r}, got {value!r}")
    return int(value)


def _by_id(path: Path, rows: Sequence[Any], what: str) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for index, row in enumerate(rows):
        row_id = _whole(row, "id", f"{path}: {what} number {index + 1}")
        if row_id in found:
            raise AnnotationError(f"{path}: the {what} id {row_id} is there twice; ids must differ")
        found[row_id] = row
    return found


def _categories(path: Path, rows: Sequence[Any]) -> dict[int, tuple[int, str]]:
    """Category id to (index from 1, name)."""
    found = {}
    for index, (category_id, row) in enumerate(_by_id(path, rows, "category").items(), start=1):
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            raise AnnotationError(f"{path}: category {category_id} has no name")
        if name in (known for _, known in found.values()):
            raise AnnotationError(f"{path}: two categories are named {name!r}; give them different names or one id")
        found[category_id] = (index, name)
    return found


def _images(path: Path, rows: Sequence[Any], findings: Findings) -> dict[int, dict[str, Any]]:
    """Images by id; one that is listed again with the same file and size is the same one."""
    seen: set[tuple[str, ...]] = set()
    once = []
    for row in rows:
        described = row if isinstance(row, Mapping) else {}
        key = tuple(str(described.get(name)) for name in ("id", "file_name", "width", "height"))
        if described and key in seen:
            findings.add("image listed more than once, taken once", row.get("id"))
            continue
        seen.add(key)
        once.append(row)
    images = _by_id(path, once, "image")
    if not images:
        raise AnnotationError(f"{path} lists no images")
    for image_id, row in images.items():
        where = f"{path}: image {image_id}"
        if not isinstance(row.get("file_name"), str) or not row["file_name"]:
            raise AnnotationError(f"{where} has no file_name")
        for key in ("width", "height"):
            if _whole(row, key, where) < 1:
                raise AnnotationError(f"{where} has the {key} {row[key]}")
    return images


def _check_classes(path: Path, chosen: list[str], names: list[str], empty_class: EmptyClass) -> None:
    unknown = [name for name in chosen if name not in names]
    if unknown and empty_class is EmptyClass.REFUSE:
        raise AnnotationError(f"{path} has no category {', '.join(unknown)}; it has {', '.join(names)}")
    twice = [name for name, count in Counter(chosen).items() if count > 1]
    if twice or not chosen:
        raise AnnotationError(f"{path}: the classes must be one or more different names, got {chosen}")


def _grouped(
    path: Path, rows: Sequence[Any], images: Mapping[int, Any], categories: Mapping[int, Any], findings: Findings
) -> dict[int, list[dict[str, Any]]]:
    """Annotations by image id, each of them complete and of a known image and category, no object twice."""
    seen: set[tuple[int, int, str]] = set()
    grouped: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in images}
    for annotation_id, row in _by_id(path, rows, "annotation").items():
        where = f"{path}: annotation {annotation_id}"
        image_id, category_id = _whole(row, "image_id", where), _whole(row, "category_id", where)
        if image_id not in images:
            raise AnnotationError(f"{where} belongs to image {image_id}, which the file does not list")
        if category_id not in categories:
            raise AnnotationError(f"{where} has category {category_id}, which the file does not list")
        if "segmentation" not in row:
            raise AnnotationError(f"{where} has no segmentation: masks are needed, boxes alone do not do")
        key = (image_id, category_id, json.dumps(row["segmentation"]))
        if key in seen and row["segmentation"]:
            findings.add("object annotated twice in the same way, taken once", annotation_id)
            continue
        seen.add(key)
        grouped[image_id].append(row)
    return grouped


def _chosen(path, classes, categories, counted, usable, empty_class, findings) -> list[str]:
    """The classes' names; those without a usable object are an error or a finding."""
    used = {categories[category_id][1] for category_id in usable}
    if not used:
        raise AnnotationError(f"{path}: no usable object at all; each needs a polygon or a mask with an area")
    if classes is not None:
        empty = [name for name in classes if name not in used]
        if empty and (empty_class is EmptyClass.REFUSE or len(empty) == len(classes)):
            raise AnnotationError(f"{path}: no usable object of the class {', '.join(empty)}")
        for name in empty:
            findings.add("class without a usable object", name)
        return list(classes)
    for category_id, (_, name) in categories.items():
        if not counted[category_id]:
            findings.add("category that no annotation has, left out of the classes", name)
        elif category_id not in usable:
            findings.add("class without a usable object, left out of the classes", name)
    return [name for _, name in categories.values() if name in used]


def _draw_all(
    path: Path, image, annotations, findings: Findings
) -> list[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """(annotation, box, mask) of those that have an area inside the image; the others are counted."""
    from pycocotools import mask as coco_mask

    height, width = int(image["height"]), int(image["width"])
    rows = []
    for one in annotations:
        extent = drawn_extent(one)  # (y1, x1, y2, x2) of the polygons; None for run lengths
        if is_empty(one) or (extent is not None and min(extent[2:] - extent[:2]) <= 0):
            findings.add("object without area, left out", one["id"])
            continue
        if extent is not None and _is_outside(extent, height, width):
            findings.add("object outside its image, left out", one["id"])
            continue
        mask = coco_mask.decode(rle_of(path, one, height, width))
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(ys) == 0:
            findings.add("object without area, left out", one["id"])
            continue
        if extent is not None and _reaches_over(extent, height, width):
            findings.add("object that reaches over the edge of its image, cut there", one["id"])
        box = np.array([ys[0], xs[0], ys[-1] + 1, xs[-1] + 1])
        if min(box[2:] - box[:2]) < TINY_SIDE and not one.get("iscrowd"):
            findings.add(f"object less than {TINY_SIDE} pixels high or wide, hardly to be learned", one["id"])
        cut = np.ascontiguousarray(mask[box[0] : box[2], box[1] : box[3]]) * np.uint8(255)
        rows.append((one, box, cut))
    return rows


def _is_outside(extent: np.ndarray, height: int, width: int) -> bool:
    return bool(extent[0] >= height or extent[1] >= width or extent[2] <= 0 or extent[3] <= 0)


def _reaches_over(extent: np.ndarray, height: int, width: int) -> bool:
    over = max(-extent[0], -extent[1], extent[2] - height, extent[3] - width)
    return bool(over > EDGE_TOLERANCE)


def _annotated(image, file: Path, drawn, categories, class_ids) -> AnnotatedImage:
    objects, crowds = [], []
    for one, box, mask in drawn:
        category, name = categories[int(one["category_id"])]
        (crowds if one.get("iscrowd") else objects).append(Instance(class_ids.get(name, 0), category, box, mask))
    crowd_boxes = np.array([crowd.box for crowd in crowds], np.float32).reshape(-1, 4)
    size = int(image["height"]), int(image["width"])
    return AnnotatedImage(int(image["id"]), file, *size, tuple(objects), crowd_boxes, tuple(crowds))
