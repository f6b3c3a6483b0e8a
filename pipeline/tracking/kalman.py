"""How a box moves: a Kalman filter with constant velocity whose clock is time, not frames.

Center and size are four independent filters of position and velocity (Kalman 1960; white-noise acceleration as in
Bar-Shalom, Li, Kirubarajan 2001, section 6.2.2), so that a frame that was dropped only means a longer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Array4 = NDArray[np.float64]
"""float64 (4,): center x, center y, width, height, in pixels."""

MEASUREMENT_STD = 0.05
"""A detector's jitter as a share of the object's size: a twentieth, as in DeepSORT (Wojke et al. 2017)."""
FIRST_VELOCITY_STD = np.array([1.5, 1.5, 0.4, 0.4])
"""What is not known of a new object's velocity, in its own sizes a second."""
ACCELERATION = np.array([1.2, 1.2, 0.3, 0.3])
"""How strongly velocities wander: sizes a second, after one second (spectral density squared)."""
SIZE_VELOCITY_LIFE_S = 0.5
"""A box does not go on growing: its growth fades with this time constant in seconds."""
SMALLEST_SIDE = 1.0
"""Pixels: a predicted box keeps an area."""


class BoxMotion:
    """Follows one box through time.

    Args:
        box_xyxy: where it was first seen, float (4,), absolute pixels.
    """

    def __init__(self, box_xyxy: NDArray[np.floating]) -> None:
        self.position: Array4 = center_and_size(box_xyxy)
        self.velocity: Array4 = np.zeros(4)
        scale = self.scale
        self._variance: Array4 = np.full(4, (MEASUREMENT_STD * scale) ** 2)
        self._covariance: Array4 = np.zeros(4)
        self._velocity_variance: Array4 = (FIRST_VELOCITY_STD * scale) ** 2

    @property
    def scale(self) -> float:
        """The object's size in pixels: the square root of its box's area."""
        _, _, width, height = self.position.tolist()
        return sqrt(max(width, SMALLEST_SIDE) * max(height, SMALLEST_SIDE))

    @property
    def center_std(self) -> float:
        """How uncertain the center is, standard deviation in pixels."""
        x, y, _, _ = self._variance.tolist()
        return sqrt(max(x, y))

    def correct(self, box_xyxy: NDArray[np.floating]) -> None:
        """Take in where the box was seen at this moment, float (4,), absolute pixels."""
        innovation = center_and_size(box_xyxy) - self.position
        total = self._variance + (MEASUREMENT_STD * self.scale) ** 2
        gain, velocity_gain = self._variance / total, self._covariance / total
        self.position = self.position + gain * innovation
        self.position[2:] = np.maximum(self.position[2:], SMALLEST_SIDE)
        self.velocity = self.velocity + velocity_gain * innovation
        self._velocity_variance = self._velocity_variance - velocity_gain * self._covariance
        self._covariance = (1 - gain) * self._covariance
        self._variance = (1 - gain) * self._variance


def predict_all(motions: Sequence[BoxMotion], elapsed_s: float) -> None:
    """Let time pass for many boxes at once, to the same bits as for one after the other.

    Args:
        motions: of the boxes.
        elapsed_s: seconds, 0 or more.
    """
    if not motions:
        return
    t = elapsed_s
    position, velocity, variance, covariance, velocity_variance = np.array(
        [(m.position, m.velocity, m._variance, m._covariance, m._velocity_variance) for m in motions]
    ).transpose(1, 0, 2)
    sides = np.maximum(position[:, 2:], SMALLEST_SIDE)
    density = (ACCELERATION * np.sqrt(sides[:, :1] * sides[:, 1:])) ** 2
    position = position + t * velocity
    position[:, 2:] = np.maximum(position[:, 2:], SMALLEST_SIDE)
    variance = variance + 2 * t * covariance + t**2 * velocity_variance + density * (t**3 / 3)
    covariance = covariance + t * velocity_variance + density * (t**2 / 2)
    velocity_variance = velocity_variance + density * t
    velocity = velocity.copy()
    velocity[:, 2:] *= np.exp(-t / SIZE_VELOCITY_LIFE_S)
    for i, motion in enumerate(motions):
        motion.position, motion.velocity = position[i], velocity[i]
        motion._variance, motion._covariance = variance[i], covariance[i]
        motion._velocity_variance = velocity_variance[i]


def center_and_size(box_xyxy: NDArray[np.floating]) -> Array4:
    """float64 (4,): center x, center y, width, height of a box given by its corners."""
    x1, y1, x2, y2 = box_xyxy.tolist()
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def corners_of_all(positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """float32 (N, 4): the corners x1, y1, x2, y2 of boxes given by center and size, float64 (N, 4)."""
    centers, halves = positions[:, :2], positions[:, 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=1).astype(np.float32)


def corners(position: Array4) -> NDArray[np.float32]:
    """float32 (4,): the corners x1, y1, x2, y2 of a box given by center and size."""
    x, y, width, height = position.tolist()
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32)
