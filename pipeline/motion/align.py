"""Corrects drift: registers each object's appearance on the current frame to the template of its first frame.

Inverse-compositional alignment (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004, section 3.2) of similarity
transforms, for all objects at once, with robust weights that suppress occluded points.

Shape letters: N objects; P points of an object; C candidate transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.motion.flow import sample_bilinear
from pipeline.motion.similarity import Complexes, Floats, Similarity

_RESIDUAL_SCALES = (20.0, 10.0)
"""Gray levels, one per iteration: points with larger residuals lose weight. Wide at first, since before the first
correction even inliers have large residuals. A third iteration makes no mask fit better."""
_ILLUMINATION_SCALE = 16.0
_MAX_RESIDUAL = 32.0
"""Gray levels: residuals are truncated here, since a point that differs by more is occluded."""
_DAMPING = 4.0
"""Square gray levels per square pixel: objects with less texture than this are hardly corrected."""
_MAX_CORRECTION = 2.5
"""Flow pixels: image gradients are no guide beyond this distance."""
_PARAMETERS = 4
"""Of a similarity: translation in x and y, scale, rotation."""


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """Appearance of N objects on the frame that their masks were computed on.

    Attributes:
        points: complex64 (N, P), sample points on that frame, flow pixels.
        center: complex64 (N, 1), their weighted mean.
        intensities: float32 (N, P), gray levels there.
        terms: float32 (N, P, 21), the summands of the normal equations: the steepest-descent images of the 4
            parameters at each point, their 16 products with one another, and 1.
        damping: float32 (N, 4, 4), added to the normal equations (Levenberg-Marquardt).
    """

    points: Complexes
    center: Complexes
    intensities: Floats
    terms: Floats
    damping: Floats

    @classmethod
    def from_points(cls, points: Complexes, weights: Floats, gray: NDArray[np.uint8]) -> Templates:
        """Samples the templates at the points on a gray frame, uint8 (h, w)."""
        center = np.vecdot(normalized(weights), points)[:, None]
        x = (sample_bilinear(gray, points + 1) - sample_bilinear(gray, points - 1)) / 2
        y = (sample_bilinear(gray, points + 1j) - sample_bilinear(gray, points - 1j)) / 2
        arms = points - center
        slopes = np.stack([x, y, x * arms.real + y * arms.imag, y * arms.real - x * arms.imag], axis=2)
        products = (slopes[..., None] * slopes[..., None, :]).reshape(*points.shape, _PARAMETERS**2)
        terms = np.concatenate([slopes, products, np.ones_like(x)[..., None]], axis=2).astype(np.float32)
        # Damping per square pixel of displacement, whichever parameter causes it.
        extent = np.sqrt((np.abs(arms) ** 2).mean(1)) + 1e-3
        damping = np.zeros((len(points), _PARAMETERS, _PARAMETERS), np.float32)
        for parameter, displacement in enumerate((1.0, 1.0, extent**2, extent**2)):
            damping[:, parameter, parameter] = _DAMPING * displacement
        return cls(points, center, sample_bilinear(gray, points), terms, damping)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Templates:
        """The templates that a boolean mask or an index array picks."""
        return Templates(
            self.points[keep], self.center[keep], self.intensities[keep], self.terms[keep], self.damping[keep]
        )

    def concatenate(self, other: Templates) -> Templates:
        """These templates followed by the other ones."""
        return Templates(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.center, other.center]),
            np.concatenate([self.intensities, other.intensities]),
            np.concatenate([self.terms, other.terms]),
            np.concatenate([self.damping, other.damping]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """N objects registered to a frame.

    Attributes:
        transform: from the template's frame to this one.
        points: complex64 (N, P), the sample points under that transform.
        weights: float32 (N, P), those of the points; 0 outside the frame.
        intensities: float32 (N, P), gray levels of this frame at the points.
        residuals: float32 (N, P), how far these are from the expected ones, a change of illumination aside.
    """

    transform: Similarity
    points: Complexes
    weights: Floats
    intensities: Floats
    residuals: Floats


def normalized(weights: Floats) -> Floats:
    """float32 (..., P): weights of 0 or more, scaled to a sum of 1 per object; all 0 where they are all 0."""
    return np.asarray(weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9), np.float32)


def inside_frame(points: Complexes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool, shape of `points`: which of them lie inside a frame of shape (h, w, …)."""
    x, y = points.real, points.imag
    return np.asarray((x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1))


