"""What a recording's detections amount to: counts, tracks, crossings and stays, in one pass over its frames."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from pipeline.ledger import LatencyHistogram
from pipeline.records import SourceKind
from pipeline.report.detection_lines import StoredEvent, StoredFrame, StoredRun
from pipeline.report.heat_map import Grid, HeatMap
from pipeline.report.time_bins import FIRST_WIDTH_S, TimeBins, TimeSeries
from pipeline.scene import Direction, EventKind

LONGEST_TRACKS = 150
"""The timeline shows as many, the longest ones."""
HELD_S = 5.0
"""What was in view holds until the next frame, but not for longer: then the source was away."""


@dataclass(slots=True)
class Track:
    """An object that kept its id; times from the start, seconds (for images: their numbers)."""

    track_id: int
    class_id: int
    first: float
    last: float


@dataclass(slots=True)
class ClassCount:
    """The objects of one class.

    Attributes:
        class_id, label: the class.
        tracks: distinct objects; 0 where nothing was tracked.
        found: objects, added up over all frames.
        most, most_at: the most in one frame, and when first.
        first, last: when the class was first and last in view.
    """

    class_id: int
    label: str
    first: float
    last: float
    tracks: int = 0
    found: int = 0
    most: int = 0
    most_at: float = 0.0


@dataclass(slots=True)
class LineCrossings:
    """Crossings of a line by direction, and the time of the first and the last one; None without any."""

    counts: Counter[Direction] = field(default_factory=Counter)
    first: float | None = None
    last: float | None = None

    def include(self, other: LineCrossings) -> None:
        """Add the crossings of this line in another recording; the times stay."""
        self.counts.update(other.counts)


@dataclass(slots=True)
class ZoneStays:
    """The stays in a zone.

    Attributes:
        entered: how many began.
        dwell_s: dwell times of those that ended, seconds.
        inside: when those that have not ended began, by track id.
        longest_s, longest_until: the longest of both, seconds, and when it ended.
    """

    entered: int = 0
    dwell_s: array[float] = field(default_factory=lambda: array("d"))
    inside: dict[int, float] = field(default_factory=dict)
    longest_s: float = 0.0
    longest_until: float = 0.0

    def compare(self, dwell_s: float, until: float) -> None:
        """Take a stay for the longest, if it is."""
        if dwell_s > self.longest_s:
            self.longest_s, self.longest_until = dwell_s, until

    def include(self, other: ZoneStays) -> None:
        """Add the stays in this zone in another recording; `longest_until` stays."""
        self.entered += other.entered
        self.dwell_s.extend(other.dwell_s)
        self.longest_s = max(self.longest_s, other.longest_s)


Place = TypeVar("Place", LineCrossings, ZoneStays)


def summed(recordings: Iterable[Mapping[str, Place]]) -> dict[str, Place]:
    """The lines, or the zones, of several recordings, those of one name added up."""
    found: dict[str, Place] = {}
    for places in recordings:
        for name, place in places.items():
            if name not in found:
                found[name] = type(place)()
            found[name].include(place)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """The detections of one source, added up. Times count from the first frame, in seconds; images are numbered.

    Attributes:
        name: of the recording.
        source: of the first frame.
        run: what the run says of itself; None where the file does not hold it.
        size_wh: of the first frame, pixels.
        frames: how many.
        missing: frames between the first and the last that were captured, but are not in the file.
        first_pts_s: pts of the first frame, seconds.
        duration: time of the last frame.
        classes: by class id.
        most, most_at: the most objects in one frame, and when.
        fewest_at: when the fewest objects hide the scene.
        in_view: the most objects at once by interval, by class name.
        track_count: of all tracks; `tracks` are the longest ones, by their beginning.
        lines, zones: by name, in the order of the settings.
        crossings: by interval, named as `crossing_name` does.
        heat: see `HeatMap.shares`.
        latency_p50_s, latency_p95_s: from capture to presentation; None for recorded sources.
        has_events: whether the run wrote events.
    """

    name: str
    source: str
    run: StoredRun | None
    size_wh: tuple[int, int]
    frames: int
    missing: int
    first_pts_s: float
    duration: float
    classes: Sequence[ClassCount]
    most: int
    most_at: float
    fewest_at: float
    in_view: TimeSeries
    track_count: int
    tracks: Sequence[Track]
    lines: dict[str, LineCrossings]
    zones: dict[str, ZoneStays]
    crossings: TimeSeries
    heat: Grid | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    has_events: bool

    @property
    def stills(self) -> bool:
        """Whether the frames are images, so that `at` numbers them."""
        return self.run is not None and self.run.kind is SourceKind.STILLS

    @property
    def fps(self) -> float | None:
        """Frames a second: (n - 1) / (last - first); None for images and for a single frame."""
        return (self.frames - 1) / self.duration if self.duration > 0 and not self.stills else None

    @property
    def counts(self) -> Counter[str]:
        """Distinct objects by class; where nothing was tracked, objects added up over all frames."""
        counts: Counter[str] = Counter()
        for one in self.classes:
            counts[one.label] += one.tracks if self.track_count else one.found
        return counts


def crossing_name(line: str, direction: Direction) -> str:
    """The name of the numbers of a line's crossings in one direction."""
    return f"{direction.value} {line}"


