"""Runs the program against a camera that keeps failing while it records, serves and tracks; ends with a verdict.

    python -m benchmarks.soak                                  # ten minutes, a hundred faults, the shipped weights
    python -m benchmarks.soak --minutes 0.5 --faults 8 --fake  # quickly, without a network
    python -m benchmarks.soak --json soak.json --keep out      # numbers and recordings to look at
    python -m benchmarks.soak --cameras 6                      # six that fail, others are added and removed
    python -m benchmarks.soak --cameras 6 --rounds 30 --minutes 60   # as a kiosk, with everything else that goes wrong

Exit code 0: every frame is accounted for, memory is flat within 2 %, threads and file handles are back to their number,
all recordings can be played, and every fault of the camera was noticed. 1: a check failed; it is named. 2: usage.

Camera and viewers are processes of their own, so that this one holds nothing but the run. A rehearsal of a few seconds
first loads what a process keeps (TensorFlow's and OpenCV's thread pools), so that threads and handles can be compared.
Memory is the resident size after collecting garbage and returning the allocator's free pages (malloc_trim): the mean of
eighty samples over a fifth of the run, in its warm and in its final part. It depends on what goes wrong at the moment:
each part has an even number of rounds, as troubles take turns from round to round. Linux only.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import soak_cameras
from benchmarks.drifting_boxes import DriftingBoxes
from benchmarks.endurance import SHORTEST_ROUND_S, Endurance
from benchmarks.faulty_camera import FaultyCamera, plan
from benchmarks.process_state import Sampler, check_system, footprint, release_memory, settled
from benchmarks.recorded_files import decoded, whole_lines
from benchmarks.soak_cameras import CamerasMeasured, CamerasPlan
from benchmarks.soak_verdict import SHORTEST_FOR_MEMORY_S, Check, Measured, verdict
from benchmarks.surroundings import WEIGHTS, Surroundings
from benchmarks.watchers import Watchers
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.records import SegmentedFrame
from pipeline.runtime.stream import Stream
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.schema import Settings

LONGEST_FAULT_S = 2.2
SHORTEST_SHARE_S = 2.0
"""Least time between faults: the run must notice one before the next."""
ROUNDS_MULTIPLE = 10
"""Rounds alternate between two kinds of troubles, and a fifth of them is compared with another fifth."""
REHEARSAL_FRAMES = 30
READY_DEADLINE_S = 180.0
"""Deadline of the first result: the network is loaded, and the machine may be busy."""


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
        memory=tuple(sampler.memory),
        before=before,
        after=after,
        watched=watched,
        error=error,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (default: 10)")
    parser.add_argument("--faults", type=int, default=100, help="number of faults of the camera (default: 100)")
    parser.add_argument("--cameras", type=int, metavar="N", help="this many cameras in one run, without the page")
    parser.add_argument("--changes", type=int, default=50, help="with --cameras: one more comes and goes (default: 50)")
    parser.add_argument(
        "--rounds", type=int, default=0, help="with --cameras: as a kiosk with this many rounds of other trouble"
    )
    parser.add_argument("--fake", action="store_true", help="without a network")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep recordings and detections, in a new folder")
    arguments = parser.parse_args(argv)
    try:
        _check(arguments)
        with tempfile.TemporaryDirectory(prefix="soak") as scratch:
            folder = arguments.keep or Path(scratch)
            measured, checks = _soak(arguments, folder)
    except StreamSegmentError as error:
        print(f"benchmarks.soak: error: {error}", file=sys.stderr)
        return error.exit_code
    passed = all(check.passed for check in checks)
    if arguments.json:
        record = {"passed": passed, "checks": [asdict(check) for check in checks], "measured": asdict(measured)}
        text = json.dumps(record, indent=2, default=lambda value: value.value) + "\n"
        arguments.json.write_text(text, encoding="utf-8")
    _print(checks)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


def _soak(arguments: argparse.Namespace, folder: Path) -> tuple[Measured | CamerasMeasured, list[Check]]:
    duration_s, faults, fake = 60 * arguments.minutes, arguments.faults, arguments.fake
    if arguments.cameras is None:
        one = soak(duration_s, faults, folder, fake=fake)
        return one, verdict(one)
    plans = CamerasPlan(arguments.cameras, faults, arguments.changes, duration_s)
    if arguments.rounds:
        endurance = Endurance(folder, duration_s, arguments.rounds, fake=fake)
        several = soak_cameras.soak_cameras(plans, endurance.segmenter(), endurance)
    else:
        segmenter, surroundings = DriftingBoxes() if fake else None, Surroundings(folder, max(2.0, duration_s / 20))
        several = soak_cameras.soak_cameras(plans, segmenter, surroundings)
    return several, soak_cameras.verdict(several)


def _check(arguments: argparse.Namespace) -> None:
    check_system()
    if arguments.faults < 1:
        raise InputError(f"--faults is at least 1, got {arguments.faults}")
    if arguments.cameras is not None and (arguments.cameras < 1 or arguments.changes < 0):
        raise InputError(f"--cameras is at least 1 and --changes 0, got {arguments.cameras} and {arguments.changes}")
    rounds = arguments.rounds
    if rounds and (arguments.cameras is None or rounds < 0 or 60 * arguments.minutes / rounds < SHORTEST_ROUND_S):
        raise InputError(
            f"--rounds goes with --cameras and needs {SHORTEST_ROUND_S:g} s for each, got {rounds} in "
            f"{60 * arguments.minutes:g} s with {arguments.cameras or 'no'} cameras"
        )
    if rounds % ROUNDS_MULTIPLE and 60 * arguments.minutes >= SHORTEST_FOR_MEMORY_S:
        raise InputError(
            f"--rounds {rounds} with --minutes {arguments.minutes:g}: a multiple of {ROUNDS_MULTIPLE} is needed where "
            "memory is judged, so that the parts compared have the same troubles"
        )
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
