"""COCO's three encodings of a mask: polygons, run lengths as numbers, run lengths as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from mrcnn.coco.annotation_errors import AnnotationError
from mrcnn.coco.annotation_file import Annotation, CocoImage


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
