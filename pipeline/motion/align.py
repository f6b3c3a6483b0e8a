"""Takes the drift out of a path: fits what an object's points show now to what they showed at first.

Inverse-compositional alignment (Baker and Matthews, "Lucas-Kanade 20 Years On", IJCV 2004, section 3.2) of a
similarity, for all objects at once, with weights that make covered points count little.

Shape letters: N objects; P points of an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.motion.flow import sample
from pipeline.motion.similarity import Complexes, Floats, Similarity

_SCALES = (20.0, 10.0)
"""Gray levels, a round each: points that differ more than about this count less and less. Wide at first, since before
the first correction even good points differ. A third round makes no mask fit better."""
_LIGHT_SCALE = 16.0
_WORST = 32.0
"""Gray levels: a point that differs by more is no worse for it: it is covered."""
_DAMPING = 4.0
"""Square gray levels a square pixel: what an object must have of texture for a correction to be believed."""
_FARTHEST = 2.5
"""Small pixels: the alignment sees no farther than the slopes of the picture reach."""
_PARAMETERS = 4
"""Of a similarity: shift in x, shift in y, growth, rotation."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What the objects looked like on the frame that their masks were computed on.

    Attributes:
        home: complex64 (N, P), where the points lay on that frame, small pixels.
        center: complex64 (N, 1), their middle.
        levels: float32 (N, P), gray levels there.
        terms: float32 (N, P, 21), what the normal equations are sums of: the 4 slopes of each point (change of the gray
            level with shift in x, shift in y, growth and rotation), their 16 products with one another, and 1.
        damping: float32 (N, 4, 4), what is added to the normal equations.
    """

    home: Complexes
    center: Complexes
    levels: Floats
    terms: Floats
    damping: Floats

    @classmethod
    def of(cls, points: Complexes, weights: Floats, gray: NDArray[np.uint8]) -> Looks:
        """What the points show on a small frame, uint8 (h, w)."""
        center = np.vecdot(shares(weights), points)[:, None]
        x = (sample(gray, points + 1) - sample(gray, points - 1)) / 2
        y = (sample(gray, points + 1j) - sample(gray, points - 1j)) / 2
        arm = points - center
        slopes = np.stack([x, y, x * arm.real + y * arm.imag, y * arm.real - x * arm.imag], axis=2)
        products = (slopes[..., None] * slopes[..., None, :]).reshape(*points.shape, _PARAMETERS**2)
        terms = np.concatenate([slopes, products, np.ones_like(x)[..., None]], axis=2).astype(np.float32)
        # Damping in square pixels of displacement, whichever parameter causes it.
        extent = np.sqrt((np.abs(arm) ** 2).mean(1)) + 1e-3
        damping = np.zeros((len(points), _PARAMETERS, _PARAMETERS), np.float32)
        for parameter, displaced in enumerate((1.0, 1.0, extent**2, extent**2)):
            damping[:, parameter, parameter] = _DAMPING * displaced
        return cls(points, center, sample(gray, points), terms, damping)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Looks:
        """Those of some of the objects."""
        return Looks(self.home[keep], self.center[keep], self.levels[keep], self.terms[keep], self.damping[keep])

    def join(self, other: Looks) -> Looks:
        """Those of these and other objects."""
        return Looks(
            np.concatenate([self.home, other.home]),
            np.concatenate([self.center, other.center]),
            np.concatenate([self.levels, other.levels]),
            np.concatenate([self.terms, other.terms]),
            np.concatenate([self.damping, other.damping]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """The objects where they are taken to be on a frame.

    Attributes:
        path: from the objects' first frame to this one.
        points: complex64 (N, P), where it leads their points.
        weights: float32 (N, P), those of the points; 0 outside the frame.
        shown: float32 (N, P), gray levels there.
        error: float32 (N, P), how far they are from what they should be, apart from a change of the light.
    """

    path: Similarity
    points: Complexes
    weights: Floats
    shown: Floats
    error: Floats


def shares(weights: Floats) -> Floats:
    """float32 (..., P): weights of 0 or more, divided so that those of an object add up to 1, or all stay 0."""
    return np.asarray(weights / np.maximum(weights.sum(-1, keepdims=True), 1e-9), np.float32)


def inside(points: Complexes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """bool, of the points' shape: whether each lies in a frame of (h, w, …)."""
    x, y = points.real, points.imag
    return np.asarray((x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1))


