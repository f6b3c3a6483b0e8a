"""Objects on their way through the frames: the points that each is followed by, and what became of it so far.

Shape letters: N objects; P points of an object; M side of a box-local mask. Points are complex numbers x + iy in small
pixels (see `flow.py`), pixel centers on whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.motion.align import Looks, align, inside, nearest_look
from pipeline.motion.flow import FLOW_STRIDE, Step, sample
from pipeline.motion.similarity import Complexes, Floats, Similarity, fit
from pipeline.records import Instances

POINTS = 48
"""Points that an object is followed by."""
_FASTEST = 0.15
"""Share of the frame's width that an object may cross in one step; more is a failure of the flow."""
_GROWTH = 1.25
"""How much an object may grow, or shrink by its inverse, in one step."""
_GROWTH_IN_ALL = 2.5
"""The same from the frame that its mask was computed on."""
_CHANGED = 30.0
"""Gray levels: a point that differs more from what it showed at first is covered by something else."""
_LEARNING = 0.06
"""How quickly a point's expected gray level follows what it shows, a step."""
_LEAST_SEEN = 0.25
"""Share of an object's points, by weight, that must look as they did."""

_REMEMBERED = 12
"""Frames for which it is known where each object was."""

_ALONE, _AT_ONCE = 2, 3
"""Of the way from a result's frame to a newer one the first steps are gone one by one, since the objects' speed is not
known yet; then points go three steps alone before their object is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """N objects under way.

    Attributes:
        points: complex64 (N, P), where their points are now.
        weights: float32 (N, P), how much each counts: more towards the middle of the mask.
        looks: what the points showed on the frame that the masks were computed on.
        levels: float32 (N, P), the gray level that each is expected to show now.
        alike: bool (N, P), whether it did show that on the last frame.
        path: from the frame that the masks were computed on to now.
        velocity: complex64 (N,), the last step of each object's middle.
        unseen_s: float32 (N,), for how many seconds too little of the object was to be seen.
        time_s: of the frame that they lie on now.
        past: times of the last frames, this one the last, and the path to each.
    """

    points: Complexes
    weights: Floats
    looks: Looks
    levels: Floats
    alike: NDArray[np.bool_]
    path: Similarity
    velocity: Complexes
    unseen_s: Floats
    time_s: float
    past: tuple[tuple[float, Similarity], ...]

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def of(cls, instances: Instances, scale: tuple[float, float], gray: NDArray[np.uint8], time_s: float) -> Bodies:
        """The objects of a frame, at rest.

        Args:
            instances: in pixels of the frame.
            scale: small pixels per pixel of the frame, in x and y.
            gray: uint8 (h, w), the small frame.
            time_s: the frame's time in seconds.
        """
        count = len(instances)
        points, weights = _points_of(instances.mask_probs, instances.boxes_xyxy, scale)
        weights *= inside(points, gray.shape)
        looks = Looks.of(points, weights, gray)
        still = Similarity.identity(count)
        return cls(
            points=points,
            weights=weights,
            looks=looks,
            levels=looks.levels,
            alike=weights > 0,
            path=still,
            velocity=still.shift,
            unseen_s=np.zeros(count, np.float32),
            time_s=time_s,
            past=((time_s, still),),
        )

    def path_at(self, time_s: float) -> Similarity:
        """The path to an earlier frame, as far back as is remembered; in between for a frame that was gone over."""
        earlier = later = self.past[-1]
        for earlier in reversed(self.past):
            if earlier[0] <= time_s:
                break
            later = earlier
        span_s = later[0] - earlier[0]
        return earlier[1].towards(later[1], (time_s - earlier[0]) / span_s) if span_s > 0 else earlier[1]

    def like(self, known: Bodies, steps: Sequence[Step]) -> Bodies:
        """After all the steps at once, by what is known of the same objects, followed from frame to frame meanwhile."""
        guess = known.path.after(known.path_at(self.time_s).inverse()).after(self.path)
        return replace(self, velocity=known.velocity).advance(*steps, guess=guess)

    def through(self, steps: Sequence[Step]) -> Bodies:
        """After all the steps. To save time the objects are looked for only after every few, and after the last one."""
        bodies = self
        begin = 0
        while begin < len(steps):
            end = begin + (1 if begin < _ALONE else _AT_ONCE)
            bodies, begin = bodies.advance(*steps[begin:end]), end
        return bodies

    def advance(self, *steps: Step, guess: Similarity | None = None) -> Bodies:
        """On the next frame, or where several steps lead; one at least.

        `guess`: paths that may be the right ones, besides what the flow says and going straight on.
        """
        count, step = len(steps), steps[-1]
        if len(self) == 0:
            return replace(self, time_s=step.time_s)
        points = self.points
        for each in steps:
            points = points + sample(each.flow, points, FLOW_STRIDE).view(np.complex64)[..., 0]
        moves = points - self.points
        usable = self.weights * (self.alike & inside(self.points, step.gray.shape))
        middle = self.looks.center[:, 0]
        before = self.path.apply(middle)
        by_flow = self._sane(fit(self.points, moves, usable), before, step.gray.shape[1], count).after(self.path)
        straight_on = Similarity(self.path.turn, self.path.shift + count * self.velocity)
        paths = (by_flow, straight_on) if guess is None else (guess, by_flow, straight_on)
        sight = nearest_look(self.looks, self.levels, paths, self.weights, step.gray)
        sight = align(self.looks, self.levels, sight, step.gray)
        alike = np.abs(sight.error) < _CHANGED
        seen = (sight.weights * alike).sum(1) >= _LEAST_SEEN * self.weights.sum(1)
        learned = np.where(alike, np.float32(_LEARNING) * (sight.shown - self.levels), np.float32(0))
        return Bodies(
            points=sight.points,
            weights=self.weights,
            looks=self.looks,
            levels=self.levels + learned,
            alike=alike,
            path=sight.path,
            velocity=((sight.path.apply(middle) - before) / count).astype(np.complex64),
            unseen_s=np.where(seen, 0, self.unseen_s + step.time_s - self.time_s).astype(np.float32),
            time_s=step.time_s,
            past=(*self.past[1 - _REMEMBERED :], (step.time_s, sight.path)),
        )

    def advance_with(self, other: Bodies, step: Step) -> tuple[Bodies, Bodies]:
        """These and other ones on the next frame, in little more time than it takes for these alone."""
        if len(self) == 0 or len(other) == 0:
            return self.advance(step), other.advance(step)
        both = replace(self, past=self.past[-1:]).join(replace(other, past=other.past[-1:])).advance(step)
        index = np.arange(len(both))
        parts = (self, both.select(index[: len(self)])), (other, both.select(index[len(self) :]))
        first, second = (replace(now, past=(*was.past[1 - _REMEMBERED :], now.past[-1])) for was, now in parts)
        return first, second

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Bodies:
        """Some of them."""
        return replace(
            self,
            points=self.points[keep],
            weights=self.weights[keep],
            looks=self.looks.select(keep),
            levels=self.levels[keep],
            alike=self.alike[keep],
            path=self.path.select(keep),
            velocity=self.velocity[keep],
            unseen_s=self.unseen_s[keep],
            past=tuple((time_s, path.select(keep)) for time_s, path in self.past),
        )

    def join(self, other: Bodies) -> Bodies:
        """These and the other ones, which lie on the same frame."""
        return replace(
            self,
            points=np.concatenate([self.points, other.points]),
            weights=np.concatenate([self.weights, other.weights]),
            looks=self.looks.join(other.looks),
            levels=np.concatenate([self.levels, other.levels]),
            alike=np.concatenate([self.alike, other.alike]),
            path=self.path.join(other.path),
            velocity=np.concatenate([self.velocity, other.velocity]),
            unseen_s=np.concatenate([self.unseen_s, other.unseen_s]),
            past=tuple((time_s, path.join(other.path_at(time_s))) for time_s, path in self.past),
        )

    def _sane(self, motion: Similarity, middle: Complexes, width: int, count: int) -> Similarity:
        """The motion of `count` steps, where it can be one; else the last one again.

        `middle`: complex64 (N,), where the objects are; `width` of the frame in small pixels.
        """
        way = np.abs(motion.apply(middle) - middle)
        growth = np.abs(motion.turn)
        in_all = growth * np.abs(self.path.turn)
        # Each is false also for what is not a number.
        believed = (
            (way <= count * _FASTEST * width)
            & (growth <= _GROWTH**count)
            & (growth >= 1 / _GROWTH**count)
            & (in_all <= _GROWTH_IN_ALL)
            & (in_all >= 1 / _GROWTH_IN_ALL)
        )
        # Only the shift is repeated: a growth that goes on by itself ends in nonsense.
        turn = np.where(believed, motion.turn, 1)
        shift = np.where(believed, motion.shift, count * self.velocity)
        return Similarity(turn.astype(np.complex64), shift.astype(np.complex64))


def _points_of(mask_probs: Floats, boxes_xyxy: Floats, scale: tuple[float, float]) -> tuple[Complexes, Floats]:
    """complex64 (N, P) points spread over the masks (N, M, M), and float32 (N, P) weights, greater towards the middle.

    Args:
        mask_probs: float32 (N, M, M).
        boxes_xyxy: float32 (N, 4), with an area, pixels of the frame.
        scale: small pixels per pixel of the frame, in x and y.
    """
    count, side = mask_probs.shape[:2]
    if count == 0:
        return np.zeros((0, POINTS), np.complex64), np.zeros((0, POINTS), np.float32)
    covered = np.zeros((count, side + 2, side + 2), np.uint8)
    covered[:, 1:-1, 1:-1] = mask_probs >= 0.5
    covered[~covered.any((1, 2)), 1:-1, 1:-1] = 1
    corners = boxes_xyxy * np.array([*scale, *scale], np.float32)
    size = np.maximum(corners[:, 2:] - corners[:, :2], 1e-3)
    # All masks below one another: the empty rows between them keep them apart. Distances are taken in cells; the
    # shorter side of the box makes them pixels.
    cells = cv2.distanceTransform(covered.reshape(-1, side + 2), cv2.DIST_L2, 3).reshape(covered.shape)[:, 1:-1, 1:-1]
    depth = cells.reshape(count, -1) * (size.min(1, keepdims=True) / side)
    inner = depth > 0.35 * depth.max(1, keepdims=True)
    # Of each mask's inner cells, which lie one after another, so many at equal steps.
    total = np.count_nonzero(inner, axis=1)
    steps = np.linspace(0, total - 1, POINTS, axis=1).round().astype(np.intp)
    chosen = np.flatnonzero(inner)[steps + (np.cumsum(total) - total)[:, None]]
    rows, columns = chosen % side**2 // side, chosen % side
    x = corners[:, :1] + (columns + 0.5) * size[:, :1] / side - 0.5
    y = corners[:, 1:2] + (rows + 0.5) * size[:, 1:] / side - 0.5
    return (x + 1j * y).astype(np.complex64), np.minimum(depth.ravel()[chosen], 8.0).astype(np.float32)
