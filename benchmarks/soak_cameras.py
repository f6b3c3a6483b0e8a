"""Several cameras that keep failing in one run, while others are added and removed: measurements and checks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.faulty_camera import SIZES_WH, CameraReport, Fault, FaultKind, FaultyCamera, plan
from benchmarks.process_state import Sampler, footprint, release_memory, settled
from benchmarks.recorded_files import whole_lines
from benchmarks.soak_verdict import Check, ProcessMeasured, Recording, memory, parts, problem_of
from benchmarks.soak_verdict import footprint as footprint_checks
from benchmarks.surroundings import Surroundings
from benchmarks.visitors import Visitors
from pipeline.errors import RunError, StreamSegmentError
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.camera_summaries import CameraSummary
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink

LONGEST_FAULT_S = 2.2
REHEARSAL_S = 4.0
WARM_SIZES_WH = [(640, height) for height in range(160, 640, 80)]
"""OpenVINO keeps the threads of what it compiled for a canvas, and reuses them: these are more than any run needs."""
CUT_FRAMES = 40
"""Most frames that a recording loses when its disk is full: a fragment of a second, and what the encoder holds."""
READY_DEADLINE_S = 180.0
"""Deadline of the first results: the network is loaded, and the machine may be busy."""


@dataclass(frozen=True)
class CamerasPlan:
    """What a soak test with several cameras does.

    Attributes:
        cameras: how many are there all the time.
        faults: of each of them.
        changes: how often another one is added and removed.
        duration_s: from the first result of each to the end.
    """

    cameras: int
    faults: int
    changes: int
    duration_s: float


@dataclass(frozen=True)
class CameraMeasured:
    """The measurements of one camera.

    Attributes:
        name: of the camera.
        captured, presented, inferred, dropped, sink_dropped: its counts, summed over its runs.
        seen: frames that a sink of its own got.
        reconnects: its runs' count.
        recordings: its recorded files.
        detection_lines: whole lines of its detections file.
        of_others: those that bear another camera's name.
        cut: names of its files that end within a fragment, since the disk was full.
        did: what the camera did; None for one that came and went.
        error: ended its last run; "" if none.
    """

    name: str
    captured: int
    presented: int
    inferred: int
    dropped: dict[str, int]
    sink_dropped: dict[str, int]
    seen: int
    reconnects: int
    recordings: Sequence[Recording]
    detection_lines: int
    of_others: int
    cut: Sequence[str]
    did: CameraReport | None
    error: str


@dataclass(frozen=True, kw_only=True)
class CamerasMeasured(ProcessMeasured):
    """The measurements of one soak test with several cameras.

    Attributes:
        cameras: those that were there all the time, then those that came and went.
        planned: faults of each camera.
        changes: how often a camera was to be added and removed.
        surroundings: the checks of what else went on.
        error: ended the run early; "" if none.
    """

    cameras: Sequence[CameraMeasured]
    planned: int
    changes: int
    surroundings: Sequence[Check]
    error: str


class Counter(Sink):
    """Counts the frames of a camera, in its presenting thread."""

    name = "counter"
    delivery = Delivery.MAIN_THREAD
    wants_overlay = False

    def __init__(self) -> None:
        self.count = 0

    def open(self, context: RunContext) -> None:
        """Does nothing."""

    def write(self, presentation: Presentation) -> None:
        """Count it."""
        self.count += 1

    def close(self) -> None:
        """Does nothing."""


def scripts(count: int, faults: int, duration_s: float) -> list[list[Fault]]:
    """Each camera's faults: the same, a little later than the last camera's."""
    share_s = duration_s / faults
    planned = plan(faults, duration_s, min(LONGEST_FAULT_S, 0.3 * share_s))
    shifts = [0.3 * share_s * number / count for number in range(count)]
    return [[replace(fault, at_s=fault.at_s + shift_s) for fault in planned] for shift_s in shifts]


def run(cameras: Cameras, begin: Callable[[], None]) -> str:
    """Run until the end, and call `begin` when there is a result of each camera; return the error, or ""."""
    until_s = time.monotonic() + READY_DEADLINE_S
    begun = False

    def watch() -> None:
        nonlocal begun
        if not begun and all(entry.ledger.overall().inferred for entry in cameras.entries.values()):
            begun = True
            begin()
        elif not begun and time.monotonic() > until_s:
            raise RunError(f"a camera had no result within {READY_DEADLINE_S:g} s")

    try:
        cameras.run(watch)
    except StreamSegmentError as error:
        return str(error)
    return ""


def soak_cameras(plans: CamerasPlan, segmenter: Segmenter | None, surroundings: Surroundings) -> CamerasMeasured:
    """The whole soak test; keeps recordings and detections in the folder of its surroundings."""
    duration_s = plans.duration_s
    with contextlib.ExitStack() as processes:
        sources = [processes.enter_context(FaultyCamera()) for _ in range(plans.cameras)]
        urls = [source.url for source in sources]
        processes.enter_context(surroundings)
        rehearsal = surroundings.settings(urls, "rehearsal")
        if segmenter is None:
            _compile(MaskRCNNSegmenter.of(rehearsal.model))
        _rehearse(Cameras(rehearsal, segmenter=segmenter), sources, surroundings)
        release_memory()
        before = footprint()
        settings = surroundings.settings(urls, "run")
        cameras, counters = Cameras(settings, segmenter=segmenter), defaultdict[str, Counter](Counter)
        cameras.add_sinks(lambda entry: counters[entry.name])
        began_s = time.monotonic()
        period_s = 0.95 * duration_s / max(1, plans.changes)
        visitors = Visitors(cameras, urls, plans.changes, period_s, surroundings.of_visitors)
        with Sampler(duration_s, cameras.stop) as sampler:

            def begin() -> None:
                nonlocal began_s
                began_s = time.monotonic()
                for source, script in zip(sources, scripts(plans.cameras, plans.faults, duration_s), strict=True):
                    source.begin(script)
                visitors.begin()
                surroundings.begin()
                sampler.begin()

            with cameras, visitors:
                error = run(cameras, begin)
            ended_s = time.monotonic()
        surroundings.end()
        did = [source.report(duration_s) for source in sources] if not error else [None] * len(sources)
        after = settled(before)  # without collecting garbage, which would close what was left open and hide it
        summary = cameras.summary()
        summaries = [*zip(summary.cameras, did, strict=True), *((each, None) for each in visitors.summaries)]
        measurements = [measured(one, counters[one.name].count, faults, surroundings) for one, faults in summaries]
        return CamerasMeasured(
            duration_s=ended_s - began_s,
            cameras=measurements,
            planned=plans.faults,
            changes=plans.changes,
            surroundings=surroundings.checks(summary),
            memory=tuple(sampler.memory),
            before=before,
            after=after,
            error=error or visitors.error,
        )


def _compile(network: Segmenter) -> None:
    """Let OpenVINO start all the threads that it will keep."""
    network.open()
    for width, height in WARM_SIZES_WH:
        network.segment_batch([np.zeros((height, width, 3), np.uint8)])
    network.close()


def _rehearse(cameras: Cameras, sources: Sequence[FaultyCamera], surroundings: Surroundings) -> None:
    """A short run: pictures of each size, then what the surroundings add. Loads what a process loads once."""
    share_s = REHEARSAL_S / (len(SIZES_WH) + 1)
    script = [Fault(FaultKind.SIZE, share_s * (number + 1), 0.0) for number in range(len(SIZES_WH))]
    ended = threading.Event()

    def end() -> None:
        for trouble_s in surroundings.rehearse():
            ended.wait(trouble_s)
        cameras.stop()

    with Sampler(REHEARSAL_S, end) as sampler, cameras:

        def begin() -> None:
            for source in sources:
                source.begin(script)
            sampler.begin()

        if error := run(cameras, begin):
            raise RunError(f"the rehearsal failed: {error}")
    for source in sources:
        source.report(REHEARSAL_S + 30.0)


def measured(summary: CameraSummary, seen: int, did: CameraReport | None, surroundings: Surroundings) -> CameraMeasured:
    """What became of one camera's frames."""
    name, lines = summary.name, surroundings.folder / "run" / f"{summary.name}.jsonl"
    dropped: Counts[str] = Counts()
    lost_by_sinks: Counts[str] = Counts()
    for one in summary.runs:
        dropped.update({f"{stage.value}: {cause.value}": n for (stage, cause), n in one.stats.dropped.items()})
        lost_by_sinks.update(one.stats.sink_dropped)
    own = f'"camera":"{name}"'
    return CameraMeasured(
        name=name,
        captured=sum(one.stats.captured for one in summary.runs),
        presented=sum(one.stats.presented for one in summary.runs),
        inferred=sum(one.stats.inferred for one in summary.runs),
        dropped=dict(dropped),
        sink_dropped=dict(lost_by_sinks),
        seen=seen,
        reconnects=sum(one.reconnects for one in summary.runs),
        recordings=surroundings.recordings(name),
        detection_lines=whole_lines(lines),
        of_others=sum(own not in line.replace(" ", "") for line in read_lines(lines)),
        cut=surroundings.cuts(name),
        did=did,
        error="" if summary.error is None else str(summary.error),
    )