def photometric_residuals(expected: Floats, observed: Floats, weights: Floats) -> Floats:
    """float32 (..., P): observed minus expected gray levels, less the object's change of illumination.

    Args:
        expected: float32 (..., P), gray levels of the template.
        observed: float32 (..., P), gray levels of the frame.
        weights: float32 (..., P), see `normalized`.
    """
    difference = observed - expected
    middle = np.vecdot(weights, difference.clip(-2 * _ILLUMINATION_SCALE, 2 * _ILLUMINATION_SCALE))[..., None]
    robust = weights / (1 + np.square((difference - middle) / _ILLUMINATION_SCALE))
    illumination = np.vecdot(robust, difference) / np.maximum(robust.sum(-1), 1e-9)
    return np.asarray(difference - illumination.clip(-60, 60)[..., None], np.float32)


def best_candidate(
    templates: Templates,
    expected: Floats,
    candidates: Sequence[Similarity],
    weights: Floats,
    gray: NDArray[np.uint8],
) -> Registration:
    """Registers each object by the candidate transform with the lowest photometric error.

    Points outside the frame count with the largest residual.

    Args:
        templates: of the objects.
        expected: float32 (N, P), gray levels expected at the points.
        candidates: C times the transforms of all N objects.
        weights: float32 (N, P), of the points.
        gray: uint8 (h, w), the frame.
    """
    linear = np.stack([candidate.linear for candidate in candidates])
    translation = np.stack([candidate.translation for candidate in candidates])
    points = linear[..., None] * templates.points + translation[..., None]  # (C, N, P)
    inside = inside_frame(points, gray.shape)
    visible = weights * inside
    observed = sample_bilinear(gray, points.reshape(-1, points.shape[2])).reshape(points.shape)
    residuals = photometric_residuals(expected, observed, normalized(visible))
    costs = np.vecdot(weights, np.where(inside, np.minimum(np.abs(residuals), _MAX_RESIDUAL), _MAX_RESIDUAL))
    best = np.argmin(costs, axis=0), np.arange(len(weights))
    transform = Similarity(linear[best], translation[best])
    return Registration(transform, points[best], visible[best], observed[best], residuals[best])


def align(templates: Templates, expected: Floats, start: Registration, gray: NDArray[np.uint8]) -> Registration:
    """Refines a registration iteratively. Objects whose error does not fall keep their start.

    Args:
        templates: of the objects.
        expected: float32 (N, P), gray levels expected at the points.
        start: of the objects on this frame.
        gray: uint8 (h, w), this frame.
    """
    weights = normalized(start.weights)
    transform, residuals = start.transform, start.residuals
    for scale in _RESIDUAL_SCALES:
        robust = weights / (1 + np.square(residuals / scale))
        sums = np.stack([robust, robust * residuals], axis=1) @ templates.terms
        transform = transform.compose(_correction(sums, templates))
        points = transform.apply(templates.points)
        observed = sample_bilinear(gray, points)
        residuals = photometric_residuals(expected, observed, weights)
    moved = np.abs(points - start.points).max(1, initial=0)
    better = (moved <= _MAX_CORRECTION) & (_cost(weights, residuals) < _cost(weights, start.residuals))
    rows = better[:, None]
    return Registration(
        Similarity(
            np.where(better, transform.linear, start.transform.linear),
            np.where(better, transform.translation, start.transform.translation),
        ),
        np.where(rows, points, start.points),
        start.weights,
        np.where(rows, observed, start.intensities),
        np.where(rows, residuals, start.residuals),
    )


def _correction(sums: Floats, templates: Templates) -> Similarity:
    """One Gauss-Newton step, with each object's mean gray level as a free parameter.

    Args:
        sums: float32 (N, 2, 21), `templates.terms` summed over the points with their robust weights, and with these
            times the residuals.
        templates: of the objects.
    """
    last = _PARAMETERS + _PARAMETERS**2
    slopes, products = sums[:, 0, :_PARAMETERS], sums[:, 0, _PARAMETERS:last]
    total = np.maximum(sums[:, 0, last:], 1e-9)
    normal = products.reshape(templates.damping.shape) - slopes[:, :, None] * (slopes / total)[:, None]
    goal = sums[:, 1, :_PARAMETERS] - slopes * (sums[:, 1, last:] / total)
    delta = np.linalg.solve(normal + templates.damping, goal[..., None])[..., 0]
    growth = delta[:, 2] + 1j * delta[:, 3]
    # The inverse of: point -> point + shift + growth * (point - center)
    linear = 1 / (1 + growth)
    translation = -(delta[:, 0] + 1j * delta[:, 1] - growth * templates.center[:, 0]) * linear
    return Similarity(linear.astype(np.complex64), translation.astype(np.complex64))


def _cost(weights: Floats, residuals: Floats) -> Floats:
    """float32 (N,): weighted mean of the truncated residuals."""
    return np.asarray(np.vecdot(weights, np.minimum(np.abs(residuals), _MAX_RESIDUAL)), np.float32)
