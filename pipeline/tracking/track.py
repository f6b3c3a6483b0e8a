"""One tracked object: its motion model, its class by vote, and its smoothed box and mask.

The motion model is a constant-velocity Kalman filter for boxes. Center and size are four independent filters of
position and velocity (Kalman 1960; white-noise acceleration as in Bar-Shalom, Li, Kirubarajan 2001, section 6.2.2),
driven by time rather than frame count, so that a dropped frame only means a longer step. The folder `pipeline/motion/`
is something else: it warps masks along the optical flow between results.

Outlines are smoothed so that they do not flicker, without lag on real motion: exponential moving averages of box and
mask around their prediction. Their weight depends on the elapsed time, and rises to 1 where a measurement differs from
the prediction by more than jitter does (after the 1-euro filter: Casiez, Roussel, Vogel, CHI 2012).

Shape letters: P objects; M side of a box-local mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import resample_masks

Array4 = NDArray[np.float64]
"""float64 (4,): center x, center y, width, height, in pixels."""

MEASUREMENT_STD = 0.05
"""Standard deviation of a detected box, relative to the object's size: a twentieth, as in DeepSORT (Wojke et al.
2017)."""
INITIAL_VELOCITY_STD = np.array([1.5, 1.5, 0.4, 0.4])
"""Standard deviation of a new object's velocity, object sizes per second."""
ACCELERATION = np.array([1.2, 1.2, 0.3, 0.3])
"""Process noise: standard deviation that velocities gain within a second, object sizes per second."""
SIZE_VELOCITY_TIME_CONSTANT_S = 0.5
"""Velocities of width and height decay with this time constant, in seconds."""
MIN_SIDE = 1.0
"""Pixels: predicted boxes are at least this wide and high."""
MAX_TIME_CONSTANT_S = 0.6
"""Time constant in seconds of the average for a still object at strength 1."""
JITTER = 0.04
"""A residual of up to this fraction of the object's size counts as jitter …"""
CHANGE = 0.14
"""… and from this fraction on as a real change, which is followed at once."""
SAME_MASK_IOU, CHANGED_MASK_IOU = 0.85, 0.60
"""Soft IoU of the new mask with the previous one: above the first it is jitter, below the second a real change."""
FAST_SIZES = 0.25
"""An object that moves by this fraction of its size between two results gets its new mask unaveraged."""
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


class BoxKalmanFilter:
    """Position and velocity of one box.

    Args:
        box_xyxy: first measurement, float (4,), absolute pixels.
    """

    def __init__(self, box_xyxy: NDArray[np.floating]) -> None:
        self.position: Array4 = center_and_size(box_xyxy)
        self.velocity: Array4 = np.zeros(4)
        scale = self.scale
        self._variance: Array4 = np.full(4, (MEASUREMENT_STD * scale) ** 2)
        self._covariance: Array4 = np.zeros(4)
        self._velocity_variance: Array4 = (INITIAL_VELOCITY_STD * scale) ** 2

    @property
    def scale(self) -> float:
        """The object's size in pixels: the square root of its box's area."""
        _, _, width, height = self.position.tolist()
        return sqrt(max(width, MIN_SIDE) * max(height, MIN_SIDE))

    @property
    def center_std(self) -> float:
        """Standard deviation of the center, pixels: the larger one of x and y."""
        x, y, _, _ = self._variance.tolist()
        return sqrt(max(x, y))

    def update(self, box_xyxy: NDArray[np.floating]) -> None:
        """Corrects the prediction by a measurement, float (4,), absolute pixels."""
        innovation = center_and_size(box_xyxy) - self.position
        total = self._variance + (MEASUREMENT_STD * self.scale) ** 2
        gain, velocity_gain = self._variance / total, self._covariance / total
        self.position = self.position + gain * innovation
        self.position[2:] = np.maximum(self.position[2:], MIN_SIDE)
        self.velocity = self.velocity + velocity_gain * innovation
        self._velocity_variance = self._velocity_variance - velocity_gain * self._covariance
        self._covariance = (1 - gain) * self._covariance
        self._variance = (1 - gain) * self._variance


