"""Derives counts, line crossings, dwell times and events from the tracked objects of the presented frames, in order.

Memory is bounded, however long a run is.

An object's position is its anchor: the middle of its box's bottom edge, or of the box. Anchors jitter, hence the
hysteresis: an object has crossed a line or left a zone only when its anchor has a minimum distance from it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot

from pipeline.labels import class_name, resolve_classes
from pipeline.records import Frame, Instances
from pipeline.scene import Direction, Event, EventKind, LineCount, Scene, ZoneState
from pipeline.settings.presentation_settings import Anchor, LineSettings, PlaceSettings, ZoneSettings
from pipeline.settings.schema import Settings

HYSTERESIS_SIZES = 0.1
"""Minimum distance from a line, relative to the object's size …"""
HYSTERESIS_PIXELS = 2.0
"""… and in pixels; the larger one holds."""
LOWEST_ANCHOR = 1.5
"""Pixels above the frame's lower edge: there is the anchor of an object that it cuts off. On the edge, it would lie on
the outline of a zone, or beyond the end of a line, that reaches down to the edge or the last row."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in absolute pixels."""
Point = tuple[float, float]
Polyline = Sequence[Point]
"""Two points or more, joined in this order."""


def anchor_of(box_xyxy: Box, anchor: Anchor, height: int) -> Point:
    """The position of an object in a frame of this height, pixels."""
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, min(y2, height - LOWEST_ANCHOR) if anchor is Anchor.BOTTOM else (y1 + y2) / 2


def hysteresis(box_xyxy: Box) -> float:
    """Minimum distance of an object's anchor from a line or zone outline, pixels."""
    x1, y1, x2, y2 = box_xyxy
    return float(max(HYSTERESIS_PIXELS, HYSTERESIS_SIZES * ((x2 - x1) * (y2 - y1)) ** 0.5))


@dataclass(frozen=True, slots=True)
class Change:
    """An object crossed a line in `direction`, or entered or left a zone, with its dwell time in seconds."""

    kind: EventKind
    direction: Direction | None = None
    dwell_s: float | None = None

    def complete(self, event: Event, place: str) -> Event:
        """This change at a place, as the event of the object of another one."""
        return replace(event, kind=self.kind, place=place, direction=self.direction, dwell_s=self.dwell_s)


class LineCounter:
    """Counts the objects that cross one line. Call `set_frame_size` first.

    Args:
        settings: name, points, and anchor.
    """

    def __init__(self, settings: LineSettings) -> None:
        self.settings = settings
        self.polyline: tuple[Point, ...] = ()
        self._height = 0
        self._last_points: dict[int, Point] = {}
        self._counts = {Direction.IN: 0, Direction.OUT: 0}

    def set_frame_size(self, height: int, width: int) -> None:
        """Sets the size of the frames that follow, in pixels; the counts stay."""
        self._height = height
        self.polyline = in_pixels(self.settings.points, height, width)
        self._last_points.clear()

    def update(self, track_id: int, box_xyxy: Box, pts_s: float) -> Change | None:
        """Updates an object's position; returns the change if it has crossed the line."""
        point = anchor_of(box_xyxy, self.settings.anchor, self._height)
        if distance_to_polyline(point, self.polyline) < hysteresis(box_xyxy):
            return None
        before = self._last_points.get(track_id)
        self._last_points[track_id] = point
        net = 0 if before is None else crossings(before, point, self.polyline)
        if net == 0:
            return None
        direction = Direction.IN if net > 0 else Direction.OUT
        self._counts[direction] += 1
        return Change(EventKind.CROSSED, direction)

    def forget(self, track_id: int) -> None:
        """Drops an object that has gone for good, which changes nothing."""
        self._last_points.pop(track_id, None)

    def state(self) -> LineCount:
        """The counts so far."""
        return LineCount(self.settings.name, self._counts[Direction.IN], self._counts[Direction.OUT])


@dataclass(slots=True)
class _Stay:
    entered_at_s: float
    seen_at_s: float


