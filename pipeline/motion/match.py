"""Matches the objects of a new result with those on screen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.geometry import iou_matrix, mask_iou
from pipeline.records import Instances

MIN_IOU = 0.2
"""Lowest mask IoU of a match."""
_GRID = 32
"""Side of the grid on which masks are compared."""


def match(displayed: Instances, detected: Instances) -> list[tuple[int, int]]:
    """Pairs (index on screen, index in the new result), each object at most once.

    Objects with the same track id match; the others by optimal assignment on mask IoU within their class.
    """
    pairs = match_by_track_id(displayed, detected)
    old = np.setdiff1d(np.arange(len(displayed)), [i for i, _ in pairs])
    new = np.setdiff1d(np.arange(len(detected)), [j for _, j in pairs])
    ious = _mask_iou_matrix(displayed.select(old), detected.select(new))
    rows, columns = linear_sum_assignment(ious, maximize=True)
    matched = ious[rows, columns] >= MIN_IOU
    return pairs + list(zip(old[rows[matched]].tolist(), new[columns[matched]].tolist(), strict=True))


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


def _mask_iou_matrix(displayed: Instances, detected: Instances) -> NDArray[np.float32]:
    """float32 (N, K): mask IoU; 0 across classes, between different track ids, and for boxes that hardly overlap."""
    box_ious = iou_matrix(displayed.boxes_xyxy, detected.boxes_xyxy)
    comparable = (box_ious > MIN_IOU / 4) & (displayed.class_ids[:, None] == detected.class_ids)
    if displayed.track_ids is not None and detected.track_ids is not None:
        comparable &= ~((displayed.track_ids > 0)[:, None] & (detected.track_ids > 0))
    rows, columns = np.nonzero(comparable)
    ious = np.zeros_like(box_ious)
    ious[rows, columns] = mask_iou(
        displayed.boxes_xyxy[rows],
        displayed.mask_probs[rows],
        detected.boxes_xyxy[columns],
        detected.mask_probs[columns],
        _GRID,
    )
    return ious
