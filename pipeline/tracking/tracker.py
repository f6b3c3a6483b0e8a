"""Multi-object tracking: gives objects their ids, smooths them, and holds them while they are missed for a moment.

Runs right after the segmenter, in its thread. It measures time on the frames' own clock, so that a dropped frame only
means a longer step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import iou_matrix, resample_masks
from pipeline.records import Instances
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.tracking.association import Predictions, associate
from pipeline.tracking.track import (
    Track,
    center_and_size,
    corners,
    ema_weight,
    predict_tracks,
    smooth_box,
    smooth_masks,
    speed_change,
)

TENTATIVE_MAX_LOST_S = 0.2
"""A tentative track ends when it is unmatched for longer than this, seconds."""
MIN_HITS = 2
"""Detections that confirm a track, whatever their scores."""
SMOOTHING_MIN_HITS = 4
"""Tracks with fewer detections are not smoothed, since their velocity is not known yet."""
INTERVAL_EMA = 0.8
"""Weight of the earlier value in the moving average of the time between results."""
HOLD_MIN_VISIBLE = 0.6
"""A lost object is held only while at least this fraction of its predicted box lies inside the frame …"""
HOLD_MAX_IOU = 0.5
"""… and no detected object of its class has a higher IoU with it: that would be the same object under a new id."""

SizeHW = tuple[int, int]


class Tracker:
    """Associates the detections of each frame with those of the frames before.

    Ids are 1, 2, 3 … in the order of confirmation, and are never reused. A track is confirmed by its first detection if
    the score is high, else by its second; until then its id is 0.

    Args:
        settings: time limits, strength of the smoothing.
        high_score: detections with a lower score only continue confirmed tracks, and are dropped otherwise.
    """

    def __init__(self, settings: TrackingSettings, high_score: float = 0.0) -> None:
        import scipy.optimize  # noqa: F401 -- takes 0.3 s, which the first frames would wait for

        self._settings = settings
        self._high_score = high_score
        self._tracks: list[Track] = []
        self._last_id = 0
        self._pts_s: float | None = None
        self._interval_s: float | None = None
        self._size_hw: SizeHW | None = None

    def update(self, pts_s: float, instances: Instances, size_hw: SizeHW) -> Instances:
        """Tracks the detections of the next frame.

        Args:
            pts_s: the frame's presentation time in seconds. All tracks end when it runs backwards.
            instances: what the segmenter found.
            size_hw: the frame's height and width in pixels. All tracks end when it changes.

        Returns:
            The instances to show, best score first: the detected ones, smoothed and with `track_ids`, and the held
            ones at their predicted places, with decaying score and opacity.
        """
        self._predict(pts_s, size_hw)
        high = instances.scores >= self._high_score
        pairs = associate(self._predictions(pts_s), instances, high) if self._tracks else []
        self._update_matched(pairs, instances, pts_s)
        matched = {detection for _, detection in pairs}
        detected = [self._tracks[track] for track, _ in pairs]
        detected += [_new_track(instances, i, pts_s) for i in np.flatnonzero(high).tolist() if i not in matched]
        self._tracks += detected[len(pairs) :]
        for track in detected:
            self._confirm(track)
        self._tracks = [track for track in self._tracks if track.lost_s(pts_s) <= self._max_lost_s(track)]
        held = self._held(pts_s, size_hw, detected)
        opacity = np.array([1.0] * len(detected) + [self._hold_opacity(track, pts_s) for track in held], np.float32)
        shown = _to_instances([*detected, *held], opacity, instances.mask_probs.shape[1])
        return _clip_to_frame(shown.select(np.argsort(-shown.scores, kind="stable")), size_hw)

    def _predict(self, pts_s: float, size_hw: SizeHW) -> None:
        """Advances all tracks to the time of a frame."""
        elapsed_s = 0.0 if self._pts_s is None else pts_s - self._pts_s
        if elapsed_s < 0 or (self._size_hw is not None and size_hw != self._size_hw):
            self._tracks = []
            elapsed_s = 0.0
        elif self._pts_s is not None:
            mean_s = elapsed_s if self._interval_s is None else self._interval_s
            self._tracks = [track for track in self._tracks if track.lost_s(pts_s) <= self._max_lost_s(track, mean_s)]
            self._interval_s = INTERVAL_EMA * mean_s + (1 - INTERVAL_EMA) * elapsed_s
        predict_tracks(self._tracks, elapsed_s)
        self._pts_s, self._size_hw = pts_s, size_hw

    def _max_lost_s(self, track: Track, interval_s: float | None = None) -> float:
        """Seconds after which a lost track ends; at low rates of results, enough to miss one of them."""
        interval_s = interval_s if interval_s is not None else self._interval_s or 0.0
        if track.id == 0:
            return max(TENTATIVE_MAX_LOST_S, 1.5 * interval_s)
        return max(self._settings.max_lost_s, 2.5 * interval_s)

    def _predictions(self, pts_s: float) -> Predictions:
        tracks = self._tracks
        return Predictions(
            boxes_xyxy=corners(np.array([track.motion.position for track in tracks])),
            mask_probs=np.stack([track.mask for track in tracks]),
            class_ids=np.array([track.class_id for track in tracks], np.int32),
            center_std=np.array([track.motion.center_std for track in tracks], np.float32),
            lost=np.array([self._lost_fraction(track, pts_s) for track in tracks], np.float32),
            confirmed=np.array([track.id > 0 for track in tracks], np.bool_),
        )

    def _lost_fraction(self, track: Track, pts_s: float) -> float:
        """0 for a track that was detected in the last result, rising to 1 when it ends."""
        lost_s = track.lost_s(pts_s) - (self._interval_s or 0.0)
        return min(1.0, max(0.0, lost_s / max(self._max_lost_s(track), 1e-3)))

    def _update_matched(self, pairs: list[tuple[int, int]], instances: Instances, pts_s: float) -> None:
        """Updates each matched track with its detection."""
        if not pairs:
            return
        tracks = [self._tracks[track] for track, _ in pairs]
        detections = instances.select(np.array([detection for _, detection in pairs], np.intp))
        if self._settings.smoothing == 0:
            _update_unsmoothed(tracks, detections, pts_s)
            return
        predicted_xyxy = _smoothed_xyxy(tracks)
        weights = np.empty(len(tracks), np.float32)
        for i, track in enumerate(tracks):
            box_xyxy = detections.boxes_xyxy[i]
            lost_s = track.lost_s(pts_s)
            weight = ema_weight(self._settings.smoothing, lost_s) if track.hits >= SMOOTHING_MIN_HITS else 1.0
            speed = speed_change(track.motion, lost_s)
            track.smoothed_box, change = smooth_box(track.smoothed_box, track.motion.scale, box_xyxy, weight)
            weights[i] = weight + (1 - weight) * max(speed, change)
            track.update(pts_s, box_xyxy, int(detections.class_ids[i]), float(detections.scores[i]))
        previous = np.stack([track.mask for track in tracks])
        masks = smooth_masks(
            previous, predicted_xyxy, detections.mask_probs, detections.boxes_xyxy, _smoothed_xyxy(tracks), weights
        )
        for track, mask in zip(tracks, masks, strict=True):
            track.mask = mask

    def _confirm(self, track: Track) -> None:
        if track.id == 0 and (track.hits >= MIN_HITS or track.score >= self._settings.confirm_score):
            self._last_id += 1
            track.id = self._last_id

    def _held(self, pts_s: float, size_hw: SizeHW, detected: list[Track]) -> list[Track]:
        """Confirmed tracks that are lost in this frame but still shown."""
        held = []
        for track in self._tracks:
            lost = track.id > 0 and track.hits >= MIN_HITS and track.lost_s(pts_s) > 0
            if not lost or self._hold_opacity(track, pts_s) <= 0:
                continue
            box_xyxy = corners(track.smoothed_box)
            if _visible_fraction(box_xyxy, size_hw) < HOLD_MIN_VISIBLE:
                continue
            others = [other for other in detected if other.class_id == track.class_id]
            if others and iou_matrix(box_xyxy[None], _smoothed_xyxy(others)).max() > HOLD_MAX_IOU:
                continue
            held.append(track)
        return held

    def _hold_opacity(self, track: Track, pts_s: float) -> float:
        """Decays linearly from 1 to 0 over `hold_s` since the last detection."""
        hold_s = self._settings.hold_s
        return max(0.0, 1 - track.lost_s(pts_s) / hold_s) if hold_s > 0 else 0.0


def _update_unsmoothed(tracks: list[Track], detections: Instances, pts_s: float) -> None:
    """Updates each track with its detection as it is."""
    rows = zip(
        tracks, detections.boxes_xyxy, detections.class_ids, detections.scores, detections.mask_probs, strict=True
    )
    for track, box_xyxy, class_id, score, mask in rows:
        track.smoothed_box = center_and_size(box_xyxy)
        track.update(pts_s, box_xyxy, int(class_id), float(score))
        track.mask = mask


def _new_track(instances: Instances, index: int, pts_s: float) -> Track:
    return Track(
        pts_s,
        instances.boxes_xyxy[index],
        int(instances.class_ids[index]),
        float(instances.scores[index]),
        instances.mask_probs[index],
    )


def _to_instances(tracks: list[Track], opacity: NDArray[np.float32], mask_size: int) -> Instances:
    """The smoothed boxes and masks of tracks; `opacity`, float32 (T,), also scales their scores."""
    if not tracks:
        return replace(Instances.empty(mask_size), track_ids=np.zeros(0, np.int32))
    return Instances(
        boxes_xyxy=_smoothed_xyxy(tracks),
        class_ids=np.array([track.class_id for track in tracks], np.int32),
        scores=np.array([track.score for track in tracks], np.float32) * opacity,
        mask_probs=np.stack([track.mask for track in tracks]),
        track_ids=np.array([track.id for track in tracks], np.int32),
        opacity=None if (opacity >= 1).all() else opacity,
    )


def _smoothed_xyxy(tracks: list[Track]) -> NDArray[np.float32]:
    """float32 (T, 4): the smoothed boxes of one track or more."""
    return corners(np.array([track.smoothed_box for track in tracks]))


def _visible_fraction(box_xyxy: NDArray[np.float32], size_hw: SizeHW) -> float:
    """The fraction of a box's area that lies inside the frame."""
    height, width = size_hw
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    return inside / max((x2 - x1) * (y2 - y1), 1e-6)


def _clip_to_frame(instances: Instances, size_hw: SizeHW) -> Instances:
    """Clips boxes to the frame, and resamples their masks to the clipped boxes."""
    height, width = size_hw
    boxes = instances.boxes_xyxy
    clipped = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    outside = np.flatnonzero(np.any(clipped != boxes, axis=1))
    if len(outside) == 0:
        return instances
    masks = instances.mask_probs.copy()
    masks[outside] = resample_masks(masks[outside], boxes[outside], clipped[outside], masks.shape[1])
    return replace(instances, boxes_xyxy=clipped, mask_probs=masks)
