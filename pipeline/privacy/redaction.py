"""Redaction: the step between inference and everything that shows, stores or serves frames.

It replaces the background, and redacts objects of the chosen classes. The latter fails closed: a pixel stays visible
only if the network has recently inferred a picture that looks the same there; where that is unknown, the whole frame is
redacted.

Shape letters: H, W frame height and width in pixels.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.masks import paste_mask
from pipeline.drawing.palette import parse_color
from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.geometry import FOREGROUND, greedy_pairs, iou_matrix
from pipeline.labels import resolve_classes
from pipeline.privacy.redaction_mask import Mask, MaskGrid, change_mask, dilate, downscaled_gray, instances_mask
from pipeline.records import Detections, Frame, Image, Instances, SegmentedFrame, UnredactedFrame
from pipeline.settings.presentation_settings import BackgroundMode, BackgroundSettings, PrivacyMode, PrivacySettings
from pipeline.settings.schema import Settings
from pipeline.sources.images import load_image

_MATCH_IOU = 0.2
"""Objects of two results whose boxes overlap by this much may be the same."""
_CHANGE_MARGIN = 0.03
"""Of the frame's height, added to the margin around changes: parts of a person may look like the background."""
_WAITING = 64
"""Results that are kept whatever their age; more than can wait to be presented."""


class Redactor:
    """Redacts the frames of a run, in order: replaces the background, then anonymizes, as far as the settings say.

    Raises:
        InputError: a class or picture does not exist.
    """

    def __init__(self, settings: Settings, labels: Sequence[str]) -> None:
        names = tuple(labels)
        replaces = settings.background.mode is not BackgroundMode.OFF
        self._background = Background(settings.background, names) if replaces else None
        self._anonymizer = Anonymizer(settings.privacy, names) if settings.privacy.on else None

    def see(self, detections: Detections) -> None:
        """Takes every result, in order, also those that no frame is presented with; in the thread of inference."""
        if self._anonymizer is not None:
            self._anonymizer.see(detections)

    def apply(self, captured: UnredactedFrame) -> SegmentedFrame:
        """The frame as it may be shown. Nothing in the result leads back to the captured pixels."""
        image = captured.frame.image_bgr
        if self._background is not None:
            image = self._background.replace(image, captured.instances)
        if self._anonymizer is not None:
            image = self._anonymizer.apply(captured, image)
        frame = captured.frame
        if image is not frame.image_bgr:
            frame = replace(frame, image_bgr=image, substitute=None)
        return SegmentedFrame(frame, captured.instances, captured.instances_index, captured.times)


@dataclass(frozen=True, slots=True)
class _Found:
    """Objects that must be redacted, and that no later result contains.

    Attributes:
        instances: in pixels of the frame they were last found on.
        source_id, index: of that frame.
        pts_s: time of that frame, seconds on the source's clock.
        skew_s: by how much the network saw them earlier or later, in a substitute of that frame.
        shape: (H, W, 3) of that frame.
    """

    instances: Instances
    source_id: str
    index: int
    pts_s: float
    skew_s: float
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
        self._found: list[_Found] = []  # oldest first; the last ones are those of `_detections`
        self._detections_gray: NDArray[np.float32] | None = None
        self._seen: deque[_Found] = deque()  # results that may be newer than `_detections`, oldest first
        self._lock = threading.Lock()

    def see(self, detections: Detections) -> None:
        """Takes every result, in order; in any thread. Of a live source, not all are presented."""
        found = self._found_in(detections)
        with self._lock:
            self._seen.append(found)
            while len(self._seen) > _WAITING and found.pts_s - self._seen[0].pts_s > self._settings.hold_s:
                self._seen.popleft()

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
        *lost, found = self._found
        held = [found, *(one for one in lost if frame.pts_s - one.pts_s <= self._settings.hold_s)]
        if any(one.shape != shape for one in held):
            return None
        grid = MaskGrid.for_image(frame.image_bgr)
        mask = grid.empty()
        for one in held:
            mask |= self._dilated(one.instances, frame.pts_s - one.pts_s + one.skew_s, grid)
        if frame is not detections.frame or frame.substitute is not None:  # then the network has not seen the frame
            mask |= self._dilated(self._sensitive(captured.instances), found.skew_s, grid)
            if self._settings.cover_changes:
                mask |= self._changes(detections.frame, frame, grid)
        return mask

    def _dilated(self, instances: Instances, age_s: float, grid: MaskGrid) -> Mask:
        """Masks of objects found `age_s` ago, dilated by the margin and by how far they may have moved since."""
        reach = self._settings.margin + self._settings.spread * max(0.0, age_s)
        return dilate(instances_mask(instances, grid), reach * grid.height)

    def _changes(self, before: Frame, now: Frame, grid: MaskGrid) -> Mask:
        if self._detections_gray is None:
            self._detections_gray = downscaled_gray(before.inferred_bgr, grid)
        changed = change_mask(self._detections_gray, downscaled_gray(now.image_bgr, grid))
        return dilate(changed, (self._settings.margin + _CHANGE_MARGIN) * grid.height)

    def _update(self, detections: Detections) -> None:
        """Takes a new result, and those since the last one. Objects that match none of the next result are held."""
        frame, before = detections.frame, self._detections
        after = -1 if before is None else before.frame.index
        if before is not None and not _follows(before.frame, frame):
            self._found, after = [], frame.index
        for found in self._take_seen(frame.index):
            if found.source_id == frame.source_id and after < found.index < frame.index:
                self._hold_unmatched(found)
        self._hold_unmatched(self._found_in(detections))
        self._detections, self._detections_gray = detections, None

    def _take_seen(self, until: int) -> list[_Found]:
        """The results up to a frame's index, oldest first."""
        taken: list[_Found] = []
        with self._lock:
            while self._seen and self._seen[0].index <= until:
                taken.append(self._seen.popleft())
        return taken

    def _hold_unmatched(self, found: _Found) -> None:
        """Takes what the next result has found. Earlier objects that match none of its objects are held as lost."""
        newest_first = [found]
        matched = np.zeros(len(found.instances), np.bool_)
        for earlier in reversed(self._found):  # newest first: a match is with the latest occurrence
            unmatched = np.ones(len(earlier.instances), np.bool_)
            ious = iou_matrix(earlier.instances.boxes_xyxy, found.instances.boxes_xyxy)
            # Boxes in the pixels of another resolution match nothing: their objects are held as lost.
            ious[:, matched if earlier.shape == found.shape else slice(None)] = -1.0
            for row, column in greedy_pairs(ious, _MATCH_IOU):
                unmatched[row], matched[column] = False, True
            if unmatched.any() and found.pts_s - earlier.pts_s <= self._settings.hold_s:
                newest_first.append(replace(earlier, instances=earlier.instances.select(unmatched)))
        self._found = newest_first[::-1]

    def _found_in(self, detections: Detections) -> _Found:
        frame, instances = detections.frame, self._sensitive(detections.instances)
        return _Found(instances, frame.source_id, frame.index, frame.pts_s, frame.skew_s, frame.image_bgr.shape)

    def _sensitive(self, instances: Instances) -> Instances:
        """The instances that must be redacted."""
        # A score that is NaN is not below the threshold.
        keep = np.isin(instances.class_ids, self._class_ids) & ~(instances.scores < self._settings.min_score)
        return instances.select(np.asarray(keep, np.bool_))

    def _all_finite(self) -> bool:
        """Whether all boxes and masks are free of NaN and infinity."""
        arrays = (array for one in self._found for array in (one.instances.boxes_xyxy, one.instances.mask_probs))
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


