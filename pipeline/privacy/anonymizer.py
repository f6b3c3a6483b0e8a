"""Anonymizes frames: redacts objects of the chosen classes before anything is shown, stored or served.

It fails closed. A pixel stays visible only if the network has recently inferred a frame that looks the same there;
where that is unknown, the whole frame is redacted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.palette import parse_color
from pipeline.geometry import greedy_pairs, iou_matrix
from pipeline.labels import resolve_classes
from pipeline.privacy.redaction_mask import Mask, MaskGrid, change_mask, dilate, downscaled_gray, instances_mask
from pipeline.records import Detections, Frame, Instances, UnredactedFrame
from pipeline.settings.presentation_settings import PrivacyMode, PrivacySettings

Image = NDArray[np.uint8]

_MATCH_IOU = 0.2
"""Objects of two results whose boxes overlap by this much may be the same."""
_CHANGE_MARGIN = 0.03
"""Of the frame's height, added to the margin around changes: parts of a person may look like the background."""


@dataclass(frozen=True, slots=True)
class _Lost:
    """Objects that later results do not contain.

    Attributes:
        instances: in pixels of the frame they were last found on.
        pts_s: time of that frame, seconds on the source's clock.
        shape: (H, W, 3) of that frame.
    """

    instances: Instances
    pts_s: float
    shape: tuple[int, ...]