class ZoneCounter:
    """Counts the objects in one zone and measures their dwell time. Call `set_frame_size` first.

    Args:
        settings: name, points, and anchor.
    """

    def __init__(self, settings: ZoneSettings) -> None:
        self.settings = settings
        self.polygon: tuple[Point, ...] = ()
        self._height = 0
        self._stays: dict[int, _Stay] = {}
        self._entered = 0
        self._ended = 0
        self._ended_s = 0.0
        self._longest_s = 0.0

    def set_frame_size(self, height: int, width: int) -> None:
        """Sets the size of the frames that follow, in pixels; the counts stay."""
        self._height = height
        self.polygon = in_pixels(self.settings.points, height, width)

    def update(self, track_id: int, box_xyxy: Box, pts_s: float) -> Change | None:
        """Updates an object's position; returns the change if it has entered or left the zone."""
        point = anchor_of(box_xyxy, self.settings.anchor, self._height)
        inside = contains(self.polygon, point)
        stay = self._stays.get(track_id)
        if stay is None:
            if inside:
                self._stays[track_id] = _Stay(pts_s, pts_s)
                self._entered += 1
                return Change(EventKind.ENTERED)
            return None
        if inside or distance_to_polyline(point, closed(self.polygon)) < hysteresis(box_xyxy):
            stay.seen_at_s = pts_s
            return None
        return self._end(track_id, pts_s)

    def forget(self, track_id: int) -> Change | None:
        """Drops an object that has gone for good, or counts no more; if it was inside, it left when last seen."""
        stay = self._stays.get(track_id)
        return None if stay is None else self._end(track_id, stay.seen_at_s)

    def state(self, pts_s: float) -> ZoneState:
        """Occupancy and dwell times at a time, seconds on the source's clock."""
        longest_now_s = max((pts_s - stay.entered_at_s for stay in self._stays.values()), default=None)
        return ZoneState(
            name=self.settings.name,
            occupancy=len(self._stays),
            entered=self._entered,
            dwell_now_s=longest_now_s,
            dwell_mean_s=self._ended_s / self._ended if self._ended else None,
            dwell_max_s=max(self._longest_s, longest_now_s or 0.0) if self._entered else None,
        )

    def _end(self, track_id: int, until_s: float) -> Change:
        stay = self._stays.pop(track_id)
        dwell_s = max(0.0, until_s - stay.entered_at_s)
        self._ended += 1
        self._ended_s += dwell_s
        self._longest_s = max(self._longest_s, dwell_s)
        return Change(EventKind.LEFT, dwell_s=dwell_s)


# Plain numbers instead of arrays: a line has two or three points, and every frame has many lines and objects.


def in_pixels(points: Polyline, height: int, width: int) -> tuple[Point, ...]:
    """Converts points to pixels: they are relative to the frame's size if no coordinate is above 1."""
    if max(max(point) for point in points) > 1.0:
        return tuple((float(x), float(y)) for x, y in points)
    return tuple((x * width, y * height) for x, y in points)


def distance_to_polyline(point: Point, polyline: Polyline) -> float:
    """Pixels from a point to the nearest point of a polyline."""
    return min(_distance(point, first, second) for first, second in pairwise(polyline))


def _distance(point: Point, first: Point, second: Point) -> float:
    """Pixels from a point to the nearest point of a segment."""
    step_x, step_y = second[0] - first[0], second[1] - first[1]
    offset_x, offset_y = point[0] - first[0], point[1] - first[1]
    length = step_x * step_x + step_y * step_y
    along = min(1.0, max(0.0, (offset_x * step_x + offset_y * step_y) / length)) if length > 0 else 0.0
    return hypot(offset_x - along * step_x, offset_y - along * step_y)


def crossings(start: Point, end: Point, polyline: Polyline) -> int:
    """Crossings of a polyline by the segment from `start` to `end`: those to its right less those to its left.

    Sides are as seen in the frame along the polyline. A segment that ends on the polyline does not cross it; one that
    starts on it and leaves to the right does, so that two consecutive segments count once.
    """
    net = 0
    for first, second in pairwise(polyline):
        before, after = _is_right_of(start, first, second), _is_right_of(end, first, second)
        if before != after and _is_right_of(first, start, end) != _is_right_of(second, start, end):
            net += 1 if after else -1
    return net


def _is_right_of(point: Point, first: Point, second: Point) -> bool:
    """Whether a point lies strictly to the right of a directed line (y downwards)."""
    return (second[0] - first[0]) * (point[1] - first[1]) > (second[1] - first[1]) * (point[0] - first[0])


def contains(polygon: Polyline, point: Point) -> bool:
    """Whether a polygon contains a point, by the even-odd rule; the polygon closes itself."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in pairwise(closed(polygon)):
        if (y1 > y) != (y2 > y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x:
            inside = not inside
    return inside


def closed(polygon: Polyline) -> tuple[Point, ...]:
    """The polygon's outline as a polyline that ends where it begins."""
    return (*polygon, polygon[0])


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
            change = None
            if class_ids is None or class_id in class_ids:
                change = place.update(track_id, box_xyxy, pts_s)
            elif isinstance(place, ZoneCounter):  # its class counted until now, or never did
                change = place.forget(track_id)
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
        """Counts by class name, in the order of the class ids, without classes of which there are none.

        Classes of one name count together.
        """
        found: Counter[str] = Counter()
        for class_id, count in sorted(counts.items()):
            if count > 0:
                found[class_name(class_id, self._labels)] += count
        return dict(found)


def _class_ids(kind: str, place: PlaceSettings, labels: Sequence[str]) -> frozenset[int] | None:
    """The class ids that count at a line or zone; None for all. Raises InputError."""
    return resolve_classes(place.classes, labels, f"{kind} {place.name!r}: classes") if place.classes else None
