"""One tracked object: its motion model, its class by vote, and its smoothed box and mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.tracking.kalman import MIN_SIDE, Array4, BoxKalmanFilter, center_and_size, predict_all

VOTE_TIME_CONSTANT_S = 3.0
"""Class votes decay with this time constant, in seconds: long against flicker, short against a mistake."""


class Track:
    """State of one track. It is tentative while its id is 0, and confirmed from then on.

    Args:
        pts_s: time of the first detection, seconds.
        box_xyxy: float32 (4,), absolute pixels.
        class_id, score, mask: of that detection; mask float32 (M, M).

    Attributes:
        id: 0 until the track is confirmed.
        hits: number of its detections.
        last_hit_s: time of the last detection, seconds.
        motion: the Kalman filter of its box.
        smoothed_box: center and size of the smoothed box, pixels.
        mask: float32 (M, M), the smoothed mask on that box.
        score: of the last detection.
    """

    def __init__(
        self, pts_s: float, box_xyxy: NDArray[np.float32], class_id: int, score: float, mask: NDArray[np.float32]
    ) -> None:
        self.id = 0
        self.hits = 1
        self.last_hit_s = pts_s
        self.motion = BoxKalmanFilter(box_xyxy)
        self.smoothed_box: Array4 = center_and_size(box_xyxy)
        self.mask = mask
        self.score = score
        self._votes: dict[int, float] = {class_id: score}

    @property
    def class_id(self) -> int:
        """The class with the most votes, each weighted by its score."""
        return max(self._votes, key=self._votes.__getitem__)

    def lost_s(self, pts_s: float) -> float:
        """Seconds since the last detection."""
        return pts_s - self.last_hit_s

    def update(self, pts_s: float, box_xyxy: NDArray[np.float32], class_id: int, score: float) -> None:
        """Takes a matched detection into motion model, score and class votes; smoothing is the tracker's."""
        self.motion.update(box_xyxy)
        self.hits += 1
        self.last_hit_s = pts_s
        self.score = score
        self._votes[class_id] = self._votes.get(class_id, 0.0) + score


def predict_tracks(tracks: Sequence[Track], elapsed_s: float) -> None:
    """Advances many tracks in time at once: motion models, smoothed boxes and votes.

    Args:
        tracks: updated in place.
        elapsed_s: seconds since the last result.
    """
    if not tracks:
        return
    velocities = np.array([track.motion.velocity for track in tracks])
    smoothed = np.array([track.smoothed_box for track in tracks]) + elapsed_s * velocities
    smoothed[:, 2:] = np.maximum(smoothed[:, 2:], MIN_SIDE)
    predict_all([track.motion for track in tracks], elapsed_s)
    decay = float(np.exp(-elapsed_s / VOTE_TIME_CONSTANT_S))
    for track, box in zip(tracks, smoothed, strict=True):
        track.smoothed_box = box
        track._votes = {class_id: votes * decay for class_id, votes in track._votes.items()}