def read_lines(path: Path) -> list[str]:
    """Of a text file; none where there is none."""
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def verdict(measured: CamerasMeasured) -> list[Check]:
    """All checks."""
    cameras = measured.cameras
    came = sum(camera.did is None for camera in cameras)
    errors = [f"{camera.name}: {camera.error}" for camera in cameras if camera.error]
    text = "; ".join([measured.error, *errors] if measured.error else errors)
    captured, presented = (sum(getattr(one, what) for one in cameras) for what in ("captured", "presented"))
    return [
        Check("run", not text, text or f"ran for {measured.duration_s:.0f} s without an error"),
        Check("changes", came == measured.changes, f"{measured.changes} cameras added and removed expected: {came}"),
        _each("frames", cameras, _frames, f"{captured} captured, {presented} presented, each accounted for"),
        _each("results", cameras, _results, f"{sum(one.inferred for one in cameras)}, some of each lasting camera"),
        _each("recorded", cameras, _recorded, f"{sum(len(one.recordings) for one in cameras)} files, all as presented"),
        _each("detections", cameras, _detections, f"{sum(one.detection_lines for one in cameras)} lines, each its own"),
        memory(measured),
        *footprint_checks(measured),
        _each("faults", cameras, lambda one: _faults(one, measured.planned), _faults_text(cameras)),
        *measured.surroundings,
    ]


