"""Runs the program against a camera that keeps failing while it records, serves and tracks; ends with a verdict.

    python -m benchmarks.soak                                  # ten minutes, a hundred faults, the shipped weights
    python -m benchmarks.soak --minutes 0.5 --faults 8 --fake  # quickly, without a network
    python -m benchmarks.soak --json soak.json --keep out      # numbers and recordings to look at

Exit code 0: every frame is accounted for, memory is flat within 2 %, threads and file handles are back to their number,
all recordings can be played, and every fault of the camera was noticed. 1: a check failed; it is named. 2: usage.

Camera and viewers are processes of their own, so that this one holds nothing but the run. A rehearsal of a few seconds
first loads what a process keeps (TensorFlow's and OpenCV's thread pools), so that threads and handles can be compared.
Memory is the resident size after collecting garbage and returning the allocator's free pages (malloc_trim): the median
of samples over a tenth of the run, in its warm and in its final part. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.faulty_camera import FaultyCamera, plan
from benchmarks.soak_verdict import Check, Footprint, Measured, Recording, verdict
from benchmarks.watchers import Watchers
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.records import Instances, SegmentedFrame
from pipeline.runtime.stream import Stream
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.schema import Settings

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "stream_segment_person.h5"
LONGEST_FAULT_S = 2.2
SHORTEST_SHARE_S = 2.0
"""Least time between faults: the run must notice one before the next."""
WARM_FROM, WARM_TO, END_FROM = 0.2, 0.3, 0.9
"""Bounds of the warm and the final part, as shares of the run."""
SAMPLES = 10
"""Memory samples in each part."""
REHEARSAL_FRAMES = 30
READY_DEADLINE_S = 180.0
"""Deadline of the first result: the network is loaded, and the machine may be busy."""
SETTLE_DEADLINE_S = 5.0
"""Deadline for threads and handles to end after the run: a server's sockets close asynchronously."""


class DriftingBoxes(Segmenter):
    """Returns two boxes that drift from left to right, after the delay of a network."""

    def __init__(self, takes_s: float = 0.05) -> None:
        self._takes_s = takes_s
        self._closed = threading.Event()
        self._count = 0

    @property
    def labels(self) -> Sequence[str]:
        return ("BG", "person")

    @property
    def description(self) -> str:
        return "two boxes, no network"

    def open(self) -> None:
        self._closed.clear()

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        return [self._segment(image_bgr) for image_bgr in images_bgr]

    def _segment(self, image_bgr: NDArray[np.uint8]) -> Instances:
        self._closed.wait(self._takes_s)
        self._count += 1
        height, width = image_bgr.shape[:2]
        x = 0.1 * width + 0.002 * width * (self._count % 100)
        boxes = np.array([(x, 20, x + 60, height - 20), (x + 0.5 * width, 40, x + 0.5 * width + 50, height - 10)])
        masks = np.ones((2, 28, 28), np.float32)
        return Instances(boxes.astype(np.float32), np.array([1, 1], np.int32), np.array([0.95, 0.9], np.float32), masks)

    def close(self) -> None:
        self._closed.set()


@dataclass
class RunLog:
    """Observations of a run."""

    seen: int = 0
    with_ids: int = 0
    reconnected_at_s: list[float] = field(default_factory=list)
    sizes: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    _size_wh: tuple[int, int] | None = None

    def frame(self, segmented: SegmentedFrame, reconnects: int, now_s: float) -> None:
        """Record a presented frame.

        Args:
            segmented: the frame.
            reconnects: count so far; frames from before the last one may still arrive.
            now_s: seconds on `time.monotonic`.
        """
        frame = segmented.frame
        self.seen += 1
        ids = segmented.instances.track_ids
        self.with_ids += bool(ids is not None and (ids > 0).any())
        self.reconnected_at_s += [now_s] * (reconnects - len(self.reconnected_at_s))
        size_wh = (frame.width, frame.height)
        if self._size_wh not in (None, size_wh):
            self.sizes.append((frame.captured_at_s, size_wh))
        self._size_wh = size_wh


