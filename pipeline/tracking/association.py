"""Which detection continues which track: three rounds of optimal assignment, the surest first.

The first two rounds are ByteTrack's (Zhang et al., ECCV 2022): detections with a good score first, then those with a
poor one for the tracks that are left, since an object that is half hidden scores low where it is expected. The third
finds objects again that overlap no more with where they were expected: after an occlusion, a turn, or dropped frames.

Shape letters: T tracks, N detections, M side of a box-local mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pipeline.records import Instances
from pipeline.tracking.overlap import box_overlaps, mask_overlaps

SURE_SIMILARITY = 0.15
"""Least overlap with the prediction for a detection with a good score."""
UNSURE_SIMILARITY = 0.4
"""Least overlap with the prediction for a detection with a poor score."""
MASK_SHARE = 0.5
"""How much of the similarity is the masks' overlap; the rest is the boxes'."""
OTHER_CLASS = 0.6
"""What is left of the similarity of two objects of different classes: detectors take a dog for a cat now and then."""
LOST_PENALTY = 0.1
"""Taken from the similarity of a track that is about to be given up: one that was seen just now goes first."""
NEAREST_BOX_OVERLAP = 0.02
"""Masks are compared only for boxes that overlap at least this much."""
REACH_SIZES = 0.5
"""Third round: how far from the prediction an object may be, in its sizes, besides three standard deviations …"""
FARTHEST_SIZES = 2.0
"""… and no farther than this."""
LIKE_SIZE = 1.7
"""Third round: how much larger or smaller an object may be than the track, as a ratio of sizes."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Where the tracks are expected in this frame.

    Attributes:
        boxes_xyxy: float32 (T, 4), absolute pixels.
        mask_probs: float32 (T, M, M): their last masks.
        class_ids: int32 (T,).
        center_std: float32 (T,): how uncertain the centers are, pixels.
        lost: float32 (T,), 0 … 1: 0 seen in the last result, 1 about to be given up.
        confirmed: bool (T,): which have an id; only those are continued by detections with a poor score.
    """

    boxes_xyxy: NDArray[np.float32]
    mask_probs: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    center_std: NDArray[np.float32]
    lost: NDArray[np.float32]
    confirmed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes_xyxy)


def associate(expected: Expected, detected: Instances, sure: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of track and detection, each at most once.

    Args:
        expected: where the tracks should be.
        detected: the objects of this frame.
        sure: bool (N,): which detections have a good score.
    """
    if len(expected) == 0 or len(detected) == 0:
        return []
    similarity = similarities(expected, detected)
    everyone = np.ones(len(expected), np.bool_)
    pairs: list[tuple[int, int]] = []

    def free(takers: NDArray[np.bool_], candidates: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Of both sides those that no earlier round has paired."""
        takers, candidates = takers.copy(), candidates.copy()
        takers[[track for track, _ in pairs]] = False
        candidates[[detection for _, detection in pairs]] = False
        return np.flatnonzero(takers), np.flatnonzero(candidates)

    pairs += _assign(similarity, *free(everyone, sure), SURE_SIMILARITY)
    pairs += _assign(similarity, *free(expected.confirmed, ~sure), UNSURE_SIMILARITY)
    tracks, detections = free(everyone, sure)
    if len(tracks) and len(detections):
        pairs += _assign(_nearness(expected, detected), tracks, detections, 0.0)
    return pairs


def similarities(expected: Expected, detected: Instances) -> NDArray[np.float32]:
    """float32 (T, N), up to 1: overlap of box and mask, less for another class and for tracks long lost."""
    boxes = box_overlaps(expected.boxes_xyxy, detected.boxes_xyxy)
    rows, columns = np.nonzero(boxes > NEAREST_BOX_OVERLAP)
    masks = np.zeros_like(boxes)
    masks[rows, columns] = mask_overlaps(
        expected.boxes_xyxy[rows],
        expected.mask_probs[rows],
        detected.boxes_xyxy[columns],
        detected.mask_probs[columns],
    )
    similarity = MASK_SHARE * masks + (1 - MASK_SHARE) * boxes
    similarity[expected.class_ids[:, None] != detected.class_ids[None, :]] *= OTHER_CLASS
    return np.asarray(similarity - LOST_PENALTY * expected.lost[:, None], np.float32)


def _nearness(expected: Expected, detected: Instances) -> NDArray[np.float32]:
    """float32 (T, N): 1 at the expected place, 0 at the end of the reach, negative beyond it or where never."""
    a_centers, a_sizes = _centers_and_sizes(expected.boxes_xyxy)
    b_centers, b_sizes = _centers_and_sizes(detected.boxes_xyxy)
    distance = np.linalg.norm(a_centers[:, None] - b_centers[None], axis=2)
    reach = np.minimum(REACH_SIZES * a_sizes + 3 * expected.center_std, FARTHEST_SIZES * a_sizes)
    nearness = 1 - distance / np.maximum(reach, 1e-3)[:, None]
    ratio = a_sizes[:, None] / np.maximum(b_sizes, 1e-3)[None]
    unlike = (ratio > LIKE_SIZE) | (ratio < 1 / LIKE_SIZE)
    nearness[unlike | (expected.class_ids[:, None] != detected.class_ids[None, :])] = -1
    return np.asarray(nearness, np.float32)


def _centers_and_sizes(boxes_xyxy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    sizes = np.sqrt(np.prod(np.maximum(sides, 0), axis=1, dtype=np.float32))
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) * np.float32(0.5), sizes


def _assign(
    scores: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], least: float
) -> list[tuple[int, int]]:
    """The pairs that make the sum of the scores largest, of those above `least`."""
    if len(rows) == 0 or len(columns) == 0:
        return []
    # What is under the limit weighs nothing: it shall not push two good pairs apart.
    gains = np.where(scores[np.ix_(rows, columns)] > least, scores[np.ix_(rows, columns)] - least, 0)
    chosen_rows, chosen_columns = linear_sum_assignment(gains, maximize=True)
    return [
        (int(rows[i]), int(columns[j])) for i, j in zip(chosen_rows, chosen_columns, strict=True) if gains[i, j] > 0
    ]
