"""The objects on screen, and their transition to a new result: boxes and masks blend, opacities fade.

Shape letters: N objects on screen; M side of a box-local mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import iou_matrix, mask_iou
from pipeline.motion.flow_targets import Targets
from pipeline.motion.similarity import Floats, clip_to_frame, warp
from pipeline.records import Frame, Instances

MAX_OCCLUDED_S = 0.2
"""Seconds for which an object may be occluded before it fades out."""
_INVISIBLE = 0.02

Scale = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class DisplayState:
    """N objects on screen.

    Attributes:
        source: the instances as they were computed, in pixels of the frame that they were computed on.
        targets: their motion from that frame to the one on screen.
        computed_s: float64 (N,), time of the frame that each was computed on, on the source's clock.
        opacity: float32 (N,).
        fading_out: bool (N,), whether the newest result lacks the object.
        blend_start_s: float64 (N,), when the blend into the newest result started.
        box_offset: float32 (N, 4), pixels: old box minus new box at that time.
        old_masks: float32 (N, M, M), the masks at that time.
    """

    source: Instances
    targets: Targets
    computed_s: NDArray[np.float64]
    opacity: Floats
    fading_out: NDArray[np.bool_]
    blend_start_s: NDArray[np.float64]
    box_offset: Floats
    old_masks: Floats

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def invisible(cls, source: Instances, targets: Targets, computed_s: float) -> DisplayState:
        """Objects that were not on screen before, with opacity 0."""
        count = len(source)
        return cls(
            source=source,
            targets=targets,
            computed_s=np.full(count, computed_s),
            opacity=np.zeros(count, np.float32),
            fading_out=np.zeros(count, np.bool_),
            blend_start_s=np.full(count, -np.inf),
            box_offset=np.zeros((count, 4), np.float32),
            old_masks=source.mask_probs,
        )

    @classmethod
    def empty(cls) -> DisplayState:
        """An empty screen."""
        none = Instances.empty()
        return cls.invisible(none, Targets.from_instances(none, (1.0, 1.0), np.zeros((16, 16), np.uint8), 0.0), 0.0)

    def with_targets(self, targets: Targets) -> DisplayState:
        """The same objects, advanced to another frame."""
        return self._with(targets, self.opacity)

    def _with(self, targets: Targets, opacity: Floats) -> DisplayState:
        """`dataclasses.replace` in a third of its time."""
        source, computed_s, old_masks = self.source, self.computed_s, self.old_masks
        start_s, offset = self.blend_start_s, self.box_offset
        return DisplayState(source, targets, computed_s, opacity, self.fading_out, start_s, offset, old_masks)

    def fade(self, time_s: float, elapsed_s: float, fade_s: float, max_age_s: float) -> DisplayState:
        """The state with its opacities `elapsed_s` later, without the objects that have faded out."""
        if len(self) == 0:
            return self
        remaining_s = max_age_s - (time_s - self.computed_s)
        target = np.clip(remaining_s / fade_s, 0, 1) if fade_s > 0 else remaining_s > 0
        hidden = self.fading_out | (self.targets.occluded_s > MAX_OCCLUDED_S)
        target = np.where(hidden, 0, target * _opacity(self.source))
        # The first frame of a run has no elapsed time, but its objects must become visible.
        max_change = max(elapsed_s, 1 / 60) / fade_s if fade_s > 0 else 1.0
        opacity = self.opacity + np.clip(target - self.opacity, -max_change, max_change)
        faded = self._with(self.targets, opacity.astype(np.float32))
        gone = self.fading_out & (opacity <= _INVISIBLE)
        return faded.select(~gone) if gone.any() else faded

    def boxes_and_masks(self, scale: Scale, time_s: float, blend_s: float) -> tuple[Floats, Floats]:
        """Boxes float32 (N, 4) and masks float32 (N, M, M) at a time; they may lie outside the frame."""
        boxes, masks = warp(self.source.boxes_xyxy, self.source.mask_probs, self.targets.transform, scale)
        if blend_s > 0:
            old_weight = 1 - np.clip((time_s - self.blend_start_s) / blend_s, 0, 1)
            blending = np.flatnonzero(old_weight > 0)
            if len(blending):
                old_weight = (old_weight * old_weight * (3 - 2 * old_weight)).astype(np.float32)  # smoothstep
                boxes = np.asarray(boxes + old_weight[:, None] * self.box_offset, np.float32)
                masks = masks.copy()
                masks[blending] += old_weight[blending, None, None] * (self.old_masks[blending] - masks[blending])
        return boxes, masks

    def visible_instances(self, scale: Scale, frame: Frame, blend_s: float) -> Instances:
        """The objects to draw: visible, clipped to the frame, best score first."""
        boxes, masks = self.boxes_and_masks(scale, frame.pts_s, blend_s)
        boxes, masks, inside = clip_to_frame(boxes, masks, frame.width, frame.height)
        visible = inside & (self.opacity > _INVISIBLE)
        order = np.argsort(-self.source.scores, kind="stable")
        order = order[visible[order]]
        opacity = None if (self.opacity >= 1).all() else self.opacity
        drawn = replace(self.source, boxes_xyxy=boxes, mask_probs=masks, opacity=opacity)
        return drawn if len(order) == len(self) and (order[1:] > order[:-1]).all() else drawn.select(order)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> DisplayState:
        """The objects that a boolean mask or an index array picks."""
        return DisplayState(
            source=self.source.select(keep),
            targets=self.targets.select(keep),
            computed_s=self.computed_s[keep],
            opacity=self.opacity[keep],
            fading_out=self.fading_out[keep],
            blend_start_s=self.blend_start_s[keep],
            box_offset=self.box_offset[keep],
            old_masks=self.old_masks[keep],
        )

    def concatenate(self, other: DisplayState) -> DisplayState:
        """These objects followed by the other ones, which lie on the same frame."""
        side = self.source.mask_probs.shape[1]
        return DisplayState(
            source=_concatenate_instances(self.source, other.source),
            targets=self.targets.concatenate(other.targets),
            computed_s=np.concatenate([self.computed_s, other.computed_s]),
            opacity=np.concatenate([self.opacity, other.opacity]),
            fading_out=np.concatenate([self.fading_out, other.fading_out]),
            blend_start_s=np.concatenate([self.blend_start_s, other.blend_start_s]),
            box_offset=np.concatenate([self.box_offset, other.box_offset]),
            old_masks=np.concatenate([self.old_masks, _resized(other.old_masks, side)]),
        )


def start_transition(
    before: DisplayState, result: DisplayState, scale: Scale, time_s: float, elapsed_s: float, blend_s: float
) -> DisplayState:
    """The state on a frame where a new result replaces what is on screen.

    Args:
        before: on screen until now, advanced to this frame.
        result: the new result, advanced to this frame.
        scale: flow pixels per pixel of the frame, in x and y.
        time_s: this frame's time.
        elapsed_s: since the frame before.
        blend_s: duration of the blend; 0 for none.
    """
    old_boxes, old_masks = before.boxes_and_masks(scale, time_s, blend_s)
    new_boxes, new_masks = result.boxes_and_masks(scale, time_s, 0.0)
    pairs = match(
        replace(before.source, boxes_xyxy=old_boxes, mask_probs=old_masks),
        replace(result.source, boxes_xyxy=new_boxes, mask_probs=new_masks),
    )
    after = replace(
        result,
        opacity=result.opacity.copy(),
        blend_start_s=result.blend_start_s.copy(),
        box_offset=result.box_offset.copy(),
        old_masks=new_masks.copy(),
    )
    old_masks = _resized(old_masks, new_masks.shape[1])
    for i, j in pairs:
        after.opacity[j] = before.opacity[i]
        # The blend starts at the frame before: otherwise nothing would move on the first frame of each result.
        after.blend_start_s[j] = time_s - elapsed_s
        after.box_offset[j] = old_boxes[i] - new_boxes[j]
        after.old_masks[j] = old_masks[i]
    unmatched = np.ones(len(before), np.bool_)
    unmatched[[i for i, _ in pairs]] = False
    if not unmatched.any():
        return after
    vanished = before.select(unmatched)
    return after.concatenate(replace(vanished, fading_out=np.ones(len(vanished), np.bool_)))


def _concatenate_instances(first: Instances, second: Instances) -> Instances:
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
    """Masks (N, M, M) resized to another M. A network keeps its M, so this happens at its first result only."""
    if masks.shape[1] == side:
        return masks
    resized = [cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR) for mask in masks]
    return np.array(resized, np.float32).reshape(len(masks), side, side)


MIN_IOU = 0.2
"""Lowest mask IoU of a match."""
_GRID = 32
"""Side of the grid on which masks are compared."""


def match(displayed: Instances, detected: Instances) -> list[tuple[int, int]]:
    """Pairs (index on screen, index in the new result), each object at most once.

    Objects with the same track id match; the others by optimal assignment on mask IoU within their class.
    """
    pairs = match_by_track_id(displayed, detected)
    old = np.setdiff1d(np.arange(len(displayed)), [i for i, _ in pairs])
    new = np.setdiff1d(np.arange(len(detected)), [j for _, j in pairs])
    ious = _mask_iou_matrix(displayed.select(old), detected.select(new))
    from scipy.optimize import linear_sum_assignment  # `FlowCarrier` has imported it, once the window was there

    rows, columns = linear_sum_assignment(ious, maximize=True)
    matched = ious[rows, columns] >= MIN_IOU
    return pairs + list(zip(old[rows[matched]].tolist(), new[columns[matched]].tolist(), strict=True))


def match_by_track_id(displayed: Instances, detected: Instances) -> list[tuple[int, int]]:
    """The pairs with the same track id."""
    if displayed.track_ids is None or detected.track_ids is None:
        return []
    index_by_id = {int(track_id): i for i, track_id in enumerate(displayed.track_ids) if track_id > 0}
    pairs = []
    for j, track_id in enumerate(detected.track_ids):
        i = index_by_id.pop(int(track_id), None)
        if i is not None:
            pairs.append((i, j))
    return pairs


def _mask_iou_matrix(displayed: Instances, detected: Instances) -> NDArray[np.float32]:
    """float32 (N, K): mask IoU; 0 across classes, between different track ids, and for boxes that hardly overlap."""
    box_ious = iou_matrix(displayed.boxes_xyxy, detected.boxes_xyxy)
    comparable = (box_ious > MIN_IOU / 4) & (displayed.class_ids[:, None] == detected.class_ids)
    if displayed.track_ids is not None and detected.track_ids is not None:
        comparable &= ~((displayed.track_ids > 0)[:, None] & (detected.track_ids > 0))
    rows, columns = np.nonzero(comparable)
    ious = np.zeros_like(box_ious)
    ious[rows, columns] = mask_iou(
        displayed.boxes_xyxy[rows],
        displayed.mask_probs[rows],
        detected.boxes_xyxy[columns],
        detected.mask_probs[columns],
        _GRID,
    )
    return ious
