"""Gives objects their ids, steadies them, and holds them over while they are missed for a moment.

Runs right after the segmenter, in its thread. Its clock is the frames' own time, so that dropped frames cost it
nothing but a longer step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Instances
from pipeline.settings.presentation_settings import TrackingSettings
from pipeline.tracking.association import Expected, associate
from pipeline.tracking.kalman import center_and_size, corners_of_all
from pipeline.tracking.overlap import box_overlaps, resample
from pipeline.tracking.smoothing import memory_weight, smooth_masks, smooth_position, speed_change
from pipeline.tracking.track import Track, advance_all

UNCONFIRMED_S = 0.2
"""How long an object that was seen once is waited for, seconds."""
CONFIRMING_HITS = 2
SETTLED_HITS = 4
"""Until an object was seen so often its motion is not known, and it is shown as it is found."""
INTERVAL_MEMORY = 0.8
"""Share of the earlier value in the running mean of the time between results."""
HELD_VISIBLE = 0.6
"""An object is held over only while at least this share of its box is expected inside the frame …"""
HELD_OVERLAP = 0.5
"""… and no object of its class overlaps it more than this: that would be the same object, found under another id."""

SizeHW = tuple[int, int]


class Tracker:
    """Tells which object of a frame is which object of the frames before.

    Ids are 1, 2, 3 … in the order of confirmation, and never given twice. An object has its id in its first frame if
    its score is high, else from the second on; until then its id is 0.

    Args:
        settings: how long, how steady.
        high_score: detections below it only continue a track, and are left out otherwise.
    """

    def __init__(self, settings: TrackingSettings, high_score: float = 0.0) -> None:
        self._settings = settings
        self._high_score = high_score
        self._tracks: list[Track] = []
        self._given_ids = 0
        self._pts_s: float | None = None
        self._interval_s: float | None = None
        self._size_hw: SizeHW | None = None

    def update(self, pts_s: float, instances: Instances, size_hw: SizeHW) -> Instances:
        """Take in the detections of the next frame.

        Args:
            pts_s: the frame's presentation time in seconds. When it runs backwards, all tracks end.
            instances: what the segmenter found.
            size_hw: the frame's height and width in pixels. When it changes, all tracks end.

        Returns:
            The instances to show, best score first: those found, steadied and with `track_ids`, and those missed for a
            moment, where they are expected, with falling score and opacity.
        """
        self._advance(pts_s, size_hw)
        sure = instances.scores >= self._high_score
        pairs = associate(self._expected(pts_s), instances, sure)
        self._continue(pairs, instances, pts_s)
        taken = {detection for _, detection in pairs}
        seen = [self._tracks[track] for track, _ in pairs]
        seen += [_begin(instances, int(index), pts_s) for index in np.flatnonzero(sure) if int(index) not in taken]
        self._tracks += seen[len(pairs) :]
        for track in seen:
            self._confirm(track)
        self._tracks = [track for track in self._tracks if track.lost_s(pts_s) <= self._patience_s(track)]
        held = self._held(pts_s, size_hw, seen)
        shares = np.array([1.0] * len(seen) + [self._hold_share(track, pts_s) for track in held], np.float32)
        shown = _instances([*seen, *held], shares, instances.mask_probs.shape[1])
        return _within_frame(shown.select(np.argsort(-shown.scores, kind="stable")), size_hw)

    def _advance(self, pts_s: float, size_hw: SizeHW) -> None:
        """Bring all tracks to the time of a frame."""
        elapsed_s = 0.0 if self._pts_s is None else pts_s - self._pts_s
        if elapsed_s < 0 or (self._size_hw is not None and size_hw != self._size_hw):
            self._tracks = []
            elapsed_s = 0.0
        elif self._pts_s is not None:
            mean_s = elapsed_s if self._interval_s is None else self._interval_s
            self._tracks = [track for track in self._tracks if track.lost_s(pts_s) <= self._patience_s(track, mean_s)]
            self._interval_s = INTERVAL_MEMORY * mean_s + (1 - INTERVAL_MEMORY) * elapsed_s
        advance_all(self._tracks, elapsed_s)
        self._pts_s, self._size_hw = pts_s, size_hw

    def _patience_s(self, track: Track, interval_s: float | None = None) -> float:
        """How long a track may be unseen; where results are far apart, long enough to miss one of them."""
        interval_s = interval_s if interval_s is not None else self._interval_s or 0.0
        if track.id == 0:
            return max(UNCONFIRMED_S, 1.5 * interval_s)
        return max(self._settings.max_lost_s, 2.5 * interval_s)

    def _expected(self, pts_s: float) -> Expected:
        tracks = self._tracks
        if not tracks:
            return Expected(*_NOTHING)
        return Expected(
            boxes_xyxy=corners_of_all(np.array([track.motion.position for track in tracks])),
            mask_probs=np.stack([track.mask for track in tracks]),
            class_ids=np.array([track.class_id for track in tracks], np.int32),
            center_std=np.array([track.motion.center_std for track in tracks], np.float32),
            lost=np.array([self._lost_share(track, pts_s) for track in tracks], np.float32),
            confirmed=np.array([track.id > 0 for track in tracks], np.bool_),
        )

    def _lost_share(self, track: Track, pts_s: float) -> float:
        """0 for a track that was seen in the last result, growing to 1 when it is given up."""
        lost_s = track.lost_s(pts_s) - (self._interval_s or 0.0)
        return min(1.0, max(0.0, lost_s / max(self._patience_s(track), 1e-3)))

    def _continue(self, pairs: list[tuple[int, int]], instances: Instances, pts_s: float) -> None:
        """Give each track the detection that continues it, and steady what it shows."""
        if not pairs:
            return
        tracks = [self._tracks[track] for track, _ in pairs]
        found = instances.select(np.array([detection for _, detection in pairs], np.intp))
        if self._settings.smoothing == 0:
            self._take_as_found(tracks, found, pts_s)
            return
        expected_xyxy = _shown(tracks)
        weights = np.empty(len(tracks), np.float32)
        for i, track in enumerate(tracks):
            lost_s = track.lost_s(pts_s)
            weight = memory_weight(self._settings.smoothing, lost_s) if track.hits >= SETTLED_HITS else 1.0
            fast = speed_change(track.motion, lost_s)
            track.position, change = smooth_position(track.position, track.motion.scale, found.boxes_xyxy[i], weight)
            weights[i] = weight + (1 - weight) * max(fast, change)
            track.see(pts_s, found.boxes_xyxy[i], int(found.class_ids[i]), float(found.scores[i]))
        shown_xyxy = _shown(tracks)
        previous = np.stack([track.mask for track in tracks])
        masks = smooth_masks(previous, expected_xyxy, found.mask_probs, found.boxes_xyxy, shown_xyxy, weights)
        for track, mask in zip(tracks, masks, strict=True):
            track.mask = mask

    def _take_as_found(self, tracks: list[Track], found: Instances, pts_s: float) -> None:
        """Give each track its detection; nothing is steadied."""
        parts = zip(tracks, found.boxes_xyxy, found.class_ids, found.scores, found.mask_probs, strict=True)
        for track, box_xyxy, class_id, score, mask in parts:
            track.position = center_and_size(box_xyxy)
            track.see(pts_s, box_xyxy, int(class_id), float(score))
            track.mask = mask

    def _confirm(self, track: Track) -> None:
        if track.id == 0 and (track.hits >= CONFIRMING_HITS or track.score >= self._settings.confirm_score):
            self._given_ids += 1
            track.id = self._given_ids

    def _held(self, pts_s: float, size_hw: SizeHW, seen: list[Track]) -> list[Track]:
        """Tracks missed in this frame that are shown all the same."""
        height, width = size_hw
        held = []
        for track in self._tracks:
            missed = track.id > 0 and track.hits >= CONFIRMING_HITS and track.lost_s(pts_s) > 0
            if not missed or self._hold_share(track, pts_s) <= 0:
                continue
            if _visible_share(track.shown_xyxy, height, width) < HELD_VISIBLE:
                continue
            others = [other.shown_xyxy for other in seen if other.class_id == track.class_id]
            if others and box_overlaps(track.shown_xyxy[None], np.stack(others)).max() > HELD_OVERLAP:
                continue
            held.append(track)
        return held

    def _hold_share(self, track: Track, pts_s: float) -> float:
        """What is left of the score of a track that is held over: 1 … 0."""
        hold_s = self._settings.hold_s
        return max(0.0, 1 - track.lost_s(pts_s) / hold_s) if hold_s > 0 else 0.0


_NOTHING = (
    np.zeros((0, 4), np.float32),
    np.zeros((0, 1, 1), np.float32),
    np.zeros(0, np.int32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.bool_),
)


def _begin(instances: Instances, index: int, pts_s: float) -> Track:
    return Track(
        pts_s,
        instances.boxes_xyxy[index],
        int(instances.class_ids[index]),
        float(instances.scores[index]),
        instances.mask_probs[index],
    )


def _instances(tracks: list[Track], shares: NDArray[np.float32], mask_size: int) -> Instances:
    """What to show of some tracks; `shares`, float32 (T,), is what is left of their scores and opacities."""
    if not tracks:
        return replace(Instances.empty(mask_size), track_ids=np.zeros(0, np.int32))
    return Instances(
        boxes_xyxy=_shown(tracks),
        class_ids=np.array([track.class_id for track in tracks], np.int32),
        scores=np.array([track.score for track in tracks], np.float32) * shares,
        mask_probs=np.stack([track.mask for track in tracks]),
        track_ids=np.array([track.id for track in tracks], np.int32),
        opacity=None if (shares >= 1).all() else shares,
    )


def _shown(tracks: list[Track]) -> NDArray[np.float32]:
    """float32 (T, 4): the boxes to show of one track or more."""
    return corners_of_all(np.array([track.position for track in tracks]))


def _visible_share(box_xyxy: NDArray[np.float32], height: int, width: int) -> float:
    """How much of a box lies inside the frame, 0 … 1."""
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    return inside / max((x2 - x1) * (y2 - y1), 1e-6)


def _within_frame(instances: Instances, size_hw: SizeHW) -> Instances:
    """Boxes that stick out of the frame are cut off at its edge, and their masks with them."""
    height, width = size_hw
    boxes = instances.boxes_xyxy
    cut = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    outside = np.flatnonzero(np.any(cut != boxes, axis=1))
    if len(outside) == 0:
        return instances
    masks = instances.mask_probs.copy()
    masks[outside] = resample(masks[outside], boxes[outside], cut[outside], masks.shape[1])
    return replace(instances, boxes_xyxy=cut, mask_probs=masks)
