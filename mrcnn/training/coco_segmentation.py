"""COCO's three ways to write a mask: polygons, run lengths as numbers, run lengths as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.training.findings import AnnotationError


def is_empty(annotation: Mapping[str, Any]) -> bool:
    """Whether there is nothing to draw: no polygon, or none with three points."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        return not any(isinstance(polygon, list) and len(polygon) >= 6 for polygon in segmentation) and not any(
            segmentation
        )
    return segmentation is None


def drawn_extent(annotation: Mapping[str, Any]) -> np.ndarray | None:
    """The extent of polygons, float64 (4,), (y1, x1, y2, x2), wherever they lie; None for anything else."""
    segmentation = annotation["segmentation"]
    if not isinstance(segmentation, list):
        return None
    try:
        points = np.concatenate([np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation if polygon])
    except (ValueError, TypeError):
        return None  # what is wrong with them is said where they are drawn
    if not np.isfinite(points).all():
        return None
    return np.concatenate([points.min(axis=0)[::-1], points.max(axis=0)[::-1]])


def rle_of(path: Path, annotation: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    """The mask as pycocotools' compressed run lengths.

    Raises:
        AnnotationError: it is none of the three, or made for an image of another size.
    """
    segmentation = annotation["segmentation"]
    try:
        if isinstance(segmentation, Mapping):
            return _checked_runs(dict(segmentation), height, width)
        return _polygons(segmentation, height, width)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise AnnotationError(
            f"{path}: annotation {annotation.get('id')} has an unreadable segmentation: {reason}"
        ) from None


def _checked_runs(rle: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    if tuple(rle["size"]) != (height, width):
        raise ValueError(f"its mask is {rle['size']}, the image {[height, width]} (height, width)")
    if isinstance(rle["counts"], list):
        if any(not isinstance(count, int) or count < 0 for count in rle["counts"]):
            raise ValueError("its run lengths must be whole numbers of 0 or more")
        if sum(rle["counts"]) != height * width:
            raise ValueError(f"its run lengths add up to {sum(rle['counts'])} pixels, not to {height * width}")
        return coco_mask.frPyObjects(rle, height, width)
    runs = _text_runs(rle["counts"])
    if sum(runs) != height * width or min(runs) < 0:  # pycocotools would write outside its memory
        raise ValueError(f"its run lengths add up to {sum(runs)} pixels, not to {height * width}")
    return rle


def _text_runs(counts: str | bytes) -> list[int]:
    """The numbers in compressed run lengths: 5 bits a character, and from the third on differences to the one before
    the last (the format of COCO's maskApi)."""
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
    return runs or [0]


def _polygons(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    if not isinstance(segmentation, list):
        raise ValueError(f"expected polygons or run lengths, got {type(segmentation).__name__}")
    polygons = []
    for polygon in segmentation:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
        if not np.isfinite(points).all():
            raise ValueError("a polygon has a coordinate that is no number")
        if len(points) >= 3:
            # pycocotools counts pixels from the lower limit on: far outside it would run out of memory
            polygons.append(np.clip(points, -2 * max(height, width), 3 * max(height, width)).ravel().tolist())
    if not polygons:
        return coco_mask.encode(np.zeros((height, width), np.uint8, order="F"))
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
