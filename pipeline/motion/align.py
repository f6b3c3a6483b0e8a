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

_SCALES = (24.0, 12.0, 8.0)
"""Grey levels, a round each: points that differ more than about this count less and less. Wide at first, since before
the first correction even good points differ."""
_LIGHT_SCALE = 16.0
_WORST = 32.0
"""Grey levels: a point that differs by more is no worse for it: it is covered."""
_DAMPING = 4.0
"""Square grey levels a square pixel: what an object must have of texture for a correction to be believed."""
_FARTHEST = 2.5
"""Small pixels: the alignment sees no farther than the slopes of the picture reach."""


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What the objects looked like on the frame that their masks were computed on.

    Attributes:
        home: complex64 (N, P), where the points lay on that frame, small pixels.
        centre: complex64 (N, 1), their middle.
        levels: float32 (N, P), grey levels there.
        slopes: float32 (N, P, 4), change of the grey level with shift in x, shift in y, growth and rotation.
    """

    home: Complexes
    centre: Complexes
    levels: Floats
    slopes: Floats

    @classmethod
    def of(cls, points: Complexes, weights: Floats, grey: NDArray[np.uint8]) -> Looks:
        """What the points show on a small frame, uint8 (h, w)."""
        total = np.maximum(weights.sum(1, keepdims=True), 1e-9)
        centre = ((weights * points).sum(1, keepdims=True) / total).astype(np.complex64)
        x = (sample(grey, points + 1) - sample(grey, points - 1)) / 2
        y = (sample(grey, points + 1j) - sample(grey, points - 1j)) / 2
        arm = points - centre
        slopes = np.stack([x, y, x * arm.real + y * arm.imag, y * arm.real - x * arm.imag], axis=2)
        return cls(points, centre, sample(grey, points), slopes.astype(np.float32))

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Looks:
        """Those of some of the objects."""
        return Looks(self.home[keep], self.centre[keep], self.levels[keep], self.slopes[keep])

    def join(self, other: Looks) -> Looks:
        """Those of these and other objects."""
        return Looks(
            np.concatenate([self.home, other.home]),
            np.concatenate([self.centre, other.centre]),
            np.concatenate([self.levels, other.levels]),
            np.concatenate([self.slopes, other.slopes]),
        )


def differences(looks: Looks, levels: Floats, shown: Floats, weights: Floats) -> Floats:
    """float32 (N, P): how far each point's grey level is from what it should be, apart from a change of the light."""
    difference = shown - levels
    total = np.maximum(weights.sum(1, keepdims=True), 1e-9)
    middle = (weights * np.clip(difference, -2 * _LIGHT_SCALE, 2 * _LIGHT_SCALE)).sum(1, keepdims=True) / total
    trust = weights / (1 + ((difference - middle) / _LIGHT_SCALE) ** 2)
    light = (trust * difference).sum(1, keepdims=True) / np.maximum(trust.sum(1, keepdims=True), 1e-9)
    return np.asarray(difference - np.clip(light, -60, 60), np.float32)


def nearest_look(
    looks: Looks, levels: Floats, paths: Sequence[Similarity], weights: Floats, grey: NDArray[np.uint8]
) -> Similarity:
    """For each object the path on which its points show most nearly what they should.

    Points outside the frame count as showing something else.
    """
    costs = []
    for path in paths:
        points = path.apply(looks.home)
        inside = (points.real >= 0) & (points.imag >= 0) & (points.real < grey.shape[1]) & (points.imag < grey.shape[0])
        error = np.abs(differences(looks, levels, sample(grey, points), weights * inside))
        costs.append((weights * np.where(inside, np.minimum(error, _WORST), _WORST)).sum(1))
    best = np.argmin(costs, axis=0)
    each = np.arange(len(best))
    return Similarity(
        np.stack([path.turn for path in paths])[best, each], np.stack([path.shift for path in paths])[best, each]
    )


def align(looks: Looks, levels: Floats, path: Similarity, weights: Floats, grey: NDArray[np.uint8]) -> Similarity:
    """The path, corrected so that the points show again what they should; unchanged where that does not succeed.

    Args:
        looks: of the objects.
        levels: float32 (N, P), grey levels that the points should show.
        path: from the objects' first frame to this one.
        weights: float32 (N, P).
        grey: uint8 (h, w), this frame.
    """
    better = path
    arm = looks.home - looks.centre
    extent = np.sqrt((np.abs(arm) ** 2).mean(1)) + 1e-3
    # Damping in square pixels of displacement, whichever parameter causes it.
    damping = _DAMPING * np.stack([np.ones_like(extent), np.ones_like(extent), extent**2, extent**2], axis=1)
    total = np.maximum(weights.sum(1, keepdims=True), 1e-9)
    share = weights / total
    first_cost = None
    for scale in (*_SCALES, None):
        error = differences(looks, levels, sample(grey, better.apply(looks.home)), weights)
        cost = (share * np.minimum(np.abs(error), _WORST)).sum(1)
        if first_cost is None:
            first_cost = cost
        if scale is None:
            break
        trust = share / (1 + (error / scale) ** 2)
        slopes = looks.slopes - (trust[..., None] * looks.slopes).sum(1, keepdims=True) / np.maximum(
            trust.sum(1)[:, None, None], 1e-9
        )
        weighted = slopes * trust[..., None]
        normal = weighted.transpose(0, 2, 1) @ slopes
        normal[:, range(4), range(4)] += damping
        delta = np.linalg.solve(normal, (weighted * error[..., None]).sum(1)[..., None])[..., 0]
        growth = delta[:, 2] + 1j * delta[:, 3]
        # path after the inverse of: home -> home + shift + growth * (home - centre)
        turn = 1 / (1 + growth)
        shift = -(delta[:, 0] + 1j * delta[:, 1] - growth * looks.centre[:, 0]) * turn
        better = better.after(Similarity(turn.astype(np.complex64), shift.astype(np.complex64)))
    moved = np.abs(better.apply(looks.home) - path.apply(looks.home)).max(1)
    good = np.isfinite(moved) & (moved <= _FARTHEST) & (cost < first_cost)
    return Similarity(np.where(good, better.turn, path.turn), np.where(good, better.shift, path.shift))
