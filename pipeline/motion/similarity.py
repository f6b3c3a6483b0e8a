"""Similarity transforms (translation, rotation, uniform scale) of many point sets at once, and a robust fit.

Points are complex numbers x + iy. A similarity maps z to linear * z + translation: |linear| is the scale, its angle
the rotation.

Shape letters: N objects; P points of an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import cv2
import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex64]
Floats = NDArray[np.float32]

_MIN_SPREAD = 0.25
"""Flow pixels: deviations from the median flow below this are noise of the flow, and keep their full weight."""
_STIFFNESS = 9.0
"""Square flow pixels: regularizes scale and rotation. The flow at objects that extend less than about 3 pixels from
their center is that of the pixels around them, so only their translation is fitted."""


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """N similarity transforms.

    Attributes:
        linear: complex64 (N,), scale and rotation.
        translation: complex64 (N,), pixels.
    """

    linear: Complexes
    translation: Complexes

    @classmethod
    def identity(cls, count: int) -> Similarity:
        """`count` identity transforms."""
        return cls(np.ones(count, np.complex64), np.zeros(count, np.complex64))

    def apply(self, points: Complexes) -> Complexes:
        """Transforms points, complex64 (N, P) or (N,)."""
        if points.ndim == 1:
            return self.linear * points + self.translation
        return self.linear[:, None] * points + self.translation[:, None]

    def compose(self, first: Similarity) -> Similarity:
        """The transforms that apply `first` and then these."""
        return Similarity(self.linear * first.linear, self.linear * first.translation + self.translation)

    def inverse(self) -> Similarity:
        """The inverse transforms."""
        inverse = 1 / self.linear
        return Similarity(inverse, -self.translation * inverse)

    def interpolate(self, other: Similarity, fraction: float) -> Similarity:
        """Linear interpolation of the coefficients: these at fraction 0, the other ones at 1."""
        return Similarity(
            self.linear + np.float32(fraction) * (other.linear - self.linear),
            self.translation + np.float32(fraction) * (other.translation - self.translation),
        )

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Similarity:
        """The transforms that a boolean mask or an index array picks."""
        return Similarity(self.linear[keep], self.translation[keep])

    def concatenate(self, other: Similarity) -> Similarity:
        """These transforms followed by the other ones."""
        return Similarity(
            np.concatenate([self.linear, other.linear]), np.concatenate([self.translation, other.translation])
        )


def fit_similarity(points: Complexes, displacements: Complexes, weights: Floats) -> Similarity:
    """Fits each object's similarity to the displacements of its points, by least squares with outliers down-weighted.

    Args:
        points: complex64 (N, P).
        displacements: complex64 (N, P), of each point.
        weights: float32 (N, P), 0 or more; an object whose weights are all 0 gets the identity.
    """
    total = weights.sum(1, keepdims=True)
    weights = weights / np.maximum(total, 1e-9)
    center = np.vecdot(weights, points)[:, None]
    offsets = points - center
    medians = weighted_median(
        np.concatenate([displacements.real, displacements.imag]), np.concatenate([weights, weights])
    )
    residuals = np.abs(displacements - (medians[: len(points)] + 1j * medians[len(points) :]))
    # One round of reweighting: a second one, with the residuals of the first fit, makes no mask fit better.
    residuals /= np.maximum(_MIN_SPREAD, 1.5 * weighted_median(residuals, weights))
    robust = weights / np.square(1.0 + np.square(residuals))
    robust /= np.maximum(robust.sum(1, keepdims=True), 1e-9)
    middle = np.vecdot(robust, offsets)[:, None]
    arms = offsets - middle
    weighted_arms = robust * arms  # sums to 0, so the mean displacement need not be subtracted
    linear = (np.vecdot(weighted_arms, displacements) / (np.vecdot(weighted_arms, arms).real + _STIFFNESS))[:, None]
    translation = np.vecdot(robust, displacements)[:, None] - linear * middle
    still = total[:, 0] <= 0
    linear, translation = np.where(still, 0, linear[:, 0]), np.where(still, 0, translation[:, 0])
    return Similarity((1 + linear).astype(np.complex64), (translation - linear * center[:, 0]).astype(np.complex64))


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """float32 (N, 1): each row's median under weights (N, P) whose rows sum to 1 (or to 0: then the least value)."""
    order = values.argsort(axis=1)
    rows = np.arange(len(values))[:, None]
    passed = weights[rows, order].cumsum(1) >= 0.5 * weights.sum(1, keepdims=True) - 1e-6
    first = passed.argmax(1)[:, None]
    return np.asarray(values[rows, order[rows, first]], np.float32)


_MIN_ROTATION = 0.02
"""Radians: rotating a mask of 28 cells by less than this changes next to nothing."""
_MIN_VISIBLE_SIDE = 0.5
"""Pixels: a box counts as outside the frame when a side of its visible part is shorter than this."""


