"""Derives counts, line crossings, dwell times and events from the tracked objects of the presented frames, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.labels import class_name, resolve_classes
from pipeline.records import Frame, Instances
from pipeline.scene import Event, EventKind, Scene
from pipeline.settings.presentation_settings import PlaceSettings
from pipeline.settings.schema import Settings
from pipeline.tracking.counts import ClassCounts, count_now
from pipeline.tracking.zones import Box, LineCounter, ZoneCounter

MIN_MISSED_FRAMES = 3.0
"""An object disappears after `max_lost_s`, but not before it was missed on this many frames."""


@dataclass(slots=True)
class _LastSeen:
    class_id: int
    seen_at_s: float


class SceneWatcher:
    """Turns the tracked instances of each frame into a `Scene`.

    Args:
        settings: lines, zones, and the time after which a lost object disappears.
        labels: class names by class id.

    Attributes:
        scene: of the newest frame.

    Raises:
        InputError: a line or zone names a class that the model does not have.
    """

    def __init__(self, settings: Settings, labels: Sequence[str]) -> None:
        self._labels = labels
        self._max_lost_s = settings.tracking.max_lost_s
        self._lines = [(LineCounter(line), _class_ids("line", line, labels)) for line in settings.lines]
        self._zones = [(ZoneCounter(zone), _class_ids("zone", zone, labels)) for zone in settings.zones]
        self._size_hw: tuple[int, int] | None = None
        self._counts = ClassCounts()
        self._known: dict[int, _LastSeen] = {}
        self._pts_s: float | None = None
        self.scene = Scene()

    @property
    def lines(self) -> Sequence[LineCounter]:
        """The lines, in the order of the settings."""
        return [counter for counter, _ in self._lines]

    @property
    def zones(self) -> Sequence[ZoneCounter]:
        """The zones, in the order of the settings."""
        return [counter for counter, _ in self._zones]

    def update(self, frame: Frame, instances: Instances) -> Scene:
        """Processes the next presented frame and the instances shown on it."""
        if self._size_hw != (frame.height, frame.width):
            self._size_hw = (frame.height, frame.width)
            places: Sequence[LineCounter | ZoneCounter] = (*self.lines, *self.zones)
            for place in places:
                place.set_frame_size(frame.height, frame.width)
        pts_s = frame.pts_s
        step_s = 0.0 if self._pts_s is None else pts_s - self._pts_s
        self._pts_s = pts_s
        events = self._gone(list(self._known)) if step_s < 0 else []
        class_ids = instances.class_ids.tolist()
        if instances.track_ids is not None:
            boxes = instances.boxes_xyxy.tolist()
            for track_id, class_id, box_xyxy in zip(instances.track_ids.tolist(), class_ids, boxes, strict=True):
                if track_id > 0:
                    events += self._seen(pts_s, track_id, class_id, tuple(box_xyxy))
        timeout_s = max(self._max_lost_s, MIN_MISSED_FRAMES * step_s)
        events += self._gone([i for i, known in self._known.items() if pts_s - known.seen_at_s > timeout_s])
        self.scene = Scene(
            now=self._by_name(count_now(class_ids)),
            seen=self._by_name(self._counts.seen()),
            lines=tuple(line.state() for line in self.lines),
            zones=tuple(zone.state(pts_s) for zone in self.zones),
            events=tuple(events),
        )
        return self.scene

    def _seen(self, pts_s: float, track_id: int, class_id: int, box_xyxy: Box) -> list[Event]:
        def event(kind: EventKind) -> Event:
            return Event(kind, pts_s, track_id, class_id, class_name(class_id, self._labels))

        events = [event(EventKind.APPEARED)] if self._counts.update(track_id, class_id) else []
        self._known[track_id] = _LastSeen(class_id, pts_s)
        for line, class_ids in self._lines:
            direction = line.update(track_id, box_xyxy) if class_ids is None or class_id in class_ids else None
            if direction is not None:
                events.append(replace(event(EventKind.CROSSED), place=line.settings.name, direction=direction))
        for zone, class_ids in self._zones:
            change = zone.update(track_id, box_xyxy, pts_s) if class_ids is None or class_id in class_ids else None
            if change is not None:
                events.append(replace(event(change.kind), place=zone.settings.name, dwell_s=change.dwell_s))
        return events

    def _gone(self, track_ids: Sequence[int]) -> list[Event]:
        """Drops objects; their events have the time when they were last seen."""
        events = []
        for track_id in track_ids:
            known = self._known.pop(track_id)
            self._counts.forget(track_id)
            event = Event(
                EventKind.LEFT, known.seen_at_s, track_id, known.class_id, class_name(known.class_id, self._labels)
            )
            for line in self.lines:
                line.forget(track_id)
            for zone in self.zones:
                change = zone.forget(track_id)
                if change is not None:
                    events.append(replace(event, place=zone.settings.name, dwell_s=change.dwell_s))
            events.append(replace(event, kind=EventKind.DISAPPEARED))
        return events

    def _by_name(self, counts: Mapping[int, int]) -> Mapping[str, int]:
        return {class_name(class_id, self._labels): count for class_id, count in counts.items()}


def _class_ids(kind: str, place: PlaceSettings, labels: Sequence[str]) -> frozenset[int] | None:
    """The class ids that count at a line or zone; None for all. Raises InputError."""
    return resolve_classes(place.classes, labels, f"{kind} {place.name!r}: classes") if place.classes else None