class Background:
    """Replaces the background of the chosen objects.

    Args:
        settings: the new background, and the classes in front of it.
        labels: class names by class id.

    Raises:
        InputError: the model does not have one of the classes, or the picture cannot be read.
    """

    def __init__(self, settings: BackgroundSettings, labels: tuple[str, ...]) -> None:
        self._settings = settings
        self._class_ids = sorted(resolve_classes(settings.classes, labels, "background.classes"))
        self._picture: Image | None = None
        if settings.mode is BackgroundMode.PICTURE:
            if settings.picture is None:
                raise InputError("background.mode is picture: set background.picture to an image file")
            self._picture = read_picture("background.picture", settings.picture)
        self._cached: Image | None = None

    def replace(self, image_bgr: Image, instances: Instances) -> Image:
        """Composites the objects of the chosen classes over the new background.

        Args:
            image_bgr: uint8 (H, W, 3), not changed.
            instances: in pixels of the image; their opacity applies.

        Returns:
            uint8 (H, W, 3), a new array.
        """
        alpha = self._alpha(instances, image_bgr.shape[0], image_bgr.shape[1])
        background = self._background(image_bgr)
        return np.asarray(cv2.blendLinear(image_bgr, background, alpha, np.float32(1.0) - alpha), np.uint8)

    def _alpha(self, instances: Instances, height: int, width: int) -> NDArray[np.float32]:
        """float32 (H, W), 0 … 1: the alpha matte of the objects."""
        matte = np.zeros((height, width), np.uint8)
        for i in np.flatnonzero(np.isin(instances.class_ids, self._class_ids)):
            mask, y0, x0 = paste_mask(instances.mask_probs[i], instances.boxes_xyxy[i], height, width, FOREGROUND)
            part = matte[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
            opacity = 1.0 if instances.opacity is None else float(instances.opacity[i])
            np.maximum(part, mask.view(np.uint8) * np.uint8(round(255 * opacity)), out=part)
        side = 2 * round(self._settings.edge * height) + 1
        soft = cv2.blur(matte, (side, side)) if side > 1 else matte
        return np.asarray(soft, np.float32) * np.float32(1 / 255)

    def _background(self, image_bgr: Image) -> Image:
        if self._settings.mode is BackgroundMode.BLUR:
            return coarsen(image_bgr, self._settings.cells, cv2.INTER_LINEAR)
        if self._cached is None or self._cached.shape != image_bgr.shape:
            if self._picture is None:
                self._cached = np.full(image_bgr.shape, parse_color(self._settings.color), np.uint8)
            else:
                self._cached = scale_to_fill(self._picture, image_bgr.shape[0], image_bgr.shape[1])
        return self._cached


def scale_to_fill(picture_bgr: Image, height: int, width: int) -> Image:
    """Scales a picture to fill a frame of this size, and crops it at the center."""
    scale = max(height / picture_bgr.shape[0], width / picture_bgr.shape[1])
    # Most of what lies outside is cropped before: a gradient one pixel wide would take gigabytes.
    top, left = (
        max(0, int(side - needed / scale) // 2 - 1)
        for side, needed in zip(picture_bgr.shape[:2], (height, width), strict=True)
    )
    picture_bgr = picture_bgr[top : picture_bgr.shape[0] - top, left : picture_bgr.shape[1] - left]
    size_wh = (max(width, round(picture_bgr.shape[1] * scale)), max(height, round(picture_bgr.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(picture_bgr, size_wh, interpolation=interpolation), np.uint8)
    x, y = (size_wh[0] - width) // 2, (size_wh[1] - height) // 2
    return np.ascontiguousarray(scaled[y : y + height, x : x + width])


def read_picture(setting: str, path: str) -> Image:
    """Reads a picture as `load_image` does. Raises InputError, which names the setting."""
    file = user_path(path, setting)
    try:
        return load_image(file)
    except InputError as error:
        raise InputError(f"{setting}: {error}") from None
