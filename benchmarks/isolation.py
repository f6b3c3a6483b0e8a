"""What one camera's faults change for the others: in one run, parts in which it fails alternate with calm ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import playback
from benchmarks.drifting_boxes import DriftingBoxes
from benchmarks.faulty_camera import Fault, FaultKind, FaultyCamera, plan
from benchmarks.measuring import Spread, Value, at_most
from pipeline.errors import RunError
from pipeline.runtime.camera_group import Cameras
from pipeline.sinks.base import Presentation

OTHERS = 3
TAKES_S = 0.008
"""Of the network: every frame has a result, so that a camera that fails leaves the others nothing more."""
WARM_S = 3.0
READY_DEADLINE_S = 60.0
NAME = "failing"


class Times(playback.Screen):
    """Takes annotated frames like a window, and keeps when each and each new result was shown, on `time.monotonic`."""

    def __init__(self) -> None:
        self.frames_s: list[float] = []
        self.results_s: list[float] = []
        self._result: int | None = None

    def write(self, presentation: Presentation) -> None:
        """See `Sink.write`."""
        segmented = presentation.segmented
        assert segmented.times.presented_at_s is not None
        self.frames_s.append(segmented.times.presented_at_s)
        if segmented.instances_index != self._result:
            self._result = segmented.instances_index
            self.results_s.append(segmented.times.presented_at_s)


@dataclass(frozen=True)
class Parts:
    """The parts of a run: a calm one, one with faults, and so on.

    Attributes:
        rounds: of the two.
        part_s: how long each is.
    """

    rounds: int
    part_s: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return 2 * self.rounds * self.part_s

    def script(self) -> list[Fault]:
        """The faults: one of each kind in each second part, all over before its end."""
        faults = plan(len(FaultKind), self.part_s, self.part_s)
        starts = [(2 * number + 1) * self.part_s for number in range(self.rounds)]
        return [replace(fault, at_s=start_s + fault.at_s) for start_s in starts for fault in faults]

    def changes(self, times_s: Sequence[float], began_s: float) -> list[float]:
        """Of each round, how much the rate of something differs in its second part, percent of that in its first."""
        borders_s = began_s + self.part_s * np.arange(2 * self.rounds + 1)
        # Counted in fractions: a part's share of the time between two frames is its share of a frame.
        counts = np.diff(np.interp(borders_s, times_s, np.arange(len(times_s))))
        calm, faulty = counts[::2], counts[1::2]
        return [float(change) for change in 100 * np.abs(faulty - calm) / calm.clip(1.0)]


def measure(clip: Path, parts: Parts) -> list[Value]:
    """One run with a camera that fails and others that play a clip, which is longer than the run."""
    others = {f"other-{number}": Times() for number in range(OTHERS)}
    with FaultyCamera() as camera:
        entries = [{"name": name, "uri": str(clip), "source": {"realtime": True}} for name in others]
        reconnect = {"read_timeout_s": 0.5, "first_delay_s": 0.1, "longest_delay_s": 0.2}
        entries.append({"name": NAME, "uri": camera.url, "source": {"reconnect": reconnect}})
        group = Cameras({"window": {"mode": "off"}, "cameras": entries}, segmenter=DriftingBoxes(TAKES_S))
        for name, screen in others.items():
            group.add_sink(name, screen)
        group.add_sink(NAME, playback.Screen())
        with group:
            began_s = _run(group, camera, parts)
        reconnects = sum(run.reconnects for run in group.entries[NAME].summaries)
    return values_of(others, parts, began_s, f"{OTHERS} others; {reconnects} reconnects of the one that fails")


def _run(group: Cameras, camera: FaultyCamera, parts: Parts) -> float:
    """Run all parts; returns when the first began, on `time.monotonic`."""
    opened_s = time.monotonic()
    begun_s: list[float] = []

    def watch() -> None:
        now_s = time.monotonic()
        if not begun_s and now_s > opened_s + READY_DEADLINE_S:
            raise RunError(f"a camera had no result within {READY_DEADLINE_S:g} s")
        ready = all(entry.ledger.overall().inferred for entry in group.entries.values())
        if not begun_s and ready and now_s > opened_s + WARM_S:
            camera.begin(parts.script())
            begun_s.append(now_s)
        if begun_s and now_s > begun_s[0] + parts.seconds:
            group.stop()

    group.run(watch)
    return begun_s[0]


def values_of(others: Mapping[str, Times], parts: Parts, began_s: float, note: str) -> list[Value]:
    """The changes of the camera that is affected most."""
    values = []
    for what, times in (
        ("results", [screen.results_s for screen in others.values()]),
        ("frames displayed", [screen.frames_s for screen in others.values()]),
    ):
        spreads = [Spread.of(parts.changes(times_s, began_s)) for times_s in times]
        worst = max(spreads, key=lambda spread: spread.median)
        values.append(Value(f"one camera fails: change of the others' {what}", worst, "%", at_most(2), note))
    return values
