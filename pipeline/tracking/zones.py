"""Counts line crossings, and measures occupancy and dwell time of zones. Memory is bounded, however long a run is.

An object's position is its anchor: the middle of its box's bottom edge, or of the box. Anchors jitter, hence the
hysteresis: an object has crossed a line or left a zone only when its anchor has a minimum distance from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot

from pipeline.scene import Direction, Event, EventKind, LineCount, ZoneState
from pipeline.settings.presentation_settings import Anchor, LineSettings, ZoneSettings

HYSTERESIS_SIZES = 0.1
"""Minimum distance from a line, relative to the object's size …"""
HYSTERESIS_PIXELS = 2.0
"""… and in pixels; the larger one holds."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in absolute pixels."""
Point = tuple[float, float]
Polyline = Sequence[Point]
"""Two points or more, joined in this order."""


def anchor_of(box_xyxy: Box, anchor: Anchor) -> Point:
    """The position of an object."""
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, y2 if anchor is Anchor.BOTTOM else (y1 + y2) / 2


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
        self._last_points: dict[int, Point] = {}
        self._counts = {Direction.IN: 0, Direction.OUT: 0}

    def set_frame_size(self, height: int, width: int) -> None:
        """Sets the size of the frames that follow, in pixels; the counts stay."""
        self.polyline = in_pixels(self.settings.points, height, width)
        self._last_points.clear()

    def update(self, track_id: int, box_xyxy: Box, pts_s: float) -> Change | None:
        """Updates an object's position; returns the change if it has crossed the line."""
        point = anchor_of(box_xyxy, self.settings.anchor)
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
        self._stays: dict[int, _Stay] = {}
        self._entered = 0
        self._ended = 0
        self._ended_s = 0.0
        self._longest_s = 0.0

    def set_frame_size(self, height: int, width: int) -> None:
        """Sets the size of the frames that follow, in pixels; the counts stay."""
        self.polygon = in_pixels(self.settings.points, height, width)

    def update(self, track_id: int, box_xyxy: Box, pts_s: float) -> Change | None:
        """Updates an object's position; returns the change if it has entered or left the zone."""
        point = anchor_of(box_xyxy, self.settings.anchor)
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
        """Drops an object that has gone for good; if it was inside, it left the zone when it was last seen."""
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