class Sampler:
    """A thread that samples the memory and ends the run; a context manager, started by `begin`."""

    def __init__(self, duration_s: float, end: Callable[[], None]) -> None:
        self._duration_s = duration_s
        self._end = end
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak sampler")
        self.warm: list[tuple[int, int]] = []
        self.last: list[tuple[int, int]] = []
        """Resident bytes before and after `release_memory`."""

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_error: object) -> None:
        self._leave.set()
        if self._thread.ident is not None:
            self._thread.join(30.0)

    def begin(self) -> None:
        """Start the clock of the run."""
        self._thread.start()

    def _run(self) -> None:
        began_s = time.monotonic()
        spans = ((WARM_FROM, WARM_TO, self.warm), (END_FROM, 1.0, self.last))
        for first, last, samples in spans:
            for share in np.linspace(first, last, SAMPLES, endpoint=False):
                if self._leave.wait(max(0.0, began_s + share * self._duration_s - time.monotonic())):
                    return
                raw = resident_bytes()
                release_memory()
                samples.append((raw, resident_bytes()))
        if not self._leave.wait(max(0.0, began_s + self._duration_s - time.monotonic())):
            self._end()


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def release_memory() -> None:
    """Collect garbage, and hand the allocator's free pages back to the system where the C library can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def footprint() -> Footprint:
    """The threads and handles of this process."""
    handles = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            handles.append(re.sub(r"\d{2,}", "N", os.readlink(f"/proc/self/fd/{handle}")))
        except FileNotFoundError:
            continue  # the handle of the listing itself
    threads = sorted(thread.name for thread in threading.enumerate())
    return Footprint(tuple(threads), tuple(sorted(handles)), len(os.listdir("/proc/self/task")))


def settled(wanted: Footprint) -> Footprint:
    """The footprint, once it is no larger than wanted or the deadline has passed."""
    until_s = time.monotonic() + SETTLE_DEADLINE_S
    while True:
        now = footprint()
        fits = len(now.threads) <= len(wanted.threads) and len(now.handles) <= len(wanted.handles)
        if (fits and now.system_threads <= wanted.system_threads) or time.monotonic() > until_s:
            return now
        time.sleep(0.1)


def make_settings(url: str, folder: Path, port: int, duration_s: float, share_s: float) -> Settings:
    """A run that records in segments, serves, tracks and writes detections; `share_s`: from fault to fault."""
    folder.mkdir(parents=True, exist_ok=True)
    reconnect = {"read_timeout_s": min(1.0, max(0.5, 0.2 * share_s)), "first_delay_s": 0.1, "longest_delay_s": 0.2}
    return Settings.model_validate(
        {
            "source": {"uri": url, "reconnect": reconnect},
            "model": {"weights": str(WEIGHTS)},
            "output": {
                "path": str(folder / "soak.mp4"),
                "segment_s": max(2.0, duration_s / 20),
                "preset": "ultrafast",
                "record_dir": str(folder),
            },
            "detections": {"path": str(folder / "soak.jsonl"), "masks": False, "events": True},
            "serve": {"address": f"127.0.0.1:{port}"},
            "window": {"mode": "off"},
        }
    )


def free_port() -> int:
    """A free local port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rehearse(settings: Settings, segmenter: Segmenter | None) -> None:
    """A short run of the same kind, which loads what a process loads once."""
    began_s = time.monotonic()
    with Stream(settings, segmenter=segmenter) as stream:
        for number, segmented in enumerate(stream):
            inferred = stream.ledger.recent(segmented.frame.captured_at_s).inferred
            if number >= REHEARSAL_FRAMES and inferred > 3:
                break
            _check_ready(began_s)


def _check_ready(began_s: float) -> None:
    if time.monotonic() - began_s > READY_DEADLINE_S:
        raise RunError(f"the network gave no result within {READY_DEADLINE_S:g} s")


def play(stream: Stream, watch: RunLog, begin: Callable[[], None]) -> str:
    """Take every frame until the run ends and call `begin` at the first result; return the error, or ""."""
    began_s, begun = time.monotonic(), False
    try:
        with stream:
            for segmented in stream:
                summary = stream.summary()
                watch.frame(segmented, summary.reconnects, time.monotonic())
                if not begun and summary.stats.inferred > 0:
                    begun = True
                    begin()
                elif not begun:
                    _check_ready(began_s)
    except StreamSegmentError as error:
        return str(error)
    return ""


