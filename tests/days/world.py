"""A world for two cameras: time that moves as fast as frames are presented, people, and what goes wrong."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.jumping_clock import replaced_defaults
from pipeline.errors import InputError, RunError
from pipeline.records import Instances, SourceInfo, SourceKind
from pipeline.runtime.camera_entry import CameraEntry
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.source_settings import SourceSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import free_bytes
from pipeline.sinks.segments import SegmentRecorder
from pipeline.sources.base import Pacer
from pipeline.sources.live import Device, LiveSource, Picture, ReconnectingSource
from pipeline.sources.pattern import read_frame_number

HOUR_S, DAY_S = 3600.0, 86400.0
BEGIN = datetime(2026, 10, 22, 16, 30, tzinfo=UTC)
SUMMER_ENDS = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
"""In central Europe."""
WIDTH, HEIGHT = 96, 64
EVERY_S = {"gate": 60.0, "hall": 180.0}
"""From picture to picture of each camera."""
SHADES = {"gate": 90, "hall": 140}
"""Their backgrounds, gray levels."""
RED_BGR = (20, 20, 230)
WALK, FIRST, STEPS = 20, 4, 10
"""In every WALK pictures, STEPS show a person who walks to the right, beginning with picture FIRST."""
CALM = 17
"""A picture of each walk without a person, at which the network fails."""
LOST_AFTER = 60
"""The gate is lost after this many pictures."""
OUTAGES_S = (20.0, 70.0, 400.0, 1500.0)
"""Durations of its outages, in turn."""
LONG_OUTAGE_FROM_S, LONG_OUTAGE_S = 5.6 * DAY_S, 1.5 * DAY_S
"""One outage is longer: the first after this moment."""
FAULT_EVERY_S, HANGS_S = 5 * HOUR_S, 400.0
FULL_FROM_S, FULL_FOR_S = (0.1 * DAY_S, 1.5 * DAY_S, 2.9 * DAY_S), 2 * HOUR_S
"""When the disk is full."""
DEADLINE_S = 30.0


def drawn(camera: str, index: int) -> np.ndarray:
    """The picture, uint8 (H, W, 3) BGR, with its number as `read_frame_number` reads it."""
    image = np.full((HEIGHT, WIDTH, 3), SHADES[camera], np.uint8)
    step = index % WALK - FIRST
    if 0 <= step < STEPS:
        image[20:50, 4 + 8 * step : 16 + 8 * step] = RED_BGR
    image[60:] = np.repeat([255 * (index >> bit & 1) for bit in range(24)], WIDTH // 24)[None, :, None]
    return image


def red(image_bgr: np.ndarray) -> np.ndarray:
    """bool (H, W): where a person is seen."""
    return (image_bgr[:, :, 2] > 160) & (image_bgr[:, :, 0] < 80)


@dataclass
class Scene:
    """What is in front of a camera, whoever connects to it, and what became of its pictures.

    Attributes:
        index: of the next picture.
        given_at_s, shown_at_s, recorded_at_s: when the newest picture was taken that was given, shown, recorded.
        lost_until_s, losses: when the camera answers again, and how often it was lost.
        numbers, shown: read from the shown pictures, and how many there were. It does not grow, as memory is measured.
        uncovered: shown pictures in which a person is seen.
    """

    index: int = 0
    given_at_s: float = 0.0
    shown_at_s: float = 0.0
    recorded_at_s: float = 0.0
    lost_until_s: float = 0.0
    losses: int = 0
    numbers: np.ndarray = field(default_factory=lambda: np.full(20_000, -1, np.int32))
    shown: int = 0
    uncovered: int = 0


class World:
    """Time, and what happens in it.

    Attributes:
        now_s, end_s: the run's clock, and when the gate gives no more pictures.
        scenes: by camera.
        segments: names of the gate's segments, with the time of day at which each began.
        faults: of the network so far.
        long_outage_from_s: when that began.
        changed: notified when something above changes.
    """

    def __init__(self, days: float) -> None:
        self.now_s, self.end_s = 0.0, days * DAY_S
        self.scenes = {name: Scene() for name in EVERY_S}
        self.segments: list[tuple[str, datetime]] = []
        self.faults = 0
        self.long_outage_from_s = math.inf
        self.changed = threading.Condition()

    def __call__(self) -> float:
        return self.now_s

    def local(self) -> datetime:
        """Time of day in central Europe."""
        now = BEGIN + timedelta(seconds=self.now_s)
        return (now + timedelta(hours=2 if now < SUMMER_ENDS else 1)).replace(tzinfo=None)

    def free_bytes(self, _folder: Path) -> int:
        """Of the disk."""
        return 0 if any(from_s <= self.now_s < from_s + FULL_FOR_S for from_s in FULL_FROM_S) else 10**12

    def advance(self, by_s: float) -> None:
        """Let time go by."""
        with self.changed:
            self.now_s += by_s
            self.changed.notify_all()

    def source_of(self, name: str, settings: SourceSettings) -> ReconnectingSource:
        """A camera as the program opens it."""

        def connect() -> LiveSource:
            return LiveSource(Camera(name, self), read_timeout_s=HOUR_S, open_timeout_s=DEADLINE_S)

        return ReconnectingSource(connect, settings.reconnect, self, Pacer(self, self._pass))

    def _pass(self, _seconds: float) -> bool:
        """While the gate is lost, nothing else moves the clock: half a minute passes in a millisecond.

        The hall's picture is waited for: else the network seems to hang where the machine is busy.
        """
        time.sleep(0.001)
        hall = self.scenes["hall"]
        with self.changed:
            self.changed.wait_for(lambda: hall.shown_at_s >= hall.given_at_s, DEADLINE_S)
        self.advance(30.0)
        return False

    @contextlib.contextmanager
    def read_by_the_run(self) -> Iterator[None]:
        """Inside the block, recorders and cameras that are made read this time and this disk; nothing is synced."""
        write = SegmentRecorder.write

        def observed(recorder: SegmentRecorder, presentation: Presentation) -> None:
            write(recorder, presentation)
            frame, name = presentation.segmented.frame, Path(recorder.current or "").name
            if name.startswith("gate") and name not in dict(self.segments[-1:]):
                self.segments.append((name, self.local()))
            with self.changed:
                self.scenes[frame.camera or ""].recorded_at_s = frame.captured_at_s
                self.changed.notify_all()

        replacements = {datetime.now: self.local, time.monotonic: self, free_bytes: self.free_bytes}
        with (
            replaced_defaults((SegmentRecorder, CameraEntry), replacements),
            mock.patch.object(SegmentRecorder, "write", observed),
            mock.patch.object(os, "fsync", _do_not_sync),
        ):
            yield


def _do_not_sync(_descriptor: int) -> None:
    """A mock would keep each call."""


class Camera(Device):
    """A connection to a camera. That to the gate moves the clock, the other one follows it."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self._world, self._scene = name, world, world.scenes[name]
        self._gone = False

    def open(self) -> SourceInfo:
        """See `Device.open`."""
        if self._world() < self._scene.lost_until_s:
            raise InputError(f"{self.name} does not answer")
        self._scene.given_at_s = 0.0
        return SourceInfo(self.name, SourceKind.LIVE, WIDTH, HEIGHT, fps=1 / EVERY_S[self.name])

    def grab(self) -> Picture | None:
        """The next picture, once the one before was shown and recorded: nothing is too slow for this camera."""
        scene, world, every_s, leads = self._scene, self._world, EVERY_S[self.name], self.name == "gate"
        # A picture that was taken while the run was being set up is not shown; the gate has none.
        deadline_s = DEADLINE_S if leads else 0.5
        self._wait(lambda: min(scene.shown_at_s, scene.recorded_at_s) >= scene.given_at_s, deadline_s)
        if leads and scene.index // LOST_AFTER > scene.losses:
            self._lose()
        if leads and world() < world.end_s:
            world.advance(every_s)
        else:
            due_s = world() + every_s
            self._wait(lambda: world() >= due_s)
        with world.changed:
            if self._gone:
                return None
            scene.index, scene.given_at_s = scene.index + 1, world()
        return Picture(drawn(self.name, scene.index - 1), scene.given_at_s)

    def close(self) -> None:
        """Nothing to release."""

    def abort(self) -> None:
        """See `Device.abort`."""
        with self._world.changed:
            self._gone = True
            self._scene.given_at_s = 0.0  # it may never be shown
            self._world.changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        with self._world.changed:
            self._world.changed.wait_for(lambda: self._gone or condition(), timeout_s)

    def _lose(self) -> None:
        scene, world = self._scene, self._world
        lasts_s = OUTAGES_S[scene.losses % len(OUTAGES_S)]
        if world() >= LONG_OUTAGE_FROM_S and world.long_outage_from_s == math.inf:
            lasts_s, world.long_outage_from_s = LONG_OUTAGE_S, world()
        scene.losses += 1
        scene.lost_until_s = world() + lasts_s
        raise RunError(f"{self.name} was unplugged")


