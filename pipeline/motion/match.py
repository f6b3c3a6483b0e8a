"""Which objects of a new result are which of those on screen.

Shape letters: N objects on screen; K new objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.motion.placement import part_of_mask
from pipeline.motion.similarity import Floats
from pipeline.records import Instances

LEAST_IOU = 0.2
"""Below this overlap of masks two objects are not the same."""
_GRID = 32


def match(shown: Instances, found: Instances) -> list[tuple[int, int]]:
    """Pairs (index on screen, index among the new), each object at most once.

    Objects with the same track id are the same; of the others, those of one class whose masks overlap most.
    """
    pairs = by_track(shown, found)
    old = [i for i in range(len(shown)) if i not in {pair[0] for pair in pairs}]
    new = [j for j in range(len(found)) if j not in {pair[1] for pair in pairs}]
    if not old or not new:
        return pairs
    boxes = box_iou(shown.boxes_xyxy[old], found.boxes_xyxy[new])
    overlaps = np.zeros_like(boxes)
    for a, b in np.argwhere(boxes > LEAST_IOU / 4):
        if _may_be_the_same(shown, old[a], found, new[b]):
            overlaps[a, b] = mask_iou(shown, old[a], found, new[b])
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    chosen = [(old[a], new[b]) for a, b in zip(rows, columns, strict=True) if overlaps[a, b] >= LEAST_IOU]
    return pairs + chosen


def by_track(shown: Instances, found: Instances) -> list[tuple[int, int]]:
    """The pairs with the same track id."""
    if shown.track_ids is None or found.track_ids is None:
        return []
    where = {int(track_id): i for i, track_id in enumerate(shown.track_ids) if track_id > 0}
    pairs = []
    for j, track_id in enumerate(found.track_ids):
        i = where.pop(int(track_id), None)
        if i is not None:
            pairs.append((i, j))
    return pairs


def _may_be_the_same(shown: Instances, i: int, found: Instances, j: int) -> bool:
    if shown.class_ids[i] != found.class_ids[j]:
        return False
    if shown.track_ids is None or found.track_ids is None:
        return True
    # Two ids are two objects; an object that has none yet may be any.
    return not (shown.track_ids[i] > 0 and found.track_ids[j] > 0)


def box_iou(boxes_xyxy: Floats, others_xyxy: Floats) -> Floats:
    """float32 (N, K): intersection over union of each box (N, 4) with each other (K, 4); 0 for boxes without area."""
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    other_areas = np.prod(others_xyxy[:, 2:] - others_xyxy[:, :2], axis=1)
    union = areas[:, None] + other_areas[None, :] - shared
    return np.asarray(np.where(union > 0, shared / np.maximum(union, 1e-9), 0), np.float32)


def mask_iou(shown: Instances, i: int, found: Instances, j: int) -> float:
    """Intersection over union of two masks, on a grid of 32 x 32 over both boxes."""
    a, b = shown.boxes_xyxy[i], found.boxes_xyxy[j]
    both = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
    mask: NDArray[np.bool_] = part_of_mask(shown.mask_probs[i], a, both, _GRID) >= 0.5
    other: NDArray[np.bool_] = part_of_mask(found.mask_probs[j], b, both, _GRID) >= 0.5
    union = int((mask | other).sum())
    return int((mask & other).sum()) / union if union else 0.0
