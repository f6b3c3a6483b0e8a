"""The tracker's motion model: a constant-velocity Kalman filter for boxes, driven by time rather than frame count.

The folder `pipeline/motion/` is something else: it warps masks along the optical flow between results.

Center and size are four independent filters of position and velocity (Kalman 1960; white-noise acceleration as in
Bar-Shalom, Li, Kirubarajan 2001, section 6.2.2), so that a dropped frame only means a longer step.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

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
