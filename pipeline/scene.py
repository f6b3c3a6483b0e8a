"""What a tracker's ids make known of a scene, as records: counts, lines, zones, events. Frozen, and small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class EventKind(Enum):
    """What happened."""

    APPEARED = "appeared"
    """An object got its id."""
    DISAPPEARED = "disappeared"
    """An object has been gone for too long to be found again; `pts_s` is when it was last seen."""
    ENTERED = "entered"
    """An object came into a zone."""
    LEFT = "left"
    """An object went out of a zone, or disappeared in it; `dwell_s` is how long it was there."""
    CROSSED = "crossed"
    """An object crossed a line; `direction` says which way."""


class Direction(Enum):
    """Which way a line was crossed: seen along it from its first point to its last, in the picture."""

    IN = "in"
    """To the right-hand side."""
    OUT = "out"
    """To the left-hand side."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one object.

    Attributes:
        pts_s: when, in seconds on the source's clock.
        track_id, class_id, label: the object.
        place: name of the line or zone; None for appeared and disappeared.
        direction: of a crossing.
        dwell_s: seconds in the zone that was left.
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
        """As a dict that JSON can hold: event, pts, track_id, class_id, label and what applies of the rest."""
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
    """One zone.

    Attributes:
        occupancy: objects inside now.
        entered: objects that came in since the start.
        dwell_now_s: the longest that one of those inside has been there; None when it is empty.
        dwell_mean_s: mean stay of those that have left; None before the first.
        dwell_max_s: longest stay so far, of those inside too; None before the first object.
    """

    name: str
    occupancy: int
    entered: int
    dwell_now_s: float | None
    dwell_mean_s: float | None
    dwell_max_s: float | None


@dataclass(frozen=True, slots=True)
class Scene:
    """The state of things at one presented frame.

    Attributes:
        now: objects in this frame, by class name.
        seen: different objects since the start, by class name.
        lines, zones: in the order of the settings.
        events: what happened since the frame before.
    """

    now: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    lines: Sequence[LineCount] = ()
    zones: Sequence[ZoneState] = ()
    events: Sequence[Event] = ()

    def count_texts(self) -> list[str]:
        """Counts for people, such as "2 person (5 so far)"; classes that occurred, in the order of their ids."""
        return [f"{self.now.get(name, 0)} {name} ({total} so far)" for name, total in self.seen.items()]
