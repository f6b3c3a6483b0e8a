"""Privacy: objects of chosen classes are covered before anything is shown, stored or served.

It fails closed. What is uncovered was looked at by the network lately, in a frame that looks the same there; while that
cannot be said of a frame, all of it is covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.labels import resolve_classes
from pipeline.privacy.coverage import (
    Plane,
    PlaneSize,
    changes_plane,
    match_once,
    overlaps,
    shapes_plane,
    small_gray,
    widened,
)
from pipeline.records import Detections, Frame, Instances, UnredactedFrame
from pipeline.settings.privacy_settings import PrivacyMode, PrivacySettings

Image = NDArray[np.uint8]

_SAME_OBJECT = 0.2
"""Boxes of two results that overlap by this much may be the same object."""
_CHANGE_MARGIN = 0.03
"""Of the frame's height, besides the margin: parts of somebody may look like what was there before."""


@dataclass(frozen=True, slots=True)
class _Missed:
    """Objects that were found once, and not since.

    Attributes:
        instances: in pixels of their own frame.
        pts_s: when that frame was, seconds on the source's clock.
    """

    instances: Instances
    pts_s: float


class Privacy:
    """Covers objects in the frames of a run, in order.

    Args:
        settings: what is covered, how, and when everything is.
        labels: class names by class id.

    Raises:
        InputError: the model does not have one of the classes.
    """

    def __init__(self, settings: PrivacySettings, labels: tuple[str, ...]) -> None:
        if not settings.on:
            raise ValueError("Privacy needs a mode that covers")
        self._settings = settings
        self._class_ids = sorted(class_ids("privacy.classes", settings.classes, labels))
        self._finding: Detections | None = None
        self._found = Instances.empty()
        self._missed: list[_Missed] = []
        self._finding_gray: NDArray[np.float32] | None = None

    def cover(self, segmented: UnredactedFrame, image_bgr: Image) -> Image:
        """The image with everything covered that has to be.

        Args:
            segmented: the frame as it was captured, with the finding it is to be judged by.
            image_bgr: uint8 (H, W, 3), what is to be shown of that frame; not changed.

        Returns:
            uint8 (H, W, 3), memory of its own.
        """
        covered = self._obscured(image_bgr)
        plane = self._plane(segmented)
        if plane is None:
            return covered
        mask = PlaneSize.of(image_bgr).on_frame(plane)
        shown = image_bgr.copy()
        cv2.copyTo(covered, mask, shown)
        return shown

    def _plane(self, segmented: UnredactedFrame) -> Plane | None:
        """uint8 (h, w), not 0 where the frame is to be covered; None for everywhere."""
        frame, finding = segmented.frame, segmented.detections
        if finding is None:
            self._forget()
            return None
        if self._finding is None or finding.frame is not self._finding.frame:
            self._learn(finding)
        age_s = frame.pts_s - finding.frame.pts_s
        same_size = frame.image_bgr.shape == finding.frame.image_bgr.shape
        if not 0.0 <= age_s <= self._settings.late_after_s or not same_size or not self._all_finite():
            return None
        size = PlaneSize.of(frame.image_bgr)
        plane = self._around(self._found, finding.frame.pts_s, frame, size)
        for missed in self._missed:
            if frame.pts_s - missed.pts_s <= self._settings.hold_s:
                plane |= self._around(missed.instances, missed.pts_s, frame, size)
        if frame is not finding.frame:
            plane |= self._around(self._sensitive(segmented.instances), frame.pts_s, frame, size)
            if self._settings.cover_changes:
                plane |= self._changes(finding.frame, frame, size)
        return plane

    def _around(self, instances: Instances, pts_s: float, frame: Frame, size: PlaneSize) -> Plane:
        """The shapes of objects that were seen at `pts_s`, with the margin and as far as they may have gone since."""
        reach = self._settings.margin + self._settings.spread * max(0.0, frame.pts_s - pts_s)
        return widened(shapes_plane(instances, size), reach * size.height)

    def _changes(self, before: Frame, now: Frame, size: PlaneSize) -> Plane:
        if self._finding_gray is None:
            self._finding_gray = small_gray(before.image_bgr, size)
        changed = changes_plane(self._finding_gray, small_gray(now.image_bgr, size))
        return widened(changed, (self._settings.margin + _CHANGE_MARGIN) * size.height)

    def _learn(self, finding: Detections) -> None:
        """A new result: objects of the one before that it does not find again are held."""
        if self._finding is not None and finding.frame.source_id != self._finding.frame.source_id:
            self._forget()  # another still image has nothing to do with the one before
        found = self._sensitive(finding.instances)
        now_s = finding.frame.pts_s
        before = [_Missed(self._found, self._finding.frame.pts_s)] if self._finding is not None else []
        taken = np.zeros(len(found), np.bool_)
        missed: list[_Missed] = []
        for earlier in [*before, *reversed(self._missed)]:  # the newest first: an object found again is the latest one
            gone = np.ones(len(earlier.instances), np.bool_)
            scores = overlaps(earlier.instances.boxes_xyxy, found.boxes_xyxy)
            scores[:, taken] = -1.0
            for row, column in match_once(scores, _SAME_OBJECT):
                gone[row], taken[column] = False, True
            if gone.any() and 0.0 <= now_s - earlier.pts_s <= self._settings.hold_s:
                missed.append(_Missed(earlier.instances.select(gone), earlier.pts_s))
        missed.reverse()
        self._finding, self._found, self._missed, self._finding_gray = finding, found, missed, None

    def _forget(self) -> None:
        self._finding, self._found, self._missed, self._finding_gray = None, Instances.empty(), [], None

    def _sensitive(self, instances: Instances) -> Instances:
        keep = np.isin(instances.class_ids, self._class_ids) & (instances.scores >= self._settings.min_score)
        return instances.select(np.asarray(keep, np.bool_))

    def _all_finite(self) -> bool:
        found = (self._found, *(missed.instances for missed in self._missed))
        numbers = (part for instances in found for part in (instances.boxes_xyxy, instances.mask_probs))
        return all(bool(np.isfinite(part).all()) for part in numbers)

    def _obscured(self, image_bgr: Image) -> Image:
        """The image with nothing left in it that tells who somebody is: nothing finer than a cell."""
        if self._settings.mode is PrivacyMode.SILHOUETTE:
            return np.full(image_bgr.shape, color_bgr(self._settings.color), np.uint8)
        smooth = self._settings.mode is PrivacyMode.BLUR
        return coarse(image_bgr, self._settings.cells, cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST)


def coarse(image_bgr: Image, cells: int, interpolation: int) -> Image:
    """The image with so many cells along its shorter side, each of its mean color, stretched back to its size."""
    height, width = image_bgr.shape[:2]
    scale = min(1.0, cells / min(height, width))
    small_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_bgr, small_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=interpolation), np.uint8)


def color_bgr(text: str) -> tuple[int, int, int]:
    """Blue, green and red of "#rrggbb"."""
    red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
    return blue, green, red


def class_ids(setting: str, names: tuple[str, ...], labels: tuple[str, ...]) -> frozenset[int]:
    """The ids of classes; an InputError about one that is not there names the setting."""
    try:
        return resolve_classes(names, labels)
    except InputError as error:
        raise InputError(f"{setting}: {str(error).removeprefix('--classes: ')}") from None