def soak(duration_s: float, faults: int, folder: Path, *, fake: bool) -> Measured:
    """The whole soak test; keeps recordings and detections in `folder`."""
    script = plan(faults, duration_s, LONGEST_FAULT_S)
    share_s = duration_s / faults
    segmenter = DriftingBoxes() if fake else None
    with FaultyCamera() as camera, Watchers() as watchers:
        for name in ("rehearsal", "run"):
            port = free_port()
            settings = make_settings(camera.url, folder / name, port, duration_s, share_s)
            watchers.watch(port)
            if name == "rehearsal":
                rehearse(settings, segmenter)
                watchers.report()
        release_memory()
        before, sent_before = footprint(), camera.report(duration_s).pictures
        stream, watch = Stream(settings, segmenter=segmenter), RunLog()
        began_s = time.monotonic()
        with Sampler(duration_s, stream.stop) as sampler:

            def begin() -> None:
                nonlocal began_s
                began_s = time.monotonic()
                camera.begin(script)
                sampler.begin()

            error = play(stream, watch, begin)
            ended_s = time.monotonic()
        watched, did = watchers.report(), camera.report(duration_s)
        after = settled(before)  # without collecting garbage, which would close what was left open and hide it
    counted = stream.ledger.overall()
    return Measured(
        duration_s=ended_s - began_s,
        captured=counted.captured,
        presented=counted.presented,
        inferred=counted.inferred,
        dropped={f"{stage.value}: {cause.value}": count for (stage, cause), count in counted.dropped.items()},
        sink_dropped=dict(counted.sink_dropped),
        seen=watch.seen,
        with_ids=watch.with_ids,
        reconnects=stream.summary().reconnects,
        reconnected_at_s=watch.reconnected_at_s,
        sizes=watch.sizes,
        planned=len(script),
        faults=did.faults,
        sent=did.pictures - sent_before,
        recordings=[decoded(path) for path in sorted((folder / "run").glob("*.mp4"))],
        detection_lines=whole_lines(folder / "run" / "soak.jsonl"),
        warm_raw_bytes=_median(raw for raw, _ in sampler.warm),
        warm_bytes=_median(tidy for _, tidy in sampler.warm),
        end_raw_bytes=_median(raw for raw, _ in sampler.last),
        end_bytes=_median(tidy for _, tidy in sampler.last),
        before=before,
        after=after,
        watched=watched,
        error=error,
    )


def _median(values: Iterable[int]) -> float:
    found = list(values)
    return float(statistics.median(found)) if found else float("nan")


def decoded(path: Path) -> Recording:
    """Decode a file to its end with OpenCV, and count with PyAV the frames that its container lists."""
    video, count = cv2.VideoCapture(str(path)), 0
    while video.read()[0]:
        count += 1
    video.release()
    try:
        with av.open(str(path)) as container:
            listed = sum(packet.size > 0 for packet in container.demux(video=0))
    except av.FFmpegError as error:
        return Recording(path.name, count, 0, f"cannot be opened: {error.strerror}")
    return Recording(path.name, count, listed)


def whole_lines(path: Path) -> int:
    """Lines of a JSON Lines file; raises ValueError where one is no JSON."""
    if not path.is_file():
        return 0
    with path.open(encoding="utf-8") as lines:
        return sum(1 for line in lines if json.loads(line))


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (default: 10)")
    parser.add_argument("--faults", type=int, default=100, help="number of faults of the camera (default: 100)")
    parser.add_argument("--fake", action="store_true", help="without a network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep recordings and detections, in a new folder")
    arguments = parser.parse_args(argv)
    try:
        _check(arguments)
        with tempfile.TemporaryDirectory(prefix="soak") as scratch:
            folder = arguments.keep or Path(scratch)
            measured = soak(60 * arguments.minutes, arguments.faults, folder, fake=arguments.fake)
    except StreamSegmentError as error:
        print(f"benchmarks.soak: error: {error}", file=sys.stderr)
        return error.exit_code
    checks = verdict(measured)
    passed = all(check.passed for check in checks)
    if arguments.json:
        record = {"passed": passed, "checks": [asdict(check) for check in checks], "measured": asdict(measured)}
        text = json.dumps(record, indent=2, default=lambda value: value.value) + "\n"
        arguments.json.write_text(text, encoding="utf-8")
    _print(checks)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


def check_system() -> None:
    """Raises InputError where memory cannot be measured."""
    if not Path("/proc/self/statm").exists():
        raise InputError("memory, threads and handles are read from /proc, which this system does not have: use Linux")


def _check(arguments: argparse.Namespace) -> None:
    check_system()
    if arguments.faults < 1:
        raise InputError(f"--faults is at least 1, got {arguments.faults}")
    share_s = 60 * arguments.minutes / arguments.faults
    if not share_s >= SHORTEST_SHARE_S:
        raise InputError(
            f"--minutes {arguments.minutes:g} with --faults {arguments.faults} leaves {share_s:.1f} s from fault to "
            f"fault; at least {SHORTEST_SHARE_S:g} s are needed"
        )
    if arguments.keep is not None and arguments.keep.exists():
        raise InputError(f"--keep {arguments.keep}: there is something already, name a new folder")
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        raise InputError(f"--json {arguments.json}: there is no folder {arguments.json.resolve().parent}")


def _print(checks: Sequence[Check]) -> None:
    for check in checks:
        print(f"  {'ok    ' if check.passed else 'FAILED'} {check.name:15} {check.text}")


if __name__ == "__main__":
    sys.exit(main())
