"""Describes the object that a viewer has chosen: class, id, score, time in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry import iou_matrix
from pipeline.labels import class_name
from pipeline.records import Instances

_SAME_OBJECT_IOU = 0.5
"""An object without a track id is the one that overlapped it at least this much in the frame before."""
_INSIDE = 0.5
"""Mask probability from which on a point belongs to the object."""
_MAX_TRACKS = 10_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """The chosen object on a frame.

    Attributes:
        box_xyxy: pixels of the frame.
        text: such as "person · #7 · 98% · 12 s in view".
    """

    box_xyxy: tuple[float, float, float, float]
    text: str


class Inspector:
    """Follows one object, and knows since when each track has been in view.

    Args:
        labels: class names by class id.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._instances = Instances.empty()
        self._now_s = 0.0
        self._since_s: dict[int, float] = {}
        self._index: int | None = None
        self._track_id = 0

    def see(self, instances: Instances, pts_s: float, continues: bool = True) -> None:
        """Take the objects of the next frame.

        Args:
            instances: those that are shown.
            pts_s: time of the frame.
            continues: whether the frame follows the one before, rather than being an image of its own.
        """
        before, was = self._instances, self._index
        self._instances, self._now_s = instances, pts_s
        ids = self._ids()
        for track_id in ids:
            self._since_s[track_id] = self._since_s.pop(track_id, pts_s)  # last: those in view are kept
        while len(self._since_s) > _MAX_TRACKS:
            del self._since_s[next(iter(self._since_s))]
        self._index = None
        if not continues:
            self._track_id = 0
        elif self._track_id > 0:
            self._index = ids.index(self._track_id) if self._track_id in ids else None
        elif was is not None and len(instances):
            ious = iou_matrix(before.boxes_xyxy[was : was + 1], instances.boxes_xyxy)[0]
            ious[instances.class_ids != before.class_ids[was]] = 0
            best = int(ious.argmax())
            self._index = best if ious[best] >= _SAME_OBJECT_IOU else None

    def choose_at(self, x: float, y: float) -> None:
        """Choose the object at a point of the frame, the topmost one; none where there is none."""
        boxes = self._instances.boxes_xyxy
        x1, y1, x2, y2 = boxes.T
        hit = np.flatnonzero((x1 <= x) & (x < x2) & (y1 <= y) & (y < y2))
        if len(hit) == 0:
            self._choose(None)
            return
        areas = (x2 - x1) * (y2 - y1)
        # Smaller objects are drawn on top of larger ones; a mask that covers the point comes before a mere box.
        self._choose(int(min(hit, key=lambda i: (not self._covers(int(i), x, y), areas[i]))))

    def choose_next(self) -> None:
        """Choose the next object from left to right; none after the last."""
        left_to_right = np.argsort(self._instances.boxes_xyxy[:, 0], kind="stable").tolist()
        place = -1 if self._index is None else left_to_right.index(self._index)
        self._choose(left_to_right[place + 1] if place + 1 < len(left_to_right) else None)

    def chosen(self) -> Chosen | None:
        """The chosen object as it is now; None if there is none, or it is not in view."""
        if self._index is None:
            return None
        i, instances = self._index, self._instances
        words = [class_name(int(instances.class_ids[i]), self._labels)]
        track_id = self._ids()[i] if instances.track_ids is not None else 0
        if track_id > 0:
            words.append(f"#{track_id}")
        words.append(f"{min(99, round(100 * float(instances.scores[i])))}%")
        if track_id > 0:
            words.append(f"{_duration(self._now_s - self._since_s[track_id])} in view")
        x1, y1, x2, y2 = instances.boxes_xyxy[i].tolist()
        return Chosen((x1, y1, x2, y2), " · ".join(words))

    def _choose(self, index: int | None) -> None:
        self._index = index
        ids = self._ids()
        self._track_id = ids[index] if index is not None and ids else 0

    def _ids(self) -> list[int]:
        ids = self._instances.track_ids
        return [] if ids is None else ids.tolist()

    def _covers(self, i: int, x: float, y: float) -> bool:
        x1, y1, x2, y2 = self._instances.boxes_xyxy[i].tolist()
        probs = self._instances.mask_probs[i]
        side = probs.shape[0]
        row, column = int((y - y1) / (y2 - y1) * side), int((x - x1) / (x2 - x1) * side)
        return bool(probs[row, column] >= _INSIDE)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
