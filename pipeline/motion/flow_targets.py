"""Objects tracked through the frames by sample points: flow predicts where they go, template alignment corrects it.

Shape letters: N objects; P points of an object; M side of a box-local mask. Points are complex numbers x + iy in flow
pixels (see `flow.py`), pixel centers on whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.motion.align import Templates, align, best_candidate, inside_frame
from pipeline.motion.flow import FLOW_STRIDE, FlowStep, sample_bilinear
from pipeline.motion.similarity import Complexes, Floats, Similarity, fit_similarity
from pipeline.records import Instances

POINTS = 48
"""Sample points per object."""
_MAX_SPEED = 0.15
"""Fraction of the frame's width that an object may move per step; more is a failure of the flow."""
_MAX_GROWTH = 1.25
"""How much an object may grow, or shrink by its inverse, per step."""
_MAX_TOTAL_GROWTH = 2.5
"""The same since the frame that its mask was computed on."""
_OCCLUDED = 30.0
"""Gray levels: a point with a larger residual is occluded."""
_LEARNING_RATE = 0.06
"""Per step: how quickly a point's expected gray level follows the observed one."""
_MIN_INLIERS = 0.25
"""Fraction of an object's points, by weight, that must be inliers; with fewer it is occluded."""

_HISTORY = 12
"""Frames for which each object's transform is kept."""

