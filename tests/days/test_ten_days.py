"""Ten days of two cameras in one run, in a process of their own, on a clock that moves as fast as frames are presented.

Real are the run with all its threads, supervision of the network, reconnecting, tracking, lines and zones, privacy,
recorders and their files, the detections files, the page. Simulated (world.py) are time, both the run's and the day's;
the cameras, which give a small picture every minute and every three minutes; the network, which finds red rectangles;
and free space on the disk. fsync does nothing. Deadlines for threads that hang and the page's connections follow the
system's clock, as ever. Nothing here is drawn in a window, and every frame is presented with its own result.

The days are those around the end of summer time and of a month. A camera is lost about once an hour, and once for a day
and a half; the other one is off at night; the network fails or hangs every five hours; the disk is full three times.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from benchmarks.process_state import footprint, memory_sample, release_memory, settled
from benchmarks.recorded_files import decoded, whole_lines
from benchmarks.soak import free_port
from benchmarks.soak_verdict import (
    LAST,
    MEMORY_BOUND,
    WARM,
    Footprint,
    MemorySample,
    Recording,
    mean_memory,
    problem_of,
)
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_summaries import CamerasSummary
from pipeline.sources.pattern import read_frame_number
from tests.days.world import (
    BEGIN,
    DAY_S,
    DEADLINE_S,
    EVERY_S,
    FAULT_EVERY_S,
    FIRST,
    HOUR_S,
    LONG_OUTAGE_S,
    WALK,
    Eye,
    Network,
    World,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAYS, REHEARSED_DAYS = 10, 0.3
SEGMENT_S, KEEP_S = HOUR_S / 2, 2 * DAY_S
DAYTIME = range(6, 22)
"""Hours in which the hall is enabled."""
MEMORY_SAMPLES = 200
"""In the ten days: forty in the two days of each part that is compared."""


@dataclass(frozen=True)
class Report:
    """What became of the ten days.

    Attributes:
        summary: of the run.
        given, shown: pictures that each camera gave, and that were shown.
        uncovered: shown pictures in which a person is seen.
        lines: of each camera's detections files.
        crossings: in the gate's.
        numbers: in the gate's shown pictures, without repetitions.
        recorded: the same in those of its segments that are left.
        kept: segments that are left, by camera, in the order of their numbers.
        begun: names of all the gate's segments, with the time of day at which each began.
        faults, losses: of the network and of the gate.
        offline: what the page says of the gate near the end of its long outage, when that is, and its segments then.
        metrics: of the last hours.
        before, after: the process.
        memory: of the process, on the days that are compared.
        wall_s: how long it took.
    """

    summary: CamerasSummary
    given: Mapping[str, int]
    shown: Mapping[str, int]
    uncovered: int
    lines: Mapping[str, int]
    crossings: int
    numbers: Sequence[int]
    recorded: Sequence[int]
    kept: Mapping[str, Sequence[Recording]]
    begun: Sequence[tuple[str, datetime]]
    faults: int
    losses: int
    offline: tuple[str, datetime, Sequence[str]]
    metrics: str
    before: Footprint
    after: Footprint
    memory: Sequence[MemorySample]
    wall_s: float


class Days:
    """A run of some days, and what happens to it meanwhile."""

    def __init__(self, folder: Path, days: float) -> None:
        self.folder, self.world = folder, World(days)
        self.memory: list[MemorySample] = []
        self.offline: tuple[str, datetime, Sequence[str]] = ("", BEGIN, ())
        self.metrics = ""
        self._port = free_port()
        self._next_look_s = self._next_sample = 0.0

    def run(self) -> CamerasSummary:
        self.folder.mkdir()
        world = self.world
        with world.read_by_the_run():
            cameras = Cameras(self._settings(), segmenter=Network(world), source_of=world.source_of, clock=world)
            cameras.add_sinks(lambda entry: Eye(world, entry.name))
            with cameras:
                cameras.run(lambda: self._watch(cameras))
        return cameras.summary()

    def segments(self, camera: str) -> Sequence[Path]:
        """Those that are there, in the order of their numbers."""
        return sorted(self.folder.glob(f"{camera}-*.mp4"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))

    def _settings(self) -> dict[str, Any]:
        """Everything that a kiosk has, without a window."""
        return {
            "cameras": [{"name": name, "uri": f"http://{name}.local/video"} for name in EVERY_S],
            "presentation": "exact",
            "window": {"mode": "off"},
            "serve": {"address": f"127.0.0.1:{self._port}"},
            "source": {"reconnect": {"longest_delay_s": 60.0}},
            "supervision": {"restart": True, "timeout_s": 300.0, "start_timeout_s": 300.0},
            "privacy": {"mode": "silhouette"},
            "lines": [{"name": "door", "points": [(0.5, 0.0), (0.5, 0.85)]}],
            "zones": [{"name": "room", "points": [(0.5, 0.0), (1.0, 0.0), (1.0, 0.85), (0.5, 0.85)]}],
            "overlay": {"places": False},
            "detections": {"path": str(self.folder / "{camera}.jsonl"), "masks": False},
            "output": {
                "path": str(self.folder / "{camera}.mp4"),
                "preset": "ultrafast",
                "segment_s": SEGMENT_S,
                "keep_s": KEEP_S,
                "min_free_bytes": 1_000_000,
            },
        }

    def _watch(self, cameras: Cameras) -> None:
        world, now_s = self.world, self.world()
        share = now_s / world.end_s
        if any(first <= share < last for first, last in (WARM, LAST)) and share >= self._next_sample:
            self._next_sample = share + 1 / MEMORY_SAMPLES
            self.memory.append(memory_sample(share))
        is_day = world.local().hour in DAYTIME
        if cameras.is_enabled("hall") != is_day:
            (cameras.enable if is_day else cameras.disable)("hall")
        if now_s >= self._next_look_s:
            self._next_look_s += 6 * HOUR_S
            self.metrics = self._get("metrics")
        if 0.6 < (now_s - world.long_outage_from_s) / LONG_OUTAGE_S < 0.99:
            state = json.loads(self._get("api/status"))["cameras"][0]["state"]
            self.offline = state, world.local(), [path.name for path in self.segments("gate")]
        if now_s >= world.end_s:
            cameras.stop()

    def _get(self, path: str) -> str:
        with urlopen(f"http://127.0.0.1:{self._port}/{path}", timeout=DEADLINE_S) as answer:
            return answer.read().decode()


def live_through(folder: Path) -> Report:
    """The ten days, after some hours that load what a process loads once."""
    Days(folder / "rehearsal", REHEARSED_DAYS).run()
    release_memory()
    before, began_s = footprint(), time.monotonic()
    days = Days(folder / "run", DAYS)
    summary = days.run()
    wall_s, after = time.monotonic() - began_s, settled(before)
    world, gate = days.world, days.world.scenes["gate"]
    recorded: list[int] = []
    looks = {"gate": lambda image: recorded.append(read_frame_number(image)), "hall": lambda image: None}
    files = {name: sorted(days.folder.glob(f"{name}*.jsonl")) for name in EVERY_S}
    return Report(
        summary=summary,
        given={name: scene.index for name, scene in world.scenes.items()},
        shown={name: scene.shown for name, scene in world.scenes.items()},
        uncovered=sum(scene.uncovered for scene in world.scenes.values()),
        lines={name: sum(map(whole_lines, found)) for name, found in files.items()},
        crossings=sum(file.read_text().count('"event": "crossed"') for file in files["gate"]),
        numbers=[number for number, _ in groupby(gate.numbers[: gate.shown].tolist())],
        kept={name: [decoded(path, look) for path in days.segments(name)] for name, look in looks.items()},
        recorded=[number for number, _ in groupby(recorded)],
        begun=world.segments,
        faults=world.faults,
        losses=gate.losses,
        offline=days.offline,
        metrics=days.metrics,
        before=before,
        after=after,
        memory=days.memory,
        wall_s=wall_s,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("days")
    with pytest.MonkeyPatch.context() as patch, ProcessPoolExecutor(1, get_context("spawn")) as process:
        # One arena: with one for each thread, gaps in them grow with the load of the machine.
        patch.setenv("MALLOC_ARENA_MAX", "1")
        return process.submit(live_through, folder).result()


def test_every_frame_is_accounted_for(report):
    gate, hall = report.summary.cameras
    assert (gate.error, hall.error) == (None, None)
    assert len(gate.runs) == 1
    assert DAYS / 2 < len(hall.runs) <= DAYS + 1
    for camera in (gate, hall):
        for run in camera.runs:
            assert run.stats.captured == run.stats.presented + run.stats.dropped_total
        presented = sum(run.stats.presented for run in camera.runs)
        assert report.shown[camera.name] == presented
        assert report.lines[camera.name] == presented - _lost_by(camera, "detections")
    assert report.given["gate"] == report.shown["gate"] > 10_000
    assert report.uncovered == 0


def test_everybody_is_counted_once(report):
    def have_made(step):
        """How many people had made that step when the gate gave its last picture."""
        return (report.given["gate"] - FIRST - step + WALK - 1) // WALK

    scene = report.summary.cameras[0].runs[0].scene
    assert scene.seen == {"person": have_made(0)}
    (line,), (zone,) = scene.lines, scene.zones
    # The middle of the picture is at 48 pixels; at step 5, that of the person is at 50.
    crossed = line.crossed_in + line.crossed_out
    assert (crossed, report.crossings, zone.entered) == (have_made(5),) * 3


def test_what_fails_comes_back(report):
    assert report.summary.restarts == report.faults == DAYS * DAY_S // FAULT_EVERY_S - 1
    assert report.summary.cameras[0].runs[0].reconnects == report.losses > 140
    (shown,) = re.findall(r'frames_total{camera="gate",stage="display"} (.+)', report.metrics)
    assert 0.9 * report.shown["gate"] < float(shown) <= report.shown["gate"]


def test_memory_threads_and_handles_stay(report):
    warm, last = (mean_memory(report.memory, part) for part in (WARM, LAST))
    assert last.tidy_bytes / warm.tidy_bytes - 1 <= MEMORY_BOUND, (warm, last)
    before, after = report.before, report.after
    assert len(after.threads) <= len(before.threads), after.threads
    assert len(after.handles) <= len(before.handles), after.handles
    assert after.system_threads <= before.system_threads


def test_what_is_left_of_the_recordings_plays_and_has_every_frame(report):
    assert [problem_of(one) for kept in report.kept.values() for one in kept if problem_of(one)] == []
    assert len(report.recorded) > 2000
    assert report.recorded == report.numbers[-len(report.recorded) :]


def test_names_are_in_order_and_in_local_time(report):
    numbers = [int(name[-8:-4]) for name, _ in report.begun]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [name[:-9] for name, _ in report.begun] == [f"gate-{at:%Y%m%d-%H%M%S}" for _, at in report.begun]
    # In the night in which summer time ends.
    ((before, after),) = [(first, then) for (_, first), (_, then) in pairwise(report.begun) if then < first]
    assert datetime(2026, 10, 25, 2) <= after < before < datetime(2026, 10, 25, 3)
    assert {at.date() for _, at in report.begun} >= {date(2026, 10, 22), date(2026, 10, 31), date(2026, 11, 1)}


def test_segments_are_kept_for_two_days_also_while_the_camera_is_away(report):
    begun = dict(report.begun)
    state, now, left = report.offline
    (*_, last_before) = [at for _, at in report.begun if at < now]
    assert re.fullmatch(rf"offline since {last_before:%Y-%m-%d} \d\d:\d\d", state)
    assert now.date() > last_before.date()
    for end, names in ((now, left), (report.begun[-1][1], [one.path for one in report.kept["gate"]])):
        # While no frame comes, recorders look twice a second of the system's clock: in a few hours of this one.
        oldest = end - begun[names[0]] - timedelta(seconds=KEEP_S)
        assert -timedelta(hours=2) < oldest < timedelta(hours=8)


def _lost_by(camera, sink):
    return sum(run.stats.sink_dropped.get(sink, 0) for run in camera.runs)
