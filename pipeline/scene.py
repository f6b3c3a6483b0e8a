"""Frozen records of what track ids reveal about a scene: counts, line crossings, zones, events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class EventKind(Enum):
    """Kind of an event."""

    APPEARED = "appeared"
    """A new object got its id."""
    DISAPPEARED = "disappeared"
    """An object has been lost for too long to be re-identified; `pts_s` is when it was last seen."""
    ENTERED = "entered"
    """An object entered a zone."""
    LEFT = "left"
    """An object left a zone, or disappeared in it; `dwell_s` is its dwell time."""
    CROSSED = "crossed"
    """An object crossed a line in `direction`."""


class Direction(Enum):
    """Direction of a crossing, as seen in the frame along the line from its first point to its last."""

    IN = "in"
    """To the right-hand side."""
    OUT = "out"
    """To the left-hand side."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of one object.

    Attributes:
        pts_s: its time, seconds on the source's clock.
        track_id, class_id, label: the object.
        place: name of the line or zone; None for appeared and disappeared.
        direction: of a crossing.
        dwell_s: seconds that the object was in the zone it left.
    """

    kind: EventKind
    pts_s: float
    track_id: int
    class_id: int
    label: str
    place: str | None = None
    direction: Direction | None = None
    dwell_s: float | None = None

    def record(self) -> dict[str, Any]:
        """A dict for JSON: event, pts, track_id, class_id, label, and of the rest what applies."""
        record: dict[str, Any] = {
            "event": self.kind.value,
            "pts": round(self.pts_s, 6),
            "track_id": self.track_id,
            "class_id": self.class_id,
            "label": self.label,
        }
        if self.place is not None:
            record["line" if self.kind is EventKind.CROSSED else "zone"] = self.place
        if self.direction is not None:
            record["direction"] = self.direction.value
        if self.dwell_s is not None:
            record["dwell_s"] = round(self.dwell_s, 3)
        return record


@dataclass(frozen=True, slots=True)
class LineCount:
    """Crossings of one line since the start, by direction."""

    name: str
    crossed_in: int
    crossed_out: int


@dataclass(frozen=True, slots=True)
class ZoneState:
    """Occupancy and dwell times of one zone.

    Attributes:
        occupancy: objects inside now.
        entered: entries since the start.
        dwell_now_s: longest dwell time of those inside; None when the zone is empty.
        dwell_mean_s: mean dwell time of those that have left; None before the first.
        dwell_max_s: longest dwell time so far, including those inside; None before the first object.
    """

    name: str
    occupancy: int
    entered: int
    dwell_now_s: float | None
    dwell_mean_s: float | None
    dwell_max_s: float | None


@dataclass(frozen=True, slots=True)
class Scene:
    """The scene at one presented frame.

    Attributes:
        now: objects in this frame, by class name.
        seen: distinct objects since the start, by class name.
        lines, zones: in the order of the settings.
        events: since the frame before.
    """

    now: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    lines: Sequence[LineCount] = ()
    zones: Sequence[ZoneState] = ()
    events: Sequence[Event] = ()

    def counts(self) -> list[tuple[str, int, int]]:
        """Class name, objects now and since the start, of the classes that occurred, in the order of their ids."""
        return [(name, self.now.get(name, 0), total) for name, total in self.seen.items()]
