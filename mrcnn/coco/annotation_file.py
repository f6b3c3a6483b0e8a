"""Reads COCO's instances_*.json: checks ids, sizes and references, and decodes masks. Opens no image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

SHOWN = 5
"""Number of ids or names that a message lists."""


class AnnotationError(ValueError):
    """An annotation file cannot be used; the text names the file and the annotation."""


class AnnotationWarnings(dict[str, list[int | str]]):
    """Maps each kind of warning to the ids (or names) that it concerns, in the order of the file."""

    def add(self, kind: str, where: int | str) -> None:
        """Count one more of a kind."""
        self.setdefault(kind, []).append(where)

    def lines(self) -> list[str]:
        """A line for each kind: its count and the first ids."""
        return [f"{len(where)} x {kind}: {first_of(where)}" for kind, where in self.items()]


def first_of(names: Sequence[object], most: int = SHOWN) -> str:
    """The first few, and how many more there are."""
    text = ", ".join(str(name) for name in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")


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


def rle_of(annotation: Annotation, image: CocoImage) -> dict[str, Any]:
    """The mask as pycocotools' compressed run lengths; an empty mask where there is no polygon of three points.

    Raises:
        AnnotationError: the segmentation is none of the three, or made for an image of another size.
    """
    segmentation = annotation.record.get("segmentation")
    try:
        if isinstance(segmentation, Mapping):
            return _checked_runs(dict(segmentation), image.height, image.width)
        return _polygons([] if segmentation is None else segmentation, image.height, image.width)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise AnnotationError(f"{annotation.label} has an unreadable segmentation: {reason}") from None


def polygon_extent(segmentation: Any) -> NDArray[np.float64] | None:
    """The extent of polygons that `rle_of` accepts, inside the image or not.

    Returns:
        float64 (4,), (y1, x1, y2, x2) in pixels; None for run lengths and where there is no polygon.
    """
    polygons = [polygon for polygon in segmentation if polygon] if isinstance(segmentation, list) else []
    if not polygons:
        return None
    points = np.concatenate([np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in polygons])
    return np.concatenate([points.min(axis=0)[::-1], points.max(axis=0)[::-1]])


def _checked_runs(rle: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    if tuple(rle["size"]) != (height, width):
        raise ValueError(f"its mask is {rle['size']}, the image {[height, width]} (height, width)")
    is_text = not isinstance(rle["counts"], list)
    runs = _text_runs(rle["counts"]) if is_text else rle["counts"]
    if any(not isinstance(run, int) or run < 0 for run in runs):
        raise ValueError("its run lengths must be whole numbers of 0 or more")
    if sum(runs) != height * width:  # pycocotools would write outside its memory
        raise ValueError(f"its run lengths add up to {sum(runs)} pixels, not to {height * width}")
    return rle if is_text else dict(coco_mask.frPyObjects(rle, height, width))


def _text_runs(counts: str | bytes) -> list[int]:
    """Decodes compressed run lengths: 5 bits a character; from the third on, differences to the one before the last.

    See rleFrString in COCO's maskApi.c.
    """
    text = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    runs: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        while True:
            if position >= len(text) or not 48 <= text[position] < 112:
                raise ValueError("its run lengths are cut off or hold a foreign character")
            bits = text[position] - 48
            value |= (bits & 0x1F) << shift
            position, shift = position + 1, shift + 5
            if not bits & 0x20:
                break
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def _polygons(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if not isinstance(segmentation, list):
        raise ValueError(f"expected polygons or run lengths, got {type(segmentation).__name__}")
    polygons = []
    for polygon in segmentation:
        points = np.asarray(polygon, np.float64)
        if points.size % 2 or not np.isfinite(points).all():
            raise ValueError(f"expected a list of x, y, x, y … of finite numbers, got {str(polygon)[:60]}")
        if points.size >= 6:
            # pycocotools counts pixels from the lower limit on: far outside it would run out of memory
            polygons.append(np.clip(points.ravel(), -2 * max(height, width), 3 * max(height, width)).tolist())
    if not polygons:
        return dict(coco_mask.encode(np.zeros((height, width), np.uint8, order="F")))
    return dict(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
