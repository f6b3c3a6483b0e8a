"""What is on screen, and how it goes over into a new result without a jump.

Shape letters: N objects on screen; M side of a box-local mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.motion.bodies import Bodies
from pipeline.motion.match import match
from pipeline.motion.placement import clip, place
from pipeline.motion.similarity import Floats
from pipeline.records import Frame, Instances

UNSEEN_S = 0.2
"""Seconds for which an object may be covered before it fades."""
_INVISIBLE = 0.02

Scale = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """N objects on screen.

    Attributes:
        origin: the instances as they were computed, in pixels of the frame that they were computed on.
        bodies: their way from there to the frame on screen.
        computed_s: float64 (N,), time of the frame that each was computed on, on the source's clock.
        opacity: float32 (N,).
        leaving: bool (N,), whether the newest result no longer has it.
        landed_s: float64 (N,), when its result came: the glide into it begins then.
        offset: float32 (N, 4), pixels: how far its box was from the new one then.
        old_masks: float32 (N, M, M), what its mask was then.
    """

    origin: Instances
    bodies: Bodies
    computed_s: NDArray[np.float64]
    opacity: Floats
    leaving: NDArray[np.bool_]
    landed_s: NDArray[np.float64]
    offset: Floats
    old_masks: Floats

    def __len__(self) -> int:
        return len(self.origin)

    @classmethod
    def new(cls, origin: Instances, bodies: Bodies, computed_s: float) -> Shown:
        """Objects that were not on screen before: invisible as yet."""
        count = len(origin)
        return cls(
            origin=origin,
            bodies=bodies,
            computed_s=np.full(count, computed_s),
            opacity=np.zeros(count, np.float32),
            leaving=np.zeros(count, np.bool_),
            landed_s=np.full(count, -np.inf),
            offset=np.zeros((count, 4), np.float32),
            old_masks=origin.mask_probs,
        )

    @classmethod
    def nothing(cls) -> Shown:
        """An empty screen."""
        empty = Instances.empty()
        return cls.new(empty, Bodies.of(empty, (1.0, 1.0), np.zeros((16, 16), np.uint8), 0.0), 0.0)

    def on_the_way(self, bodies: Bodies) -> Shown:
        """With the same bodies farther on their way."""
        return self._with(bodies, self.opacity)

    def _with(self, bodies: Bodies, opacity: Floats) -> Shown:
        """`replace`, at a third of its time."""
        origin, computed_s, old_masks = self.origin, self.computed_s, self.old_masks
        return Shown(origin, bodies, computed_s, opacity, self.leaving, self.landed_s, self.offset, old_masks)

    def fade(self, time_s: float, elapsed_s: float, fade_s: float, max_age_s: float) -> Shown:
        """With the opacities `elapsed_s` later; what has left and faded is gone."""
        if len(self) == 0:
            return self
        remaining_s = max_age_s - (time_s - self.computed_s)
        target = np.clip(remaining_s / fade_s, 0, 1) if fade_s > 0 else remaining_s > 0
        target = np.where(self.leaving | (self.bodies.unseen_s > UNSEEN_S), 0, target * _opacity(self.origin))
        # The first frame of a run has no elapsed time; something should be seen to begin.
        most = max(elapsed_s, 1 / 60) / fade_s if fade_s > 0 else 1.0
        opacity = self.opacity + np.clip(target - self.opacity, -most, most)
        shown = self._with(self.bodies, opacity.astype(np.float32))
        gone = self.leaving & (opacity <= _INVISIBLE)
        return shown.select(~gone) if gone.any() else shown

    def place(self, scale: Scale, time_s: float, blend_s: float) -> Instances:
        """The objects where they are now, partly outside the frame perhaps, in the order that they are kept."""
        boxes, masks = self._placed(scale, time_s, blend_s)
        return replace(self.origin, boxes_xyxy=boxes, mask_probs=masks, opacity=self.opacity)

    def _placed(self, scale: Scale, time_s: float, blend_s: float) -> tuple[Floats, Floats]:
        """Boxes float32 (N, 4) and masks float32 (N, M, M) of `place`."""
        boxes, masks = place(self.origin.boxes_xyxy, self.origin.mask_probs, self.bodies.path, scale)
        if blend_s > 0:
            past = 1 - np.clip((time_s - self.landed_s) / blend_s, 0, 1)
            blending = np.flatnonzero(past > 0)
            if len(blending):
                past = (past * past * (3 - 2 * past)).astype(np.float32)
                boxes = np.asarray(boxes + past[:, None] * self.offset, np.float32)
                masks = masks.copy()
                share = past[blending, None, None]
                masks[blending] += share * (self.old_masks[blending] - masks[blending])
        return boxes, masks

    def on_frame(self, scale: Scale, frame: Frame, blend_s: float) -> Instances:
        """What is to be drawn: inside the frame, visible, best score first."""
        boxes, masks = self._placed(scale, frame.pts_s, blend_s)
        boxes, masks, inside = clip(boxes, masks, frame.width, frame.height)
        visible = inside & (self.opacity > _INVISIBLE)
        order = np.argsort(-self.origin.scores, kind="stable")
        order = order[visible[order]]
        opacity = None if (self.opacity >= 1).all() else self.opacity
        drawn = replace(self.origin, boxes_xyxy=boxes, mask_probs=masks, opacity=opacity)
        return drawn if len(order) == len(self) and (order[1:] > order[:-1]).all() else drawn.select(order)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Shown:
        """Some of them."""
        return Shown(
            origin=self.origin.select(keep),
            bodies=self.bodies.select(keep),
            computed_s=self.computed_s[keep],
            opacity=self.opacity[keep],
            leaving=self.leaving[keep],
            landed_s=self.landed_s[keep],
            offset=self.offset[keep],
            old_masks=self.old_masks[keep],
        )

    def join(self, other: Shown) -> Shown:
        """These and other objects, on the same frame."""
        side = self.origin.mask_probs.shape[1]
        return Shown(
            origin=_join_instances(self.origin, other.origin),
            bodies=self.bodies.join(other.bodies),
            computed_s=np.concatenate([self.computed_s, other.computed_s]),
            opacity=np.concatenate([self.opacity, other.opacity]),
            leaving=np.concatenate([self.leaving, other.leaving]),
            landed_s=np.concatenate([self.landed_s, other.landed_s]),
            offset=np.concatenate([self.offset, other.offset]),
            old_masks=np.concatenate([self.old_masks, _resized(other.old_masks, side)]),
        )


def successor(before: Shown, found: Shown, scale: Scale, time_s: float, elapsed_s: float, blend_s: float) -> Shown:
    """What is on screen once a new result has come.

    Args:
        before: what was on screen, on this frame.
        found: the new result, brought to this frame.
        scale: small pixels per pixel of the frame, in x and y.
        time_s: this frame's time.
        elapsed_s: since the frame before.
        blend_s: how long the glide takes; 0 for none.
    """
    old = before.place(scale, time_s, blend_s)
    new = found.place(scale, time_s, 0.0)
    pairs = match(old, new)
    landed = replace(
        found,
        opacity=found.opacity.copy(),
        landed_s=found.landed_s.copy(),
        offset=found.offset.copy(),
        old_masks=new.mask_probs.copy(),
    )
    old_masks = _resized(old.mask_probs, new.mask_probs.shape[1])
    for i, j in pairs:
        landed.opacity[j] = before.opacity[i]
        # The glide has begun on the way to this frame: otherwise the first frame of each result would stand still.
        landed.landed_s[j] = time_s - elapsed_s
        landed.offset[j] = old.boxes_xyxy[i] - new.boxes_xyxy[j]
        landed.old_masks[j] = old_masks[i]
    left = np.ones(len(before), np.bool_)
    left[[i for i, _ in pairs]] = False
    if not left.any():
        return landed
    leaving = before.select(left)
    return landed.join(replace(leaving, leaving=np.ones(len(leaving), np.bool_)))


def _join_instances(first: Instances, second: Instances) -> Instances:
    ids = None
    if first.track_ids is not None or second.track_ids is not None:
        ids = np.concatenate([_track_ids(first), _track_ids(second)])
    return Instances(
        np.concatenate([first.boxes_xyxy, second.boxes_xyxy]),
        np.concatenate([first.class_ids, second.class_ids]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.mask_probs, _resized(second.mask_probs, first.mask_probs.shape[1])]),
        ids,
        np.concatenate([_opacity(first), _opacity(second)]),
    )


def _opacity(instances: Instances) -> Floats:
    return instances.opacity if instances.opacity is not None else np.ones(len(instances), np.float32)


def _track_ids(instances: Instances) -> NDArray[np.int32]:
    return instances.track_ids if instances.track_ids is not None else np.zeros(len(instances), np.int32)


def _resized(masks: Floats, side: int) -> Floats:
    """Masks (N, M, M) on a grid of another side; networks keep theirs, so that this is for the first result only."""
    if masks.shape[1] == side:
        return masks
    resized = [cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR) for mask in masks]
    return np.array(resized, np.float32).reshape(len(masks), side, side)
