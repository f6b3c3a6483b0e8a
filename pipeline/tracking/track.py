"""One object through time: its motion, its class by vote, and how it was last shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.tracking.kalman import SMALLEST_SIDE, Array4, BoxMotion, center_and_size, corners, predict_all

VOTE_LIFE_S = 3.0
"""How long a vote for a class counts, time constant in seconds: long against flicker, short against a mistake."""


class Track:
    """What a tracker knows of one object.

    Args:
        pts_s: when it was first seen, seconds.
        box_xyxy: float32 (4,), absolute pixels.
        class_id, score, mask: of that detection; mask float32 (M, M).

    Attributes:
        id: 0 until it is confirmed.
        hits: how often it was seen.
        seen_at_s: when it was last seen, seconds.
        position: center and size to show, pixels.
        mask: float32 (M, M), to show on that box.
        score: of its last detection.
    """

    def __init__(
        self, pts_s: float, box_xyxy: NDArray[np.float32], class_id: int, score: float, mask: NDArray[np.float32]
    ) -> None:
        self.id = 0
        self.hits = 1
        self.seen_at_s = pts_s
        self.motion = BoxMotion(box_xyxy)
        self.position: Array4 = center_and_size(box_xyxy)
        self.mask = mask
        self.score = score
        self._votes: dict[int, float] = {class_id: score}

    @property
    def class_id(self) -> int:
        """The class with the most votes, each weighted by its score."""
        return max(self._votes, key=self._votes.__getitem__)

    @property
    def shown_xyxy(self) -> NDArray[np.float32]:
        """float32 (4,): the box to show."""
        return corners(self.position)

    def lost_s(self, pts_s: float) -> float:
        """How long it has not been seen, seconds."""
        return pts_s - self.seen_at_s

    def see(self, pts_s: float, box_xyxy: NDArray[np.float32], class_id: int, score: float) -> None:
        """Take in a detection that continues it."""
        self.motion.correct(box_xyxy)
        self.hits += 1
        self.seen_at_s = pts_s
        self.score = score
        self._votes[class_id] = self._votes.get(class_id, 0.0) + score


def advance_all(tracks: Sequence[Track], elapsed_s: float) -> None:
    """Let time pass for many tracks at once, to the same bits as for one after the other: motion, box to show, votes.

    Args:
        tracks: none, or some.
        elapsed_s: seconds since the last result.
    """
    if not tracks:
        return
    velocities = np.array([track.motion.velocity for track in tracks])
    positions = np.array([track.position for track in tracks]) + elapsed_s * velocities
    positions[:, 2:] = np.maximum(positions[:, 2:], SMALLEST_SIDE)
    predict_all([track.motion for track in tracks], elapsed_s)
    fade = float(np.exp(-elapsed_s / VOTE_LIFE_S))
    for track, position in zip(tracks, positions, strict=True):
        track.position = position
        track._votes = {class_id: weight * fade for class_id, weight in track._votes.items()}
