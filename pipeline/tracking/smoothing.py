"""Steadies what a detector gives for one object after another, so that outlines do not flicker, without lag on motion.

A box is blended with where it was expected, a mask with the previous one brought onto the new box. The blend depends
on time, and gives way to what is measured as soon as that differs by more than jitter does (in the spirit of the
one-euro filter: Casiez, Roussel, Vogel, CHI 2012).

Shape letters: P objects; M side of a box-local mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.tracking.kalman import Array4, BoxMotion, center_and_size
from pipeline.tracking.overlap import resample

LONGEST_MEMORY_S = 0.6
"""Time constant in seconds at which a still object is steadied at strength 1."""
JITTER = 0.04
"""A difference from what was expected of up to this share of the object's size is taken for jitter …"""
CHANGE = 0.14
"""… and from this share on for a true change, which is followed at once."""
SAME_OUTLINE, OTHER_OUTLINE = 0.85, 0.60
"""Overlap of the new mask with the previous one: above the first jitter, below the second a true change."""
FAST_SIZES = 0.25
"""An object that moves this share of its size between two results has no use for its previous mask."""


def memory_weight(smoothing: float, elapsed_s: float) -> float:
    """The weight of a new measurement of an object that keeps still, above 0, up to 1.

    Args:
        smoothing: strength, 0 … 1; 0 takes every measurement as it is.
        elapsed_s: since the last measurement, seconds.
    """
    memory_s = smoothing * LONGEST_MEMORY_S
    return 1.0 if memory_s <= 0 else float(1 - np.exp(-max(elapsed_s, 1e-3) / memory_s))


def smooth_position(
    expected: Array4, scale: float, measured_xyxy: NDArray[np.floating], still_weight: float
) -> tuple[Array4, float]:
    """One step of a steadied box.

    Args:
        expected: center and size where the box shown last should be by now, pixels.
        scale: the object's size in pixels.
        measured_xyxy: float (4,), absolute pixels.
        still_weight: from `memory_weight`.

    Returns:
        Center and size to show, and how much the measurement differs from what was expected: 0 (jitter) … 1 (a true
        change).
    """
    residual = center_and_size(measured_xyxy) - expected
    change = _ramp(float(np.abs(residual).max()) / scale, JITTER, CHANGE)
    weight = still_weight + (1 - still_weight) * change
    return expected + weight * residual, change


def speed_change(motion: BoxMotion, elapsed_s: float) -> float:
    """How little a previous mask is worth because the object moves fast: 0 … 1."""
    return _ramp(float(np.linalg.norm(motion.velocity[:2])) * elapsed_s / motion.scale, 0.0, FAST_SIZES)


def smooth_masks(
    previous: NDArray[np.float32],
    expected_xyxy: NDArray[np.float32],
    measured: NDArray[np.float32],
    measured_xyxy: NDArray[np.float32],
    shown_xyxy: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> NDArray[np.float32]:
    """One step of P steadied masks.

    Args:
        previous, expected_xyxy: float32 (P, M, M) and (P, 4): the masks shown last, and where their boxes should be by
            now.
        measured, measured_xyxy: the same of the detections.
        shown_xyxy: float32 (P, 4), the boxes to show.
        weights: float32 (P,), above 0, up to 1: the measurement's least share in the result.

    Returns:
        float32 (P, M, M), 0 … 1, lying on the boxes to show.
    """
    size = measured.shape[1]
    # Both in the picture's coordinates: a box that breathes around an unmoved object must not stretch its mask.
    old = resample(previous, expected_xyxy, shown_xyxy, size)
    new = resample(measured, measured_xyxy, shown_xyxy, size)
    likeness = np.minimum(old, new).sum(axis=(1, 2)) / np.maximum(np.maximum(old, new).sum(axis=(1, 2)), 1e-6)
    unlike = np.clip((SAME_OUTLINE - likeness) / (SAME_OUTLINE - OTHER_OUTLINE), 0, 1)
    share = (weights + (1 - weights) * unlike)[:, None, None]
    return np.asarray(old + share * (new - old), np.float32)


def _ramp(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))
