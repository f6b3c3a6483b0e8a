"""Associates detections with tracks in three rounds of optimal assignment.

The first two rounds are ByteTrack's (Zhang et al., ECCV 2022): first the detections with a high score, then those with
a low one for the confirmed tracks that are left, since a partly occluded object scores low where it is predicted. The
third re-associates objects that no longer overlap their prediction: after an occlusion, a turn, or dropped frames.

Shape letters: T tracks, N detections, M side of a box-local mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import iou_matrix, mask_iou
from pipeline.records import Instances

MIN_SIMILARITY_HIGH = 0.15
"""Gate of the first round: similarity to the prediction that a detection with a high score needs."""
MIN_SIMILARITY_LOW = 0.4
"""Gate of the second round: the same for a low score."""
MASK_WEIGHT = 0.5
"""Weight of the mask IoU in the similarity; the box IoU has the rest."""
CLASS_MISMATCH_FACTOR = 0.6
"""Multiplies the similarity across classes: detectors confuse a dog with a cat now and then."""
LOST_PENALTY = 0.1
"""Subtracted from the similarity of a track that is about to end, so that tracks seen just now go first."""
MIN_BOX_IOU = 0.02
"""Masks are compared only for boxes with at least this IoU."""
MASK_GRID = 16
"""Side of the grid on which masks are compared."""
GATE_SIZES = 0.5
"""Gate of the third round: distance from the prediction in object sizes, in addition to three standard deviations …"""
MAX_GATE_SIZES = 2.0
"""… and its upper limit."""
MAX_SIZE_RATIO = 1.7
"""Gate of the third round: how much larger or smaller a detection may be than the track, as a ratio of sizes."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The tracks, predicted to the current frame.

    Attributes:
        boxes_xyxy: float32 (T, 4), absolute pixels.
        mask_probs: float32 (T, M, M): their last masks.
        class_ids: int32 (T,).
        center_std: float32 (T,): standard deviation of the centers, pixels.
        lost: float32 (T,), 0 … 1: from seen in the last result to about to end.
        confirmed: bool (T,): which have an id; only these match detections with a low score.
    """

    boxes_xyxy: NDArray[np.float32]
    mask_probs: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    center_std: NDArray[np.float32]
    lost: NDArray[np.float32]
    confirmed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes_xyxy)


def associate(predicted: Predictions, detections: Instances, high: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs (track, detection), each at most once.

    Args:
        predicted: the tracks.
        detections: of the current frame.
        high: bool (N,): which detections have a high score.
    """
    if len(detections) == 0:
        return []
    similarity = similarity_matrix(predicted, detections)
    all_tracks = np.ones(len(predicted), np.bool_)
    pairs: list[tuple[int, int]] = []

    def free(tracks: NDArray[np.bool_], candidates: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices of the given tracks and detections that no earlier round has paired."""
        tracks, candidates = tracks.copy(), candidates.copy()
        tracks[[track for track, _ in pairs]] = False
        candidates[[detection for _, detection in pairs]] = False
        return np.flatnonzero(tracks), np.flatnonzero(candidates)

    pairs += _assign(similarity, *free(all_tracks, high), MIN_SIMILARITY_HIGH)
    pairs += _assign(similarity, *free(predicted.confirmed, ~high), MIN_SIMILARITY_LOW)
    tracks, candidates = free(all_tracks, high)
    if len(tracks) and len(candidates):
        pairs += _assign(_proximity_matrix(predicted, detections), tracks, candidates, 0.0)
    return pairs


def similarity_matrix(predicted: Predictions, detections: Instances) -> NDArray[np.float32]:
    """float32 (T, N), up to 1: mean IoU of box and mask, less across classes and for tracks lost for long."""
    box_ious = iou_matrix(predicted.boxes_xyxy, detections.boxes_xyxy)
    rows, columns = np.nonzero(box_ious > MIN_BOX_IOU)
    mask_ious = np.zeros_like(box_ious)
    mask_ious[rows, columns] = mask_iou(
        predicted.boxes_xyxy[rows],
        predicted.mask_probs[rows],
        detections.boxes_xyxy[columns],
        detections.mask_probs[columns],
        MASK_GRID,
    )
    similarity = MASK_WEIGHT * mask_ious + (1 - MASK_WEIGHT) * box_ious
    similarity[predicted.class_ids[:, None] != detections.class_ids[None, :]] *= CLASS_MISMATCH_FACTOR
    return np.asarray(similarity - LOST_PENALTY * predicted.lost[:, None], np.float32)


def _proximity_matrix(predicted: Predictions, detections: Instances) -> NDArray[np.float32]:
    """float32 (T, N): 1 at the predicted center, 0 at the gate, negative beyond it or for another class or size."""
    track_centers, track_sizes = _centers_and_sizes(predicted.boxes_xyxy)
    centers, sizes = _centers_and_sizes(detections.boxes_xyxy)
    distance = np.linalg.norm(track_centers[:, None] - centers[None], axis=2)
    gate = np.minimum(GATE_SIZES * track_sizes + 3 * predicted.center_std, MAX_GATE_SIZES * track_sizes)
    proximity = 1 - distance / np.maximum(gate, 1e-3)[:, None]
    ratio = track_sizes[:, None] / np.maximum(sizes, 1e-3)[None]
    other_size = (ratio > MAX_SIZE_RATIO) | (ratio < 1 / MAX_SIZE_RATIO)
    proximity[other_size | (predicted.class_ids[:, None] != detections.class_ids[None, :])] = -1
    return np.asarray(proximity, np.float32)


def _centers_and_sizes(boxes_xyxy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """float32 (N, 2) centers, and float32 (N,) square roots of the areas."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    sizes = np.sqrt(np.prod(np.maximum(sides, 0), axis=1, dtype=np.float32))
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) * np.float32(0.5), sizes


def _assign(
    scores: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], threshold: float
) -> list[tuple[int, int]]:
    """The pairs with the largest sum of scores, of those with a score above the threshold."""
    if len(rows) == 0 or len(columns) == 0:
        return []
    from scipy.optimize import linear_sum_assignment  # `Tracker` has imported it, once the window was there

    # Scores below the threshold gain nothing: they must not push two good pairs apart.
    gains = np.where(scores[np.ix_(rows, columns)] > threshold, scores[np.ix_(rows, columns)] - threshold, 0)
    chosen_rows, chosen_columns = linear_sum_assignment(gains, maximize=True)
    return [
        (int(rows[i]), int(columns[j])) for i, j in zip(chosen_rows, chosen_columns, strict=True) if gains[i, j] > 0
    ]