def differences(levels: Floats, shown: Floats, share: Floats) -> Floats:
    """float32 (..., P): how far each point's gray level is from what it should be, apart from a change of the light.

    Args:
        levels: float32 (..., P), what the points should show.
        shown: float32 (..., P), what they show.
        share: float32 (..., P), how much each counts, see `shares`.
    """
    difference = shown - levels
    middle = np.vecdot(share, difference.clip(-2 * _LIGHT_SCALE, 2 * _LIGHT_SCALE))[..., None]
    trust = share / (1 + np.square((difference - middle) / _LIGHT_SCALE))
    light = np.vecdot(trust, difference) / np.maximum(trust.sum(-1), 1e-9)
    return np.asarray(difference - light.clip(-60, 60)[..., None], np.float32)


def nearest_look(
    looks: Looks, levels: Floats, paths: Sequence[Similarity], weights: Floats, gray: NDArray[np.uint8]
) -> Sight:
    """For each object the path on which its points show most nearly what they should.

    Points outside the frame count as showing something else.
    """
    turn, shift = np.stack([path.turn for path in paths]), np.stack([path.shift for path in paths])
    points = turn[..., None] * looks.home + shift[..., None]
    seen = inside(points, gray.shape)
    visible = weights * seen
    shown = sample(gray, points.reshape(-1, points.shape[2])).reshape(points.shape)
    error = differences(levels, shown, shares(visible))
    costs = np.vecdot(weights, np.where(seen, np.minimum(np.abs(error), _WORST), _WORST))
    best = np.argmin(costs, axis=0), np.arange(len(weights))
    return Sight(Similarity(turn[best], shift[best]), points[best], visible[best], shown[best], error[best])


def align(looks: Looks, levels: Floats, sight: Sight, gray: NDArray[np.uint8]) -> Sight:
    """With the path corrected so that the points show again what they should; unchanged where that does not succeed.

    Args:
        looks: of the objects.
        levels: float32 (N, P), gray levels that the points should show.
        sight: of the objects on this frame.
        gray: uint8 (h, w), this frame.
    """
    share = shares(sight.weights)
    path, error = sight.path, sight.error
    for scale in _SCALES:
        trust = share / (1 + np.square(error / scale))
        sums = np.stack([trust, trust * error], axis=1) @ looks.terms
        path = path.after(_correction(sums, looks))
        points = path.apply(looks.home)
        shown = sample(gray, points)
        error = differences(levels, shown, share)
    moved = np.abs(points - sight.points).max(1, initial=0)
    good = (moved <= _FARTHEST) & (_cost(share, error) < _cost(share, sight.error))
    each = good[:, None]
    return Sight(
        Similarity(np.where(good, path.turn, sight.path.turn), np.where(good, path.shift, sight.path.shift)),
        np.where(each, points, sight.points),
        sight.weights,
        np.where(each, shown, sight.shown),
        np.where(each, error, sight.error),
    )


def _correction(sums: Floats, looks: Looks) -> Similarity:
    """One step of least squares, with each object's mean gray level left free.

    Args:
        sums: float32 (N, 2, 21), `looks.terms` summed over the points under their trust, and under trust times error.
        looks: of the objects.
    """
    last = _PARAMETERS + _PARAMETERS**2
    slopes, products = sums[:, 0, :_PARAMETERS], sums[:, 0, _PARAMETERS:last]
    total = np.maximum(sums[:, 0, last:], 1e-9)
    normal = products.reshape(looks.damping.shape) - slopes[:, :, None] * (slopes / total)[:, None]
    goal = sums[:, 1, :_PARAMETERS] - slopes * (sums[:, 1, last:] / total)
    delta = np.linalg.solve(normal + looks.damping, goal[..., None])[..., 0]
    growth = delta[:, 2] + 1j * delta[:, 3]
    # The inverse of: home -> home + shift + growth * (home - center)
    turn = 1 / (1 + growth)
    shift = -(delta[:, 0] + 1j * delta[:, 1] - growth * looks.center[:, 0]) * turn
    return Similarity(turn.astype(np.complex64), shift.astype(np.complex64))


def _cost(share: Floats, error: Floats) -> Floats:
    """float32 (N,): mean error, whereby none counts as more than `_WORST`."""
    return np.asarray(np.vecdot(share, np.minimum(np.abs(error), _WORST)), np.float32)
