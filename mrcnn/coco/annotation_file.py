"""Reads COCO's instances_*.json and checks its structure: ids, sizes, references. Opens no image and draws no mask."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrcnn.coco.annotation_errors import AnnotationError, AnnotationWarnings

Record = dict[str, Any]
"""An object of COCO's JSON."""


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image that the file lists.

    Attributes:
        image_id: its id in the file.
        file_name: relative to the image folder.
        height, width: pixels.
    """

    image_id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One annotated object or crowd region; image and category are among those that the file lists.

    Attributes:
        label: file and id, for messages.
        image_id: of its image.
        category_id: of its category.
        is_crowd: whether it is a region of uncounted objects.
        record: all its fields as they are in the file; those above are the only ones that are checked.
    """

    label: str
    image_id: int
    category_id: int
    is_crowd: bool
    record: Record


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationFile:
    """The content of an annotation file.

    Attributes:
        path: the file.
        images: by id, in the file's order.
        categories: names by id, in the file's order.
        annotations: in the file's order.
        warnings: what was left out.
    """

    path: Path
    images: Mapping[int, CocoImage]
    categories: Mapping[int, str]
    annotations: Sequence[Annotation]
    warnings: AnnotationWarnings


def read_annotation_file(path: Path) -> AnnotationFile:
    """Read an annotation file.

    Args:
        path: COCO's instances format.

    Raises:
        AnnotationError: the file is missing or no COCO JSON, lists no image, has an image or category without id, name
            or size or with an id that another has, or an annotation of an image or category that it does not list.
    """
    document = _read_json(path)
    warnings = AnnotationWarnings()
    categories = _categories(path, document["categories"])
    images = _images(path, document["images"], warnings)
    annotations = []
    for position, row in enumerate(document["annotations"], start=1):
        row_id = row.get("id") if isinstance(row, Mapping) else None
        label = f"{path}: annotation {f'number {position}' if row_id is None else row_id}"
        image_id, category_id = _whole(row, "image_id", label), _whole(row, "category_id", label)
        if image_id not in images:
            raise AnnotationError(f"{label} belongs to image {image_id}, which the file does not list")
        if category_id not in categories:
            raise AnnotationError(f"{label} has category {category_id}, which the file does not list")
        annotations.append(Annotation(label, image_id, category_id, bool(row.get("iscrowd")), row))
    return AnnotationFile(path, images, categories, annotations, warnings)


def by_id(path: Path, rows: Sequence[Any], what: str) -> dict[int, Any]:
    """Records by their ids.

    Raises:
        AnnotationError: one has no id, or two have the same; `what` names them.
    """
    found: dict[int, Any] = {}
    for position, row in enumerate(rows, start=1):
        row_id = _whole(row, "id", f"{path}: {what} number {position}")
        if row_id in found:
            raise AnnotationError(f"{path}: the {what} id {row_id} is used twice; ids must be unique")
        found[row_id] = row
    return found


def _read_json(path: Path) -> Record:
    if not path.is_file():
        raise AnnotationError(f"annotation file {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise AnnotationError(f"{path} is not readable as JSON: {error}") from None
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(document, dict) or not isinstance(document.get(key), list)]
    if missing:
        raise AnnotationError(
            f"{path} has no {', '.join(missing)}: expected COCO's instances format (export it as 'COCO')"
        )
    return dict(document)


def _whole(row: Any, key: str, where: str) -> int:
    value = row.get(key) if isinstance(row, Mapping) else None
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise AnnotationError(f"{where} must have a whole number {key!r}, got {value!r}")
    return int(value)


def _categories(path: Path, rows: Sequence[Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for category_id, row in by_id(path, rows, "category").items():
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            raise AnnotationError(f"{path}: category {category_id} has no name")
        if name in names.values():
            raise AnnotationError(f"{path}: two categories are named {name!r}; give them different names or one id")
        names[category_id] = name
    return names


def _images(path: Path, rows: Sequence[Any], warnings: AnnotationWarnings) -> dict[int, CocoImage]:
    """Images by id. A row that repeats id, file and size of an earlier one is left out: exports that were merged."""
    unique: dict[object, Any] = {}
    for position, row in enumerate(rows):
        key: object = position
        if isinstance(row, Mapping):
            key = tuple(str(row.get(name)) for name in ("id", "file_name", "width", "height"))
        if key in unique:
            warnings.add("image listed more than once, taken once", row.get("id"))
        unique.setdefault(key, row)
    images = {}
    for image_id, row in by_id(path, list(unique.values()), "image").items():
        where = f"{path}: image {image_id}"
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            raise AnnotationError(f"{where} has no file_name")
        sizes = {key: _whole(row, key, where) for key in ("width", "height")}
        for key, size in sizes.items():
            if size < 1:
                raise AnnotationError(f"{where} has the {key} {size}, expected 1 or more pixels")
        images[image_id] = CocoImage(image_id, name, sizes["height"], sizes["width"])
    if not images:
        raise AnnotationError(f"{path} lists no images")
    return images
