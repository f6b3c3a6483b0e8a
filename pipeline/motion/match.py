"""Matches the objects of a new result with those on screen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.geometry import iou_matrix
from pipeline.motion.warp import resample_mask
from pipeline.records import Instances

MIN_IOU = 0.2
"""Lowest mask IoU of a match."""
_GRID = 32


def match(displayed: Instances, detected: Instances) -> list[tuple[int, int]]:
    """Pairs (index on screen, index in the new result), each object at most once.

    Objects with the same track id match; the others by optimal assignment on mask IoU within their class.
    """
    pairs = match_by_track_id(displayed, detected)
    old = [i for i in range(len(displayed)) if i not in {pair[0] for pair in pairs}]
    new = [j for j in range(len(detected)) if j not in {pair[1] for pair in pairs}]
    if not old or not new:
        return pairs
    box_ious = iou_matrix(displayed.boxes_xyxy[old], detected.boxes_xyxy[new])
    mask_ious = np.zeros_like(box_ious)
    for a, b in np.argwhere(box_ious > MIN_IOU / 4):
        if _may_match(displayed, old[a], detected, new[b]):
            mask_ious[a, b] = mask_iou(displayed, old[a], detected, new[b])
    rows, columns = linear_sum_assignment(mask_ious, maximize=True)
    assigned = [(old[a], new[b]) for a, b in zip(rows, columns, strict=True) if mask_ious[a, b] >= MIN_IOU]
    return pairs + assigned


def match_by_track_id(displayed: Instances, detected: Instances) -> list[tuple[int, int]]:
    """The pairs with the same track id."""
    if displayed.track_ids is None or detected.track_ids is None:
        return []
    index_by_id = {int(track_id): i for i, track_id in enumerate(displayed.track_ids) if track_id > 0}
    pairs = []
    for j, track_id in enumerate(detected.track_ids):
        i = index_by_id.pop(int(track_id), None)
        if i is not None:
            pairs.append((i, j))
    return pairs


def _may_match(displayed: Instances, i: int, detected: Instances, j: int) -> bool:
    """Whether two objects have one class and not two different track ids."""
    if displayed.class_ids[i] != detected.class_ids[j]:
        return False
    if displayed.track_ids is None or detected.track_ids is None:
        return True
    return not (displayed.track_ids[i] > 0 and detected.track_ids[j] > 0)


def mask_iou(displayed: Instances, i: int, detected: Instances, j: int) -> float:
    """Intersection over union of two masks, on a grid of 32 x 32 over the union of their boxes."""
    a, b = displayed.boxes_xyxy[i], detected.boxes_xyxy[j]
    union_xyxy = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
    mask: NDArray[np.bool_] = resample_mask(displayed.mask_probs[i], a, union_xyxy, _GRID) >= 0.5
    other: NDArray[np.bool_] = resample_mask(detected.mask_probs[j], b, union_xyxy, _GRID) >= 0.5
    union = int((mask | other).sum())
    return int((mask & other).sum()) / union if union else 0.0