def _each(name: str, cameras: Sequence[CameraMeasured], problem: Callable[[CameraMeasured], str], good: str) -> Check:
    """A check that each camera must pass."""
    bad = [f"{camera.name}: {text}" for camera in cameras if (text := problem(camera))]
    return Check(name, not bad, "; ".join(bad) or good)


def _frames(camera: CameraMeasured) -> str:
    dropped = sum(camera.dropped.values())
    if camera.captured == camera.presented + dropped and camera.presented == camera.seen:
        return ""
    return (
        f"captured {camera.captured} = presented {camera.presented} + dropped {dropped} was expected"
        f"{parts(camera.dropped)}, and {camera.presented} seen: {camera.seen} were"
    )


def _results(camera: CameraMeasured) -> str:
    return "no result" if camera.did is not None and not camera.inferred else ""


def _recorded(camera: CameraMeasured) -> str:
    bad = [f"{one.path}: {text}" for one in camera.recordings if (text := problem_of(one)) and not _is_cut(one, camera)]
    expected = camera.presented - camera.sink_dropped.get("recorder", 0)
    came = sum(one.decoded for one in camera.recordings)
    most_cut = CUT_FRAMES * len(camera.cut)
    if bad or expected - most_cut <= came <= expected:
        return "; ".join(bad)
    less = f", or up to {most_cut} less for {len(camera.cut)} files cut" if camera.cut else ""
    return f"{expected} recorded frames expected{less}, {came} came"


def _is_cut(recording: Recording, camera: CameraMeasured) -> bool:
    """Whether all that is wrong with a file is that a full disk took only a part of its last frame."""
    decoded, listed = recording.decoded, recording.listed
    return recording.path in camera.cut and not recording.problem and 0 < decoded == listed - 1


def _detections(camera: CameraMeasured) -> str:
    expected = camera.presented - camera.sink_dropped.get("detections", 0)
    if camera.detection_lines != expected:
        return f"{expected} lines expected, {camera.detection_lines} came"
    return f"{camera.of_others} lines without its name" if camera.of_others else ""


def _faults(camera: CameraMeasured, planned: int) -> str:
    if camera.did is None:
        return ""
    done, losses = camera.did.faults, sum(fault.kind.loses_connection for fault in camera.did.faults)
    if len(done) != planned:
        return f"{planned} faults planned, {len(done)} done"
    return "" if camera.reconnects >= losses else f"{losses} reconnects expected, {camera.reconnects} came"


def _faults_text(cameras: Sequence[CameraMeasured]) -> str:
    kinds = Counts(fault.kind.value for camera in cameras if camera.did is not None for fault in camera.did.faults)
    reconnects = sum(camera.reconnects for camera in cameras if camera.did is not None)
    return f"every one noticed{parts(kinds)}: {reconnects} reconnects"
