"""Counts crossings of lines and stays in zones, object by object, in bounded memory however long a run is.

An object is where its anchor is: the middle of its box's lower edge, where it stands, or the middle of the box. Anchors
jitter, so that a change of side counts only once the anchor is clear of the line.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.scene import Direction, EventKind, LineCount, ZoneState
from pipeline.settings.place_settings import Anchor, LineSettings, ZoneSettings
from pipeline.tracking.geometry import Point, closed, crossings, distance_to_path, in_pixels, inside

CLEAR_SIZES = 0.1
"""How far an anchor must be from a line to be clear of it, as a share of the object's size …"""
CLEAR_PIXELS = 2.0
"""… and at least so many pixels."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in absolute pixels."""


def anchor_of(box_xyxy: Box, anchor: Anchor) -> Point:
    """The point that stands for an object."""
    x1, y1, x2, y2 = box_xyxy
    return (x1 + x2) / 2, y2 if anchor is Anchor.BOTTOM else (y1 + y2) / 2


def clearance(box_xyxy: Box) -> float:
    """How far from a line an object must be to count as clear of it, pixels."""
    x1, y1, x2, y2 = box_xyxy
    return float(max(CLEAR_PIXELS, CLEAR_SIZES * ((x2 - x1) * (y2 - y1)) ** 0.5))


class LineCounter:
    """Counts who crosses one line; `place` comes first.

    Args:
        settings: name, points, and the point of an object that counts.
    """

    def __init__(self, settings: LineSettings) -> None:
        self.settings = settings
        self.path: tuple[Point, ...] = ()
        self._clear_points: dict[int, Point] = {}
        self._counts = {Direction.IN: 0, Direction.OUT: 0}

    def place(self, height: int, width: int) -> None:
        """Frames have this size from now on, pixels; what was counted stays."""
        self.path = in_pixels(self.settings.points, height, width)
        self._clear_points.clear()

    def update(self, track_id: int, box_xyxy: Box) -> Direction | None:
        """Take in where an object is now; which way it has crossed the line, if it has."""
        point = anchor_of(box_xyxy, self.settings.anchor)
        if distance_to_path(point, self.path) < clearance(box_xyxy):
            return None
        before = self._clear_points.get(track_id)
        self._clear_points[track_id] = point
        net = 0 if before is None else crossings(before, point, self.path)
        if net == 0:
            return None
        direction = Direction.IN if net > 0 else Direction.OUT
        self._counts[direction] += 1
        return direction

    def forget(self, track_id: int) -> None:
        """The object is gone for good."""
        self._clear_points.pop(track_id, None)

    def state(self) -> LineCount:
        """The counts so far."""
        return LineCount(self.settings.name, self._counts[Direction.IN], self._counts[Direction.OUT])


@dataclass(frozen=True, slots=True)
class ZoneChange:
    """An object came into a zone or went out of it; then `dwell_s` is how long it was there, seconds."""

    kind: EventKind
    dwell_s: float | None = None


@dataclass(slots=True)
class _Stay:
    entered_at_s: float
    seen_at_s: float


class ZoneCounter:
    """Counts who is in one zone, and for how long; `place` comes first.

    Args:
        settings: name, points, and the point of an object that counts.
    """

    def __init__(self, settings: ZoneSettings) -> None:
        self.settings = settings
        self.polygon: tuple[Point, ...] = ()
        self._stays: dict[int, _Stay] = {}
        self._entered = 0
        self._ended = 0
        self._ended_s = 0.0
        self._longest_s = 0.0

    def place(self, height: int, width: int) -> None:
        """Frames have this size from now on, pixels; what was counted stays."""
        self.polygon = in_pixels(self.settings.points, height, width)

    def update(self, track_id: int, box_xyxy: Box, pts_s: float) -> ZoneChange | None:
        """Take in where an object is now; what that means for the zone, if anything."""
        point = anchor_of(box_xyxy, self.settings.anchor)
        within = inside(point, self.polygon)
        stay = self._stays.get(track_id)
        if stay is None:
            if within:
                self._stays[track_id] = _Stay(pts_s, pts_s)
                self._entered += 1
                return ZoneChange(EventKind.ENTERED)
            return None
        if within or distance_to_path(point, closed(self.polygon)) < clearance(box_xyxy):
            stay.seen_at_s = pts_s
            return None
        return self._end(track_id, pts_s)

    def forget(self, track_id: int) -> ZoneChange | None:
        """The object is gone for good: it left the zone, if it was inside, when it was last seen."""
        stay = self._stays.get(track_id)
        return None if stay is None else self._end(track_id, stay.seen_at_s)

    def state(self, pts_s: float) -> ZoneState:
        """The numbers at a moment, seconds on the source's clock."""
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
