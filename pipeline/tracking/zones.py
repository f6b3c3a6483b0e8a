"""Counts line crossings, and measures occupancy and dwell time of zones. Memory is bounded, however long a run is.

An object's position is its anchor: the middle of its box's bottom edge, or of the box. Anchors jitter, hence the
hysteresis: an object has crossed a line or left a zone only when its anchor has a minimum distance from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.scene import Direction, EventKind, LineCount, ZoneState
from pipeline.settings.presentation_settings import Anchor, LineSettings, ZoneSettings
from pipeline.tracking.polylines import Point, closed, contains, crossings, distance_to_polyline, in_pixels

HYSTERESIS_SIZES = 0.1
"""Minimum distance from a line, relative to the object's size …"""
HYSTERESIS_PIXELS = 2.0
"""… and in pixels; the larger one holds."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in absolute pixels."""


def anchor_of(box_xyxy: Box, anchor: Anchor) -> Point:
    """The position of an object."""
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, y2 if anchor is Anchor.BOTTOM else (y1 + y2) / 2


def hysteresis(box_xyxy: Box) -> float:
    """Minimum distance of an object's anchor from a line or zone outline, pixels."""
    x1, y1, x2, y2 = box_xyxy
    return float(max(HYSTERESIS_PIXELS, HYSTERESIS_SIZES * ((x2 - x1) * (y2 - y1)) ** 0.5))


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

    def update(self, track_id: int, box_xyxy: Box) -> Direction | None:
        """Updates an object's position; returns the direction if it has crossed the line."""
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
        return direction

    def forget(self, track_id: int) -> None:
        """Drops an object that has gone for good."""
        self._last_points.pop(track_id, None)

    def state(self) -> LineCount:
        """The counts so far."""
        return LineCount(self.settings.name, self._counts[Direction.IN], self._counts[Direction.OUT])


@dataclass(frozen=True, slots=True)
class ZoneChange:
    """An object entered or left a zone; `dwell_s` is its dwell time in seconds when it left."""

    kind: EventKind
    dwell_s: float | None = None


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

    def update(self, track_id: int, box_xyxy: Box, pts_s: float) -> ZoneChange | None:
        """Updates an object's position; returns the change if it has entered or left the zone."""
        point = anchor_of(box_xyxy, self.settings.anchor)
        inside = contains(self.polygon, point)
        stay = self._stays.get(track_id)
        if stay is None:
            if inside:
                self._stays[track_id] = _Stay(pts_s, pts_s)
                self._entered += 1
                return ZoneChange(EventKind.ENTERED)
            return None
        if inside or distance_to_polyline(point, closed(self.polygon)) < hysteresis(box_xyxy):
            stay.seen_at_s = pts_s
            return None
        return self._end(track_id, pts_s)

    def forget(self, track_id: int) -> ZoneChange | None:
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

    def _end(self, track_id: int, until_s: float) -> ZoneChange:
        stay = self._stays.pop(track_id)
        dwell_s = max(0.0, until_s - stay.entered_at_s)
        self._ended += 1
        self._ended_s += dwell_s
        self._longest_s = max(self._longest_s, dwell_s)
        return ZoneChange(EventKind.LEFT, dwell_s)
