"""Robust motion of many point sets at once: shift, scale and rotation, as one complex number each.

Points are complex numbers x + iy. A similarity moves z to turn * z + shift: |turn| is the scale, its angle the
rotation.

Shape letters: N objects; P points of an object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Complexes = NDArray[np.complex64]
Floats = NDArray[np.float32]

_LEAST_SPREAD = 0.25
"""Small pixels: flow that scatters less than this is taken as it is; finer differences are noise of the flow."""
_STIFFNESS = 9.0
"""Square small pixels: an object must extend well beyond 3 pixels from its center before its scale and rotation are
believed; for smaller ones the flow is that of the pixels around it."""


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """N similarities.

    Attributes:
        turn: complex64 (N,), scale and rotation.
        shift: complex64 (N,), pixels.
    """

    turn: Complexes
    shift: Complexes

    @classmethod
    def identity(cls, count: int) -> Similarity:
        """`count` times no motion."""
        return cls(np.ones(count, np.complex64), np.zeros(count, np.complex64))

    def apply(self, points: Complexes) -> Complexes:
        """The points, complex64 (N, P) or (N,), moved."""
        if points.ndim == 1:
            return self.turn * points + self.shift
        return self.turn[:, None] * points + self.shift[:, None]

    def after(self, first: Similarity) -> Similarity:
        """First the other, then this."""
        return Similarity(self.turn * first.turn, self.turn * first.shift + self.shift)

    def inverse(self) -> Similarity:
        """Back again."""
        back = 1 / self.turn
        return Similarity(back, -self.shift * back)

    def towards(self, other: Similarity, share: float) -> Similarity:
        """Between these, share 0, and other ones, share 1."""
        return Similarity(
            self.turn + np.float32(share) * (other.turn - self.turn),
            self.shift + np.float32(share) * (other.shift - self.shift),
        )

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Similarity:
        """Some of them."""
        return Similarity(self.turn[keep], self.shift[keep])

    def join(self, other: Similarity) -> Similarity:
        """These and the other ones."""
        return Similarity(np.concatenate([self.turn, other.turn]), np.concatenate([self.shift, other.shift]))


def fit(points: Complexes, moves: Complexes, weights: Floats) -> Similarity:
    """The similarity that most points of each object follow: least squares, points that disagree count less.

    Args:
        points: complex64 (N, P).
        moves: complex64 (N, P), where each point went, relative to itself.
        weights: float32 (N, P), 0 or more; an object without weight does not move.
    """
    total = weights.sum(1, keepdims=True)
    share = weights / np.maximum(total, 1e-9)
    center = np.vecdot(share, points)[:, None]
    offset = points - center
    middles = weighted_median(np.concatenate([moves.real, moves.imag]), np.concatenate([share, share]))
    error = np.abs(moves - (middles[: len(points)] + 1j * middles[len(points) :]))
    # One round of trust: a second one, against what the first has found, makes no mask fit better.
    error /= np.maximum(_LEAST_SPREAD, 1.5 * weighted_median(error, share))
    trust = share / np.square(1.0 + np.square(error))
    trust /= np.maximum(trust.sum(1, keepdims=True), 1e-9)
    middle = np.vecdot(trust, offset)[:, None]
    arm = offset - middle
    trusted = trust * arm  # adds up to 0, so that the mean of the moves need not be taken off
    turn = (np.vecdot(trusted, moves) / (np.vecdot(trusted, arm).real + _STIFFNESS))[:, None]
    move = np.vecdot(trust, moves)[:, None] - turn * middle
    still = total[:, 0] <= 0
    turn, move = np.where(still, 0, turn[:, 0]), np.where(still, 0, move[:, 0])
    return Similarity((1 + turn).astype(np.complex64), (move - turn * center[:, 0]).astype(np.complex64))


def weighted_median(values: Floats, shares: Floats) -> Floats:
    """float32 (N, 1): each row's median under weights (N, P) whose rows sum to 1 (or to 0: then the least value)."""
    order = values.argsort(axis=1)
    rows = np.arange(len(values))[:, None]
    passed = shares[rows, order].cumsum(1) >= 0.5 * shares.sum(1, keepdims=True) - 1e-6
    first = passed.argmax(1)[:, None]
    return np.asarray(values[rows, order[rows, first]], np.float32)