class Network(Segmenter):
    """Finds people; fails and hangs in turn, at pictures of the gate."""

    labels = ("BG", "person")
    description = "red rectangles"

    def __init__(self, world: World) -> None:
        self._world = world
        self._opened = threading.Event()

    def open(self) -> None:
        """See `Segmenter.open`. A call that hangs returns, too late for anybody."""
        self._opened.set()
        self._opened = threading.Event()

    def segment_batch(self, images_bgr: Sequence[np.ndarray]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        (image_bgr,) = images_bgr
        is_calm = image_bgr[0, 0, 0] == SHADES["gate"] and read_frame_number(image_bgr) % WALK == CALM
        if is_calm and self._world() > (self._world.faults + 1) * FAULT_EVERY_S:
            self._fail()
        rows, columns = np.nonzero(red(image_bgr))
        if not len(rows):
            return [Instances.empty()]
        box_xyxy = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        return [
            Instances(box_xyxy, np.ones(1, np.int32), np.full(1, 0.95, np.float32), np.ones((1, 28, 28), np.float32))
        ]

    def close(self) -> None:
        """Nothing to release."""

    def _fail(self) -> None:
        self._world.faults += 1
        if self._world.faults % 2:
            raise RuntimeError("out of memory")
        opened = self._opened
        self._world.advance(HANGS_S)
        opened.wait(DEADLINE_S)


class Eye(Sink):
    """Looks at each shown picture of a camera."""

    name = "eye"
    delivery = Delivery.MAIN_THREAD
    wants_overlay = False

    def __init__(self, world: World, camera: str) -> None:
        self._world, self._scene = world, world.scenes[camera]

    def open(self, context: RunContext) -> None:
        """Nothing to acquire."""

    def write(self, presentation: Presentation) -> None:
        """See `Sink.write`."""
        scene, frame = self._scene, presentation.segmented.frame
        scene.numbers[scene.shown] = read_frame_number(frame.image_bgr)
        scene.shown += 1
        scene.uncovered += bool(red(frame.image_bgr).any())
        with self._world.changed:
            scene.shown_at_s = frame.captured_at_s
            self._world.changed.notify_all()

    def close(self) -> None:
        """Nothing to release."""
