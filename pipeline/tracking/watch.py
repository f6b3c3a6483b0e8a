"""Derives counts, line crossings, dwell times and events from the tracked objects of the presented frames, in order."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from pipeline.labels import class_name, resolve_classes
from pipeline.records import Frame, Instances
from pipeline.scene import Event, EventKind, Scene
from pipeline.settings.presentation_settings import PlaceSettings
from pipeline.settings.schema import Settings
from pipeline.tracking.zones import Box, LineCounter, ZoneCounter

MIN_MISSED_FRAMES = 3.0
"""An object disappears after `max_lost_s`, but not before it was missed on this many frames."""
REMEMBERED_IDS = 1024
"""Number of objects remembered after they have gone, so that one that returns is not counted again."""


class SceneWatcher:
    """Turns the tracked instances of each frame into a `Scene`. Memory is bounded.

    Args:
        settings: lines, zones, and the time after which a lost object disappears.
        labels: class names by class id.

    Attributes:
        scene: of the newest frame.
        lines, zones: in the order of the settings.

    Raises:
        InputError: a line or zone names a class that the model does not have.
    """

    def __init__(self, settings: Settings, labels: Sequence[str]) -> None:
        self._labels = labels
        self._max_lost_s = settings.tracking.max_lost_s
        self.lines = [LineCounter(line) for line in settings.lines]
        self.zones = [ZoneCounter(zone) for zone in settings.zones]
        self._places: Sequence[tuple[LineCounter | ZoneCounter, frozenset[int] | None]] = (
            *((line, _class_ids("line", line.settings, labels)) for line in self.lines),
            *((zone, _class_ids("zone", zone.settings, labels)) for zone in self.zones),
        )
        self._size_hw: tuple[int, int] | None = None
        self._known: dict[int, tuple[int, float]] = {}  # the class of each object, and when it was last seen
        self._gone: OrderedDict[int, int] = OrderedDict()  # the class of each object that has disappeared
        self._seen: Counter[int] = Counter()  # distinct objects by class
        self._pts_s: float | None = None
        self.scene = Scene()

    def update(self, frame: Frame, instances: Instances) -> Scene:
        """Processes the next presented frame and the instances shown on it."""
        if self._size_hw != (frame.height, frame.width):
            self._size_hw = (frame.height, frame.width)
            for place, _ in self._places:
                place.set_frame_size(frame.height, frame.width)
        pts_s = frame.pts_s
        step_s = 0.0 if self._pts_s is None else pts_s - self._pts_s
        self._pts_s = pts_s
        events = self._drop(list(self._known)) if step_s < 0 else []
        class_ids = instances.class_ids.tolist()
        if instances.track_ids is not None:
            boxes = instances.boxes_xyxy.tolist()
            for track_id, class_id, box_xyxy in zip(instances.track_ids.tolist(), class_ids, boxes, strict=True):
                if track_id > 0:
                    events += self._watch(pts_s, track_id, class_id, tuple(box_xyxy))
        timeout_s = max(self._max_lost_s, MIN_MISSED_FRAMES * step_s)
        events += self._drop([i for i, (_, seen_at_s) in self._known.items() if pts_s - seen_at_s > timeout_s])
        self.scene = Scene(
            now=self._by_name(Counter(class_ids)),
            seen=self._by_name(self._seen),
            lines=tuple(line.state() for line in self.lines),
            zones=tuple(zone.state(pts_s) for zone in self.zones),
            events=tuple(events),
        )
        return self.scene

    def _watch(self, pts_s: float, track_id: int, class_id: int, box_xyxy: Box) -> list[Event]:
        """Counts an object that is in the frame, under its current class, and takes its position."""
        event = Event(EventKind.APPEARED, pts_s, track_id, class_id, class_name(class_id, self._labels))
        known = self._known.get(track_id)
        counted_as = self._gone.pop(track_id, None) if known is None else known[0]
        if counted_as is not None:
            self._seen[counted_as] -= 1
        self._seen[class_id] += 1
        self._known[track_id] = class_id, pts_s
        events = [event] if known is None else []
        for place, class_ids in self._places:
            if class_ids is None or class_id in class_ids:
                change = place.update(track_id, box_xyxy, pts_s)
                if change is not None:
                    events.append(change.complete(event, place.settings.name))
        return events

    def _drop(self, track_ids: Sequence[int]) -> list[Event]:
        """Drops objects that have gone; their events have the time when they were last seen."""
        events = []
        for track_id in track_ids:
            class_id, seen_at_s = self._known.pop(track_id)
            self._gone[track_id] = class_id
            if len(self._gone) > REMEMBERED_IDS:
                self._gone.popitem(last=False)
            event = Event(EventKind.DISAPPEARED, seen_at_s, track_id, class_id, class_name(class_id, self._labels))
            for place, _ in self._places:
                change = place.forget(track_id)
                if change is not None:
                    events.append(change.complete(event, place.settings.name))
            events.append(event)
        return events

    def _by_name(self, counts: Mapping[int, int]) -> Mapping[str, int]:
        """Counts by class name, in the order of the class ids, without classes of which there are none."""
        return {class_name(class_id, self._labels): count for class_id, count in sorted(counts.items()) if count > 0}


def _class_ids(kind: str, place: PlaceSettings, labels: Sequence[str]) -> frozenset[int] | None:
    """The class ids that count at a line or zone; None for all. Raises InputError."""
    return resolve_classes(place.classes, labels, f"{kind} {place.name!r}: classes") if place.classes else None
