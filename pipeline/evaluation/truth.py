"""Reads annotated images for an evaluation: COCO's instances_*.json, checked before a network is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from pipeline.errors import InputError

Record = dict[str, Any]
"""An object of COCO's JSON."""


@dataclass(frozen=True, slots=True)
class TruthImage:
    """One image that the annotation file lists.

    Attributes:
        image_id: its id in the file.
        file_name: relative to the folder of the images.
        height, width: pixels.
    """

    image_id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What an annotation file says.

    Attributes:
        path: the file.
        images: in the file's order.
        categories: id by name, in the file's order.
        annotations: COCO's records of the images, ids from 1, with bbox (x, y, width, height in pixels), area, iscrowd
            and the mask as compressed run lengths.
        without_area: how many were left out because nothing of their mask or box lies inside the image.
    """

    path: Path
    images: tuple[TruthImage, ...]
    categories: Mapping[str, int]
    annotations: tuple[Record, ...]
    without_area: int = 0


def read_truth(path: Path, limit: int | None = None) -> Truth:
    """Read and check an annotation file; no image is opened.

    Args:
        path: COCO's instances format: polygons, run lengths, crowd regions.
        limit: take only so many images, the first ones; None takes all.

    Raises:
        InputError: the file cannot be read, is no COCO JSON, lists no image or no object, or has a record that cannot
            be used, which is named.
    """
    document = _read_json(path)
    images = _images(path, document["images"])
    categories = _categories(path, document["categories"])
    taken = {image.image_id: image for image in list(images.values())[:limit]}
    category_ids = set(categories.values())
    annotations: list[Record] = []
    without_area = 0
    for position, record in enumerate(document["annotations"], start=1):
        where = f"{path}: annotation {record.get('id', f'number {position}') if isinstance(record, dict) else position}"
        image_id = _checked_reference(where, record, images, category_ids)
        if image_id not in taken:
            continue
        usable = _usable(where, record, taken[image_id])
        if usable is None:
            without_area += 1
        else:
            # Numbered anew from 1: pycocotools takes the id 0 for "no match".
            annotations.append({**usable, "id": len(annotations) + 1})
    if not annotations:
        among = f"{len(taken)} images" + ("" if limit is None else f" (--limit {limit})")
        raise InputError(f"{path} has no annotated object in its {among}: there is nothing to measure")
    return Truth(path, tuple(taken.values()), categories, tuple(annotations), without_area)


def _read_json(path: Path) -> Record:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read the annotations {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the annotations {path} are not JSON: {error}") from None
    wanted = ("images", "annotations", "categories")
    missing = [key for key in wanted if not isinstance(document, dict) or not isinstance(document.get(key), list)]
    if missing:
        raise InputError(f"{path} has no list {', '.join(missing)}: expected COCO's instances format")
    return dict(document)


def _images(path: Path, records: list[Any]) -> dict[int, TruthImage]:
    images: dict[int, TruthImage] = {}
    for position, record in enumerate(records, start=1):
        try:
            image = TruthImage(
                _whole(record["id"]), str(record["file_name"]), _whole(record["height"]), _whole(record["width"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: image number {position} needs id, file_name, height and width: {_reason(error)}"
            ) from None
        if image.image_id in images:
            raise InputError(f"{path}: two images have the id {image.image_id}")
        if image.height < 1 or image.width < 1:
            raise InputError(f"{path}: image {image.image_id} is {image.width}x{image.height} pixels, expected a size")
        images[image.image_id] = image
    if not images:
        raise InputError(f"{path} lists no images")
    return images


def _categories(path: Path, records: list[Any]) -> dict[str, int]:
    categories: dict[str, int] = {}
    for position, record in enumerate(records, start=1):
        try:
            category_id, name = _whole(record["id"]), str(record["name"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: category number {position} needs id and name: {_reason(error)}") from None
        if name in categories or category_id in categories.values():
            raise InputError(f"{path}: the category {name!r} (id {category_id}) has a name or id that another has too")
        categories[name] = category_id
    return categories


def _checked_reference(where: str, record: Any, images: Mapping[int, TruthImage], category_ids: set[int]) -> int:
    """The image that an annotation belongs to. Raises InputError if it or the category is not in the file."""
    for key, known, noun in (("image_id", images, "image"), ("category_id", category_ids, "category")):
        if not isinstance(record, dict) or key not in record:
            raise InputError(f"{where} has no {key}")
        if record[key] not in known:
            raise InputError(f"{where} has the {noun} {record[key]!r}, which the file does not list")
    return int(record["image_id"])


def _usable(where: str, record: Record, image: TruthImage) -> Record | None:
    """An annotation as pycocotools takes it, or None if nothing of it lies inside the image."""
    mask = _mask(where, record.get("segmentation"), image)
    if mask is None or not coco_mask.area(mask):
        return None
    box = [float(edge) for edge in coco_mask.toBbox(mask)]
    try:
        if "bbox" in record:
            box = [float(edge) for edge in record["bbox"]]
        area = float(record.get("area", coco_mask.area(mask)))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} has a bbox or area that is no number: {_reason(error)}") from None
    if len(box) != 4 or not all(math.isfinite(value) for value in (*box, area)):
        raise InputError(f"{where} has the bbox {record.get('bbox')!r}, expected x, y, width, height in pixels")
    x, y, width, height = box
    if width <= 0 or height <= 0 or x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0:
        return None
    return {
        "image_id": image.image_id,
        "category_id": int(record["category_id"]),
        "iscrowd": int(bool(record.get("iscrowd", 0))),
        "bbox": box,
        "area": area,
        "segmentation": mask,
    }


def _mask(where: str, segmentation: Any, image: TruthImage) -> Record | None:
    """Compressed run lengths of polygons or run lengths; None where there are no polygons. Raises InputError."""
    height, width = image.height, image.width
    try:
        if isinstance(segmentation, dict):
            if [int(side) for side in segmentation["size"]] != [height, width]:
                raise ValueError(f"its size is {segmentation['size']}, the image's {[height, width]}")
            mask = dict(segmentation)
            if isinstance(mask["counts"], list):
                if min(mask["counts"], default=0) < 0 or sum(mask["counts"]) != height * width:
                    raise ValueError("its run lengths do not add up to the image")
                mask = coco_mask.frPyObjects(mask, height, width)
            coco_mask.decode(mask)  # raises where the text is damaged
            return dict(mask)
        polygons = [_polygon(polygon) for polygon in segmentation or []]
        polygons = [polygon for polygon in polygons if len(polygon) >= 6]
        if not polygons:
            return None
        return dict(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} has a segmentation that cannot be read: {_reason(error)}") from None


def _polygon(points: Any) -> list[float]:
    values = np.asarray(points, np.float64)
    if values.ndim != 1 or len(values) % 2 or not np.isfinite(values).all():
        raise ValueError(f"expected a list of x, y, x, y …, got {str(points)[:60]}")
    return [float(value) for value in values]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _reason(error: Exception) -> str:
    return f"there is no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