def warp(
    boxes_xyxy: Floats, mask_probs: Floats, transform: Similarity, scale: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Boxes and masks under similarity transforms; they may lie partly outside the frame.

    Args:
        boxes_xyxy: float32 (N, 4), pixels of the frame.
        mask_probs: float32 (N, M, M).
        transform: N similarities in flow pixels, see `flow.py`.
        scale: flow pixels per pixel of the frame, in x and y.
    """
    corners = np.ascontiguousarray(boxes_xyxy).view(np.complex64)
    half = (corners[:, 1] - corners[:, 0]) / 2
    middle = (corners[:, 1] + corners[:, 0]) / 2
    # Flow pixels have their centers on whole numbers, the frame's pixels at halves.
    start = middle.real * scale[0] + 1j * (middle.imag * scale[1]) - (0.5 + 0.5j)
    end = transform.linear * start + transform.translation + (0.5 + 0.5j)
    middle = end.real / scale[0] + 1j * (end.imag / scale[1])
    half *= np.abs(transform.linear)
    boxes = np.stack([middle - half, middle + half], axis=1).astype(np.complex64).view(np.float32)
    still = (transform.linear == 1) & (transform.translation == 0)
    if still.any():
        boxes[still] = boxes_xyxy[still]  # exact, without rounding
    angles = np.angle(transform.linear)
    masks = mask_probs
    for i in np.flatnonzero(np.abs(angles) > _MIN_ROTATION):
        if masks is mask_probs:
            masks = mask_probs.copy()
        boxes[i], masks[i] = _rotate(boxes[i], mask_probs[i], float(angles[i]))
    return boxes, masks


def _rotate(box_xyxy: Floats, mask_probs: Floats, angle: float) -> tuple[Floats, Floats]:
    """A box (4,) and its mask (M, M), rotated about the box's center; the new box is as tight as the old one was."""
    side = mask_probs.shape[0]
    half = (box_xyxy[2:] - box_xyxy[:2]) / 2
    middle = (box_xyxy[2:] + box_xyxy[:2]) / 2
    rows, columns = np.nonzero(mask_probs >= 0.5)
    if len(rows) == 0:
        return box_xyxy, mask_probs
    rotation = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    cell = 2 * half / side
    inside = np.stack([(columns + 0.5) * cell[0], (rows + 0.5) * cell[1]]) - half[:, None]
    moved = rotation @ inside
    low = -half + (moved.min(1) - inside.min(1))
    high = half + (moved.max(1) - inside.max(1))
    if (high - low).min() <= 0:
        return box_xyxy, mask_probs
    # From a cell of the new grid to one of the old: new cell -> pixels from the center -> rotated back -> old cell.
    new_cell = (high - low) / side
    to_pixels = np.array([[new_cell[0], 0, low[0] + 0.5 * new_cell[0]], [0, new_cell[1], low[1] + 0.5 * new_cell[1]]])
    back = rotation.T @ to_pixels
    back[:, 2] += half
    to_old = back / cell[:, None]
    to_old[:, 2] -= 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mask = cv2.warpAffine(mask_probs, to_old, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    box = np.concatenate([middle + low, middle + high]).astype(np.float32)
    return box, np.asarray(mask, np.float32)


def clip_to_frame(
    boxes_xyxy: Floats, mask_probs: Floats, width: int, height: int
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Clips boxes to the frame and resamples their masks to the clipped boxes.

    Returns:
        Boxes float32 (N, 4), masks float32 (N, M, M), and bool (N,): whether an object is still visible.
    """
    limits = np.array([width, height, width, height], np.float32)
    clipped = np.clip(boxes_xyxy, 0, limits).astype(np.float32)
    sides = clipped[:, 2:] - clipped[:, :2]
    # Boxes that were that narrow before clipping stay visible.
    min_sides = np.minimum(_MIN_VISIBLE_SIDE, 0.5 * (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]))
    visible = (sides > 0).all(1) & (sides >= min_sides).all(1)
    masks = mask_probs
    for i in np.flatnonzero(visible & (clipped != boxes_xyxy).any(1)):
        if masks is mask_probs:
            masks = mask_probs.copy()
        masks[i] = resample_mask(mask_probs[i], boxes_xyxy[i], clipped[i], mask_probs.shape[1])
    return clipped, masks, visible


def resample_mask(mask_probs: Floats, from_xyxy: Floats, to_xyxy: Floats, side: int) -> Floats:
    """float32 (side, side): a mask resampled to another box; 0 outside its own box.

    `pipeline.geometry.resample_masks` does the same for many masks at once, with other rounding.

    Args:
        mask_probs: float32 (M, M), stretched over `from_xyxy`.
        from_xyxy, to_xyxy: float32 (4,), boxes with an area.
        side: of the grid over `to_xyxy`.
    """
    grid = mask_probs.shape[0]
    centers = (np.arange(side, dtype=np.float32) + 0.5) / side
    from_size, to_size = from_xyxy[2:] - from_xyxy[:2], to_xyxy[2:] - to_xyxy[:2]
    x = (to_xyxy[0] - from_xyxy[0] + centers * to_size[0]) * grid / from_size[0] - 0.5
    y = (to_xyxy[1] - from_xyxy[1] + centers * to_size[1]) * grid / from_size[1] - 0.5
    columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    probs = cv2.remap(mask_probs, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    outside = (columns < -0.5) | (rows < -0.5) | (columns > grid - 0.5) | (rows > grid - 0.5)
    probs[outside] = 0
    return np.asarray(probs, np.float32)