def predict_all(filters: Sequence[BoxKalmanFilter], elapsed_s: float) -> None:
    """Advances many filters at once in time; each gets exactly what it would get alone.

    Args:
        filters: updated in place.
        elapsed_s: seconds, 0 or more.
    """
    if not filters:
        return
    t = elapsed_s
    position, velocity, variance, covariance, velocity_variance = np.array(
        [(f.position, f.velocity, f._variance, f._covariance, f._velocity_variance) for f in filters]
    ).transpose(1, 0, 2)
    sides = np.maximum(position[:, 2:], MIN_SIDE)
    density = (ACCELERATION * np.sqrt(sides[:, :1] * sides[:, 1:])) ** 2
    position = position + t * velocity
    position[:, 2:] = np.maximum(position[:, 2:], MIN_SIDE)
    variance = variance + 2 * t * covariance + t**2 * velocity_variance + density * (t**3 / 3)
    covariance = covariance + t * velocity_variance + density * (t**2 / 2)
    velocity_variance = velocity_variance + density * t
    velocity = velocity.copy()
    velocity[:, 2:] *= np.exp(-t / SIZE_VELOCITY_TIME_CONSTANT_S)
    for i, each in enumerate(filters):
        each.position, each.velocity = position[i], velocity[i]
        each._variance, each._covariance = variance[i], covariance[i]
        each._velocity_variance = velocity_variance[i]


def center_and_size(box_xyxy: NDArray[np.floating]) -> Array4:
    """float64 (4,): center x, center y, width, height of a box given by its corners."""
    x1, y1, x2, y2 = box_xyxy.tolist()
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def corners(positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 (..., 4): the corners x1, y1, x2, y2 of boxes given by center and size, float64 (..., 4)."""
    centers, halves = positions[..., :2], positions[..., 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=-1).astype(np.float32)


def ema_weight(smoothing: float, elapsed_s: float) -> float:
    """Weight of a new measurement of a still object in the exponential moving average, above 0, up to 1.

    Args:
        smoothing: strength, 0 … 1; 0 turns the average off.
        elapsed_s: since the last measurement, seconds.
    """
    time_constant_s = smoothing * MAX_TIME_CONSTANT_S
    return 1.0 if time_constant_s <= 0 else float(1 - np.exp(-max(elapsed_s, 1e-3) / time_constant_s))


def smooth_box(
    predicted: Array4, scale: float, measured_xyxy: NDArray[np.floating], min_weight: float
) -> tuple[Array4, float]:
    """One update of a smoothed box.

    Args:
        predicted: center and size of the smoothed box, extrapolated to now, pixels.
        scale: the object's size in pixels.
        measured_xyxy: float (4,), absolute pixels.
        min_weight: of the measurement, see `ema_weight`.

    Returns:
        Smoothed center and size, and how far the measurement is from the prediction: 0 (jitter) … 1 (a real change).
    """
    residual = center_and_size(measured_xyxy) - predicted
    change = _ramp(float(np.abs(residual).max()) / scale, JITTER, CHANGE)
    weight = min_weight + (1 - min_weight) * change
    return predicted + weight * residual, change


def speed_change(motion: BoxKalmanFilter, elapsed_s: float) -> float:
    """How little the previous mask is worth because of the object's speed: 0 … 1."""
    return _ramp(float(np.linalg.norm(motion.velocity[:2])) * elapsed_s / motion.scale, 0.0, FAST_SIZES)


def smooth_masks(
    previous: NDArray[np.float32],
    predicted_xyxy: NDArray[np.float32],
    measured: NDArray[np.float32],
    measured_xyxy: NDArray[np.float32],
    smoothed_xyxy: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> NDArray[np.float32]:
    """One update of P smoothed masks.

    Args:
        previous, predicted_xyxy: float32 (P, M, M) and (P, 4): the last smoothed masks, and their boxes extrapolated
            to now.
        measured, measured_xyxy: the same of the detections.
        smoothed_xyxy: float32 (P, 4), the boxes of the result.
        weights: float32 (P,), above 0, up to 1: the least weight of each measurement.

    Returns:
        float32 (P, M, M), 0 … 1, on the smoothed boxes.
    """
    size = measured.shape[1]
    # In frame coordinates: jitter of the box around a still object must not stretch its mask.
    old = resample_masks(previous, predicted_xyxy, smoothed_xyxy, size)
    new = resample_masks(measured, measured_xyxy, smoothed_xyxy, size)
    soft_iou = np.minimum(old, new).sum(axis=(1, 2)) / np.maximum(np.maximum(old, new).sum(axis=(1, 2)), 1e-6)
    change = np.clip((SAME_MASK_IOU - soft_iou) / (SAME_MASK_IOU - CHANGED_MASK_IOU), 0, 1)
    weight = (weights + (1 - weights) * change)[:, None, None]
    return np.asarray(old + weight * (new - old), np.float32)


def _ramp(value: float, low: float, high: float) -> float:
    """Rises linearly from 0 at `low` to 1 at `high`."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
