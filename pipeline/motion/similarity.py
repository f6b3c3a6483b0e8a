"""Similarity transforms (translation, rotation, uniform scale) of many point sets at once, and a robust fit.

Points are complex numbers x + iy. A similarity maps z to linear * z + translation: |linear| is the scale, its angle
the rotation.

Shape letters: N objects; P points of an object.
"""

from __future__ import annotations

from dataclasses import dataclass

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