class Anonymizer:
    """Redacts objects in the frames of a run, in order.

    Args:
        settings: what is redacted, how, and when the whole frame is.
        labels: class names by class id.

    Raises:
        InputError: the model does not have one of the classes.
    """

    def __init__(self, settings: PrivacySettings, labels: tuple[str, ...]) -> None:
        if not settings.on:
            raise ValueError("Anonymizer needs a mode other than off")
        self._settings = settings
        self._class_ids = sorted(resolve_classes(settings.classes, labels, "privacy.classes"))
        self._detections: Detections | None = None
        self._found = Instances.empty()
        self._lost: list[_Lost] = []
        self._detections_gray: NDArray[np.float32] | None = None

    def apply(self, captured: UnredactedFrame, image_bgr: Image) -> Image:
        """Redacts an image.

        Args:
            captured: the frame as it was captured, with the detections that decide what is redacted.
            image_bgr: uint8 (H, W, 3), what is to be shown of that frame; not changed.

        Returns:
            uint8 (H, W, 3), a new array.
        """
        redacted = self._redacted(image_bgr)
        mask = self._mask(captured)
        if mask is None:
            return redacted
        result = image_bgr.copy()
        cv2.copyTo(redacted, MaskGrid.for_image(image_bgr).to_frame(mask), result)
        return result

    def _mask(self, captured: UnredactedFrame) -> Mask | None:
        """uint8 (h, w), nonzero where the frame must be redacted; None for everywhere."""
        frame, detections = captured.frame, captured.detections
        if detections is None:
            return None
        if self._detections is None or detections.frame is not self._detections.frame:
            self._update(detections)
        if frame.index != detections.frame.index and not _follows(detections.frame, frame):
            return None
        shape = frame.image_bgr.shape
        if shape != detections.frame.image_bgr.shape or detections.truncated or not self._all_finite():
            return None
        if frame.pts_s - detections.frame.pts_s > self._settings.late_after_s:
            return None
        held = [lost for lost in self._lost if frame.pts_s - lost.pts_s <= self._settings.hold_s]
        if any(lost.shape != shape for lost in held):
            return None
        grid = MaskGrid.for_image(frame.image_bgr)
        mask = self._dilated(self._found, detections.frame.pts_s, frame, grid)
        for lost in held:
            mask |= self._dilated(lost.instances, lost.pts_s, frame, grid)
        if frame is not detections.frame:
            mask |= self._dilated(self._sensitive(captured.instances), frame.pts_s, frame, grid)
            if self._settings.cover_changes:
                mask |= self._changes(detections.frame, frame, grid)
        return mask

    def _dilated(self, instances: Instances, pts_s: float, frame: Frame, grid: MaskGrid) -> Mask:
        """Masks of objects found at `pts_s`, dilated by the margin and by how far they may have moved since."""
        reach = self._settings.margin + self._settings.spread * max(0.0, frame.pts_s - pts_s)
        return dilate(instances_mask(instances, grid), reach * grid.height)

    def _changes(self, before: Frame, now: Frame, grid: MaskGrid) -> Mask:
        if self._detections_gray is None:
            self._detections_gray = downscaled_gray(before.image_bgr, grid)
        changed = change_mask(self._detections_gray, downscaled_gray(now.image_bgr, grid))
        return dilate(changed, (self._settings.margin + _CHANGE_MARGIN) * grid.height)

    def _update(self, detections: Detections) -> None:
        """Takes a new result. Earlier objects that match none of its objects are held as lost."""
        if self._detections is not None and not _follows(self._detections.frame, detections.frame):
            self._detections, self._lost = None, []
        found = self._sensitive(detections.instances)
        now_s, shape = detections.frame.pts_s, detections.frame.image_bgr.shape
        previous = []
        if self._detections is not None:
            before = self._detections.frame
            previous.append(_Lost(self._found, before.pts_s, before.image_bgr.shape))
        matched = np.zeros(len(found), np.bool_)
        lost: list[_Lost] = []
        for earlier in [*previous, *reversed(self._lost)]:  # newest first: a match is with the latest occurrence
            unmatched = np.ones(len(earlier.instances), np.bool_)
            ious = iou_matrix(earlier.instances.boxes_xyxy, found.boxes_xyxy)
            # Boxes in the pixels of another resolution match nothing: their objects are held as lost.
            ious[:, matched if earlier.shape == shape else slice(None)] = -1.0
            for row, column in greedy_pairs(ious, _MATCH_IOU):
                unmatched[row], matched[column] = False, True
            if unmatched.any() and now_s - earlier.pts_s <= self._settings.hold_s:
                lost.append(_Lost(earlier.instances.select(unmatched), earlier.pts_s, earlier.shape))
        lost.reverse()
        self._detections, self._found, self._lost, self._detections_gray = detections, found, lost, None

    def _sensitive(self, instances: Instances) -> Instances:
        """The instances that must be redacted."""
        # A score that is NaN is not below the threshold.
        keep = np.isin(instances.class_ids, self._class_ids) & ~(instances.scores < self._settings.min_score)
        return instances.select(np.asarray(keep, np.bool_))

    def _all_finite(self) -> bool:
        """Whether all boxes and masks are free of NaN and infinity."""
        found = (self._found, *(lost.instances for lost in self._lost))
        arrays = (array for instances in found for array in (instances.boxes_xyxy, instances.mask_probs))
        return all(bool(np.isfinite(array).all()) for array in arrays)

    def _redacted(self, image_bgr: Image) -> Image:
        """The whole image redacted: a single color, or no detail finer than a cell."""
        if self._settings.mode is PrivacyMode.SILHOUETTE:
            return np.full(image_bgr.shape, parse_color(self._settings.color), np.uint8)
        blur = self._settings.mode is PrivacyMode.BLUR
        return coarsen(image_bgr, self._settings.cells, cv2.INTER_LINEAR if blur else cv2.INTER_NEAREST)


def _follows(before: Frame, now: Frame) -> bool:
    """Whether `now` is a later frame of the same video. Still images are unrelated, and all of them have pts 0."""
    return before.source_id == now.source_id and before.pts_s < now.pts_s


def coarsen(image_bgr: Image, cells: int, interpolation: int) -> Image:
    """Reduces an image to `cells` cells along its shorter side, each of its mean color, and scales it back up."""
    height, width = image_bgr.shape[:2]
    scale = min(1.0, cells / min(height, width))
    small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_bgr, small_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=interpolation), np.uint8)