_SINGLE_STEPS, _STEPS_PER_ALIGNMENT = 2, 3
"""When a late result catches up, its objects are aligned after each of the first steps, while their velocity is
unknown; from then on after every third, with the flow of the steps chained."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """N tracked objects on one frame.

    Attributes:
        points: complex64 (N, P), sample points on this frame.
        weights: float32 (N, P), of the points: larger towards the middle of the mask.
        templates: appearance on the frame that the masks were computed on.
        intensities: float32 (N, P), gray levels expected at the points.
        inliers: bool (N, P), which points matched their expected gray level on this frame.
        transform: from the frame that the masks were computed on to this one.
        velocity: complex64 (N,), displacement of each object's center per step.
        occluded_s: float32 (N,), for how many seconds each object has had too few inliers.
        time_s: of this frame.
        history: times of the last frames, this one last, and the transform to each.
    """

    points: Complexes
    weights: Floats
    templates: Templates
    intensities: Floats
    inliers: NDArray[np.bool_]
    transform: Similarity
    velocity: Complexes
    occluded_s: Floats
    time_s: float
    history: tuple[tuple[float, Similarity], ...]

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def from_instances(
        cls, instances: Instances, scale: tuple[float, float], gray: NDArray[np.uint8], time_s: float
    ) -> Targets:
        """The objects of a frame, with velocity 0.

        Args:
            instances: in pixels of the frame.
            scale: flow pixels per pixel of the frame, in x and y.
            gray: uint8 (h, w), the frame, downscaled.
            time_s: the frame's time in seconds.
        """
        count = len(instances)
        points, weights = _sample_points(instances.mask_probs, instances.boxes_xyxy, scale)
        weights *= inside_frame(points, gray.shape)
        templates = Templates.from_points(points, weights, gray)
        identity = Similarity.identity(count)
        return cls(
            points=points,
            weights=weights,
            templates=templates,
            intensities=templates.intensities,
            inliers=weights > 0,
            transform=identity,
            velocity=identity.translation,
            occluded_s=np.zeros(count, np.float32),
            time_s=time_s,
            history=((time_s, identity),),
        )

    def transform_at(self, time_s: float) -> Similarity:
        """The transform to an earlier frame, interpolated between those in the history."""
        earlier = later = self.history[-1]
        for earlier in reversed(self.history):
            if earlier[0] <= time_s:
                break
            later = earlier
        span_s = later[0] - earlier[0]
        return earlier[1].interpolate(later[1], (time_s - earlier[0]) / span_s) if span_s > 0 else earlier[1]

    def advance_like(self, reference: Targets, steps: Sequence[FlowStep]) -> Targets:
        """Advances by all steps at once, with the motion of the same objects in `reference` as a candidate."""
        candidate = reference.transform.compose(reference.transform_at(self.time_s).inverse()).compose(self.transform)
        return replace(self, velocity=reference.velocity).advance(*steps, candidate=candidate)

    def advance_through(self, steps: Sequence[FlowStep]) -> Targets:
        """Advances by all steps. To save time, objects are aligned only after every few, and after the last one."""
        targets = self
        begin = 0
        while begin < len(steps):
            end = begin + (1 if begin < _SINGLE_STEPS else _STEPS_PER_ALIGNMENT)
            targets, begin = targets.advance(*steps[begin:end]), end
        return targets

    def advance(self, *steps: FlowStep, candidate: Similarity | None = None) -> Targets:
        """Advances by one step or more, whose flow is chained, and aligns the objects on the last frame.

        Args:
            steps: at least one.
            candidate: transforms to try besides those of the flow and of constant velocity.
        """
        count, step = len(steps), steps[-1]
        if len(self) == 0:
            return replace(self, time_s=step.time_s)
        points = self.points
        for each in steps:
            points = points + sample_bilinear(each.flow, points, FLOW_STRIDE).view(np.complex64)[..., 0]
        displacements = points - self.points
        usable = self.weights * (self.inliers & inside_frame(self.points, step.gray.shape))
        template_center = self.templates.center[:, 0]
        center = self.transform.apply(template_center)
        motion = fit_similarity(self.points, displacements, usable)
        by_flow = self._plausible(motion, center, step.gray.shape[1], count).compose(self.transform)
        by_velocity = Similarity(self.transform.linear, self.transform.translation + count * self.velocity)
        candidates = (by_flow, by_velocity) if candidate is None else (candidate, by_flow, by_velocity)
        registration = best_candidate(self.templates, self.intensities, candidates, self.weights, step.gray)
        registration = align(self.templates, self.intensities, registration, step.gray)
        inliers = np.abs(registration.residuals) < _OCCLUDED
        visible = (registration.weights * inliers).sum(1) >= _MIN_INLIERS * self.weights.sum(1)
        error = registration.intensities - self.intensities
        learned = np.where(inliers, np.float32(_LEARNING_RATE) * error, np.float32(0))
        moved = registration.transform.apply(template_center) - center
        return Targets(
            points=registration.points,
            weights=self.weights,
            templates=self.templates,
            intensities=self.intensities + learned,
            inliers=inliers,
            transform=registration.transform,
            velocity=(moved / count).astype(np.complex64),
            occluded_s=np.where(visible, 0, self.occluded_s + step.time_s - self.time_s).astype(np.float32),
            time_s=step.time_s,
            history=(*self.history[1 - _HISTORY :], (step.time_s, registration.transform)),
        )

    def advance_jointly(self, other: Targets, step: FlowStep) -> tuple[Targets, Targets]:
        """Advances these and other targets by one step, in little more time than these alone take."""
        if len(self) == 0 or len(other) == 0:
            return self.advance(step), other.advance(step)
        both = replace(self, history=self.history[-1:]).concatenate(replace(other, history=other.history[-1:]))
        both = both.advance(step)
        index = np.arange(len(both))
        parts = (self, both.select(index[: len(self)])), (other, both.select(index[len(self) :]))
        first, second = (replace(now, history=(*was.history[1 - _HISTORY :], now.history[-1])) for was, now in parts)
        return first, second

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Targets:
        """The targets that a boolean mask or an index array picks."""
        return replace(
            self,
            points=self.points[keep],
            weights=self.weights[keep],
            templates=self.templates.select(keep),
            intensities=self.intensities[keep],
            inliers=self.inliers[keep],
            transform=self.transform.select(keep),
            velocity=self.velocity[keep],
            occluded_s=self.occluded_s[keep],
            history=tuple((time_s, transform.select(keep)) for time_s, transform in self.history),
        )

    def concatenate(self, other: Targets) -> Targets:
        """These targets followed by the other ones, which lie on the same frame."""
        return replace(
            self,
            points=np.concatenate([self.points, other.points]),
            weights=np.concatenate([self.weights, other.weights]),
            templates=self.templates.concatenate(other.templates),
            intensities=np.concatenate([self.intensities, other.intensities]),
            inliers=np.concatenate([self.inliers, other.inliers]),
            transform=self.transform.concatenate(other.transform),
            velocity=np.concatenate([self.velocity, other.velocity]),
            occluded_s=np.concatenate([self.occluded_s, other.occluded_s]),
            history=tuple(
                (time_s, transform.concatenate(other.transform_at(time_s))) for time_s, transform in self.history
            ),
        )

    def _plausible(self, motion: Similarity, center: Complexes, width: int, count: int) -> Similarity:
        """The motion of `count` steps where it is plausible; elsewhere the constant-velocity motion.

        Args:
            motion: fitted to the flow.
            center: complex64 (N,), of the objects before it.
            width: of the frame, flow pixels.
            count: steps.
        """
        distance = np.abs(motion.apply(center) - center)
        growth = np.abs(motion.linear)
        total_growth = growth * np.abs(self.transform.linear)
        # Each comparison is also False for NaN.
        plausible = (
            (distance <= count * _MAX_SPEED * width)
            & (growth <= _MAX_GROWTH**count)
            & (growth >= 1 / _MAX_GROWTH**count)
            & (total_growth <= _MAX_TOTAL_GROWTH)
            & (total_growth >= 1 / _MAX_TOTAL_GROWTH)
        )
        # Only the translation is extrapolated: extrapolated scale diverges.
        linear = np.where(plausible, motion.linear, 1)
        translation = np.where(plausible, motion.translation, count * self.velocity)
        return Similarity(linear.astype(np.complex64), translation.astype(np.complex64))


def _sample_points(mask_probs: Floats, boxes_xyxy: Floats, scale: tuple[float, float]) -> tuple[Complexes, Floats]:
    """complex64 (N, P) points spread over the masks, and float32 (N, P) weights, larger towards the middle.

    Args:
        mask_probs: float32 (N, M, M).
        boxes_xyxy: float32 (N, 4), with an area, pixels of the frame.
        scale: flow pixels per pixel of the frame, in x and y.
    """
    count, side = mask_probs.shape[:2]
    if count == 0:
        return np.zeros((0, POINTS), np.complex64), np.zeros((0, POINTS), np.float32)
    foreground = np.zeros((count, side + 2, side + 2), np.uint8)
    foreground[:, 1:-1, 1:-1] = mask_probs >= 0.5
    foreground[~foreground.any((1, 2)), 1:-1, 1:-1] = 1
    corners = boxes_xyxy * np.array([*scale, *scale], np.float32)
    size = np.maximum(corners[:, 2:] - corners[:, :2], 1e-3)
    # All masks stacked into one image: the empty rows between them keep them apart. Distances are in cells; the
    # shorter side of the box converts them to pixels.
    stacked = foreground.reshape(-1, side + 2)
    cells = cv2.distanceTransform(stacked, cv2.DIST_L2, 3).reshape(foreground.shape)[:, 1:-1, 1:-1]
    depth = cells.reshape(count, -1) * (size.min(1, keepdims=True) / side)
    inner = depth > 0.35 * depth.max(1, keepdims=True)
    # POINTS evenly spaced indices into each mask's inner cells, which are consecutive in the flattened array.
    total = np.count_nonzero(inner, axis=1)
    steps = np.linspace(0, total - 1, POINTS, axis=1).round().astype(np.intp)
    chosen = np.flatnonzero(inner)[steps + (np.cumsum(total) - total)[:, None]]
    rows, columns = chosen % side**2 // side, chosen % side
    x = corners[:, :1] + (columns + 0.5) * size[:, :1] / side - 0.5
    y = corners[:, 1:2] + (rows + 0.5) * size[:, 1:] / side - 0.5
    return (x + 1j * y).astype(np.complex64), np.minimum(depth.ravel()[chosen], 8.0).astype(np.float32)
