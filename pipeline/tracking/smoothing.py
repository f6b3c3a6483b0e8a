"""Smooths boxes and masks over time, so that outlines do not flicker, without lag on real motion.

Exponential moving averages of box and mask around their prediction. Their weight depends on the elapsed time, and rises
to 1 where a measurement differs from the prediction by more than jitter does (after the 1-euro filter: Casiez, Roussel,
Vogel, CHI 2012).

Shape letters: P objects; M side of a box-local mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import resample_masks
from pipeline.tracking.kalman import Array4, BoxKalmanFilter, center_and_size

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