class RecordingStatistics:
    """Adds up the frames of one recording. Memory grows with the tracks and stays, not with the frames.

    Args:
        name: of the recording.
        first: its first frame, to be added like the others.
    """

    def __init__(self, name: str, first: StoredFrame) -> None:
        self._name = name
        self._first = first
        self._stills = first.run is not None and first.run.kind is SourceKind.STILLS
        self._frames = 0
        self._last_index = first.frame
        self._duration = 0.0
        self._classes: dict[int, ClassCount] = {}
        self._tracks: dict[int, Track] = {}
        self._most, self._most_at = 0, 0.0
        self._fewest, self._fewest_at = len(first.objects), 0.0
        self._in_view = TimeBins(np.maximum, 1.0 if self._stills else FIRST_WIDTH_S)
        self._crossings = TimeBins(np.add)
        self._heat = HeatMap()
        self._latency = LatencyHistogram()
        run = first.run
        self._lines = defaultdict(LineCrossings, {line.name: LineCrossings() for line in (run.lines if run else ())})
        self._zones = defaultdict(ZoneStays, {zone.name: ZoneStays() for zone in (run.zones if run else ())})
        self._has_events = False
        self._before: tuple[float, Counter[str]] = (0.0, Counter())

    def add(self, frame: StoredFrame) -> None:
        """Count a frame; they come in the order of the file."""
        at = float(self._frames) if self._stills else max(frame.pts - self._first.pts, 0.0)
        self._frames += 1
        self._last_index = max(self._last_index, frame.frame)
        self._duration = max(self._duration, at)
        now: Counter[int] = Counter()
        for one in frame.objects:
            now[one.class_id] += 1
            if one.class_id not in self._classes:
                self._classes[one.class_id] = ClassCount(one.class_id, one.label, first=at, last=at)
            if one.track_id is not None:
                track = self._tracks.setdefault(one.track_id, Track(one.track_id, one.class_id, at, at))
                track.class_id, track.last = one.class_id, at
        self._count(now, at)
        self._heat.add(frame, at)
        if frame.latency_ms is not None:
            self._latency.add(frame.latency_ms / 1000)
        self._has_events |= frame.events is not None
        for event in frame.events or ():
            self._note(event)

    def _count(self, now: Counter[int], at: float) -> None:
        total = now.total()
        if total > self._most:
            self._most, self._most_at = total, at
        if total < self._fewest:
            self._fewest, self._fewest_at = total, at
        for class_id, count in now.items():
            of_class = self._classes[class_id]
            of_class.found += count
            of_class.last = at
            if count > of_class.most:
                of_class.most, of_class.most_at = count, at
        self._hold_until(at)
        by_name: Counter[str] = Counter()
        for class_id, count in now.items():
            by_name[self._classes[class_id].label] += count
        for name, count in by_name.items():
            self._in_view.add(at, name, count)
        self._before = at, by_name

    def _hold_until(self, at: float) -> None:
        """Fills the intervals since the frame before, which a low frame rate leaves empty, with what it showed."""
        before, by_name = self._before
        width = self._in_view.width
        for step in range(1, int(min(at - before, HELD_S) / width) + 1):
            for name, count in by_name.items():
                if before + step * width < at:
                    self._in_view.add(before + step * width, name, count)

    def _note(self, event: StoredEvent) -> None:
        at = max(event.pts - self._first.pts, 0.0)
        if event.event is EventKind.CROSSED and event.line is not None and event.direction is not None:
            line = self._lines[event.line]
            line.counts[event.direction] += 1
            line.first = at if line.first is None else line.first
            line.last = at
            self._crossings.add(at, crossing_name(event.line, event.direction), 1)
        elif event.event is EventKind.ENTERED and event.zone is not None:
            self._zones[event.zone].entered += 1
            self._zones[event.zone].inside[event.track_id] = at
        elif event.event is EventKind.LEFT and event.zone is not None and event.dwell_s is not None:
            zone = self._zones[event.zone]
            zone.inside.pop(event.track_id, None)
            zone.dwell_s.append(event.dwell_s)
            zone.compare(event.dwell_s, at)

    def result(self) -> Recording:
        """The sums so far."""
        for zone in self._zones.values():
            for entered_at in zone.inside.values():
                zone.compare(self._duration - entered_at, self._duration)
        by_class = Counter(track.class_id for track in self._tracks.values())
        longest = sorted(self._tracks.values(), key=lambda track: track.first - track.last)[:LONGEST_TRACKS]
        return Recording(
            name=self._name,
            source=self._first.source,
            run=self._first.run,
            size_wh=(self._first.width, self._first.height),
            frames=self._frames,
            missing=max(0, self._last_index - self._first.frame + 1 - self._frames),
            first_pts_s=self._first.pts,
            duration=self._duration,
            classes=[replace(one, tracks=by_class[i]) for i, one in sorted(self._classes.items())],
            most=self._most,
            most_at=self._most_at,
            fewest_at=self._fewest_at,
            in_view=self._in_view.series(self._duration),
            track_count=len(self._tracks),
            tracks=sorted(longest, key=lambda track: (track.first, track.track_id)),
            lines=dict(self._lines),
            zones=dict(self._zones),
            crossings=self._crossings.series(self._duration),
            heat=self._heat.shares(),
            latency_p50_s=self._latency.quantile(0.50),
            latency_p95_s=self._latency.quantile(0.95),
            has_events=self._has_events,
        )
