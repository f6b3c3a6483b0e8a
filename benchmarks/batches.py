"""What a batch costs beside its network: many files, many workers, many short clips.

python -m benchmarks.batches entries     # a folder of 1,000, 10,000 and 100,000 files: listed, planned, resumed
python -m benchmarks.batches cluster     # 1,000 workers whose recordings take a minute on a clock: pieces a minute
python -m benchmarks.batches workers     # two workers beside one, with an engine of fixed latency
python -m benchmarks.batches runs        # two recordings in a batch beside two runs at the same time
python -m benchmarks.batches stretches   # one long file on two workers beside one worker
python -m benchmarks.batches clips       # clips of one second beside one file of the same length
"""

from __future__ import annotations

import argparse
import heapq
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import footage
from pipeline.batch.batch_plan import plan_batch
from pipeline.batch.batch_run import Batch, BatchRequest
from pipeline.batch.batch_state import BatchState
from pipeline.batch.driver import Driver
from pipeline.batch.executor import Event, Executor, Finished, Progressed, Ready
from pipeline.batch.inputs import Recording, find_recordings
from pipeline.batch.patience import Patience
from pipeline.batch.processes import ThisMachine
from pipeline.batch.results_folder import Claim, ResultsFolder
from pipeline.batch.stretches import Splitting
from pipeline.batch.worker import Outcome, State
from pipeline.batch.worker_plan import DETECTIONS, VIDEO, WorkerPlan, make_segmenter
from pipeline.records import Instances
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.schema import Settings

PROGRAM = Path(__file__).resolve().parents[1] / "stream_segment.py"
LATENCY_S = 0.04
FRAMES_OF_A_CLIP = 25
RECORDING_S = 60.0


class Sleeping(Segmenter):
    """Finds nothing, and takes LATENCY_S for it, on no core."""

    labels = ("BG", "thing")
    description = "sleeps"

    def open(self) -> None:
        """Nothing to load."""

    def segment_batch(self, images_bgr: Sequence[np.ndarray]) -> list[Instances]:
        """Empty results."""
        time.sleep(LATENCY_S * len(images_bgr))
        return [Instances.empty() for _ in images_bgr]

    def close(self) -> None:
        """Nothing to release."""


def make_sleeping(plan: WorkerPlan) -> Sleeping:
    """See `WorkerPlan.make_segmenter`."""
    return Sleeping()


class ClockExecutor(Executor):
    """Workers whose recordings take RECORDING_S on a clock that runs as fast as the driver lets it.

    Each commits a record, in the driver's own time, which a real worker does in its own.
    """

    def __init__(self, workers: int, folder: ResultsFolder) -> None:
        self.workers, self._folder = workers, folder
        self.now_s = 0.0
        self.commit_s = 0.0
        self._ready: list[Event] = []
        self._ends: list[tuple[float, int, Claim]] = []

    def start(self, worker: int) -> None:
        """Ready at once."""
        self._ready.append(Ready(worker))

    def give(self, worker: int, claim: Claim) -> None:
        """Ends at its time; they begin apart, as in a cluster that is at work."""
        heapq.heappush(self._ends, (self.now_s + RECORDING_S * (1 + worker % 97 / 97), worker, claim))

    def stop(self, worker: int) -> None:
        """Never asked for."""

    def events(self, timeout_s: float) -> Sequence[Event]:
        """Those that are due within the next tenth of a second."""
        found, self._ready = self._ready, []
        if not found and self._ends:
            self.now_s = max(self.now_s, self._ends[0][0])
        began_s = time.perf_counter()
        while self._ends and self._ends[0][0] <= self.now_s + 0.1:
            _, worker, claim = heapq.heappop(self._ends)
            claim.work.mkdir()
            record = {"name": claim.recording.name, "outputs": {}, "frames": 25, "objects": 0}
            self._folder.commit(claim, record)
            found += [Progressed(worker, 25, 25), Finished(worker, Outcome(State.DONE, record))]
        self.commit_s += time.perf_counter() - began_s
        return found

    def close(self) -> None:
        """Nothing to end."""


def entries(folder: Path, counts: Sequence[int] = (1_000, 10_000, 100_000)) -> None:
    """List, plan, and resume folders of many files."""
    for count in counts:
        inputs, results = folder / f"in{count}", ResultsFolder(folder / f"out{count}")
        results.make()
        for number in range(count):
            path = inputs / f"{number // 1000:03d}" / f"{number:06d}.mp4"
            if number % 1000 == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(b"x" * (number % 97))
        began_s = time.perf_counter()
        found = find_recordings([str(inputs)], results.root)
        listed_s = time.perf_counter() - began_s
        plan = plan_batch(found.recordings, results, None, False)
        planned_s = time.perf_counter() - began_s - listed_s
        assert len(plan.to_do) == count
        _all_done(results, found.recordings)
        began_s = time.perf_counter()
        settings = Settings.model_validate({"window": {"mode": "off"}})
        batch = Batch(BatchRequest(settings, (str(inputs),), results.root, ()), time.monotonic, make_sleeping)
        assert len(batch.plan.done) == count
        resumed_s = time.perf_counter() - began_s
        batch.run(ThisMachine(1), lambda what, **fields: None, lambda state: None)
        summed_s = time.perf_counter() - began_s - resumed_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{count:7d} files: listed in {listed_s:.2f} s, planned in {planned_s:.2f}, resumed in {resumed_s:.2f}, "
            f"summed up in {summed_s:.2f}; peak {peak:.0f} MB",
            flush=True,
        )


def _all_done(results: ResultsFolder, recordings: Sequence[Recording]) -> None:
    """Records of all, as commits leave them."""
    from pipeline.batch.results_folder import key_of

    for recording in recordings:
        key = key_of(recording)
        path = results.records / key[:2] / f"{key}.json"
        path.parent.mkdir(exist_ok=True)
        record = {"name": recording.name, "outputs": {}, "frames": 25, "objects": 0, "timings": {}}
        path.write_text(json.dumps(record), encoding="ascii")


def cluster(folder: Path, sizes: Sequence[int] = (100, 1000)) -> None:
    """A driver with this number of workers."""
    for workers in sizes:
        recordings = [Recording(f"{number}.mp4", f"/in/{number}.mp4", number, number) for number in range(10 * workers)]
        results = ResultsFolder(folder / f"out{workers}")
        results.make()
        executor = ClockExecutor(workers, results)
        driver = Driver(
            plan_batch(recordings, results, None, False),
            results,
            (),
            executor,
            Patience(),
            lambda executor=executor: executor.now_s,
            lambda what, **fields: None,
        )
        began_s = time.perf_counter()
        driver.run(lambda state: None)
        wall_s = time.perf_counter() - began_s
        assert len(driver.done) == len(recordings)
        own_s = wall_s - executor.commit_s
        print(
            f"{workers} workers, {len(recordings)} recordings: the driver takes {1e3 * own_s / len(recordings):.2f} ms "
            f"for each ({60 * len(recordings) / own_s:.0f} a minute); a commit takes "
            f"{1000 * executor.commit_s / len(recordings):.2f} ms of its worker",
            flush=True,
        )


def workers(folder: Path) -> None:
    """Two workers beside one, with an engine that only sleeps."""
    for number in range(8):
        _clip(folder / "in" / f"{number}.mp4", 50)
    rates = {}
    for count in (1, 2):
        rates[count] = _rate(folder / "in", folder / f"out{count}", count, make_sleeping)
        print(f"{count} workers: {rates[count]:.1f} frames a second", flush=True)
    print(f"two beside one: {rates[2] / rates[1]:.2f}")


def runs(folder: Path, frames: int = 3000, rounds: int = 3) -> None:
    """Two recordings in a batch beside two runs that are started together, in turns: whole commands."""
    names = ["0.mp4", "1.mp4"]
    for name in names:
        _clip(folder / "in" / name, frames)
    program = [sys.executable, str(PROGRAM)]
    for number in range(rounds):
        results = folder / f"out{number}"
        batch = _seconds([[*program, "batch", str(folder / "in"), "--output", str(results), "--detections"]])
        by_hand: list[list[str]] = []
        for name in names:
            output = str(folder / f"{number}-{name}")
            files = ["--output", output, "--detections", f"{output}.jsonl"]
            by_hand.append([*program, "--source", str(folder / "in" / name), "--no-window", *files])
        together = _seconds(by_hand)
        print(
            f"a batch {batch:.1f} s, two runs at once {together:.1f} s: {together / batch:.2f} times the rate",
            flush=True,
        )


def _seconds(commands: Sequence[Sequence[str]]) -> float:
    """How long commands take that are started together."""
    began_s = time.monotonic()
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    codes = [process.wait() for process in started]
    assert not any(codes), codes
    return time.monotonic() - began_s


def stretches(folder: Path, frames: int = 3000, rounds: int = 2) -> None:
    """One long file on two workers beside one, with an engine that only sleeps and with the shipped model, in turns."""
    _clip(folder / "in" / "long.mp4", frames)
    for make in (make_sleeping, make_segmenter):
        for number in range(rounds):
            rates = {}
            for count, split in ((1, None), (2, Splitting(frames / 25 / 4))):
                results = folder / f"{make.__name__}{number}-{count}"
                rates[count] = _rate(folder / "in", results, count, make, split)
            text = ", ".join(f"{count} workers {rate:.1f} frames a second" for count, rate in rates.items())
            print(f"{make.__name__}: {text}; {rates[2] / rates[1]:.2f} times the rate", flush=True)


def clips(folder: Path, count: int) -> None:
    """Clips of a second beside a file as long as all of them, with the shipped model and the default number of workers.

    Clips with one worker as well, which shows what a clip costs that no other worker hides.
    """
    _clip(folder / "in1" / "whole.mp4", count * FRAMES_OF_A_CLIP)
    for number in range(count):
        _clip(folder / "in2" / f"{number:04d}.mp4", FRAMES_OF_A_CLIP)
    rates = {}
    for name, inputs, processes in (("one file", "in1", None), ("clips", "in2", None), ("clips, one worker", "in2", 1)):
        rates[name] = _rate(folder / inputs, folder / f"out-{name}", processes, make_segmenter)
        print(f"{name}: {rates[name]:.1f} frames a second", flush=True)
    for name in ("clips", "clips, one worker"):
        extra_ms = 1000 * FRAMES_OF_A_CLIP * (1 / rates[name] - 1 / rates["one file"])
        print(f"{count} {name} beside one file: {rates[name] / rates['one file']:.3f}; {extra_ms:.0f} ms for each clip")


def _clip(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    second = footage.frames(FRAMES_OF_A_CLIP, (640, 360))
    footage.write_clip(path, (second * (frames // FRAMES_OF_A_CLIP + 1))[:frames])


def _rate(
    inputs: Path,
    results: Path,
    count: int | None,
    make: Callable[[WorkerPlan], Segmenter],
    split: Splitting | None = None,
) -> float:
    """Frames a second from the first one on to the last; None: with the default number of workers."""
    settings = Settings.model_validate({"window": {"mode": "off"}, "output": {"min_free_bytes": 0}})
    request = BatchRequest(settings, (str(inputs),), results, (VIDEO, DETECTIONS), split=split)
    batch = Batch(request, time.monotonic, make)
    times: list[tuple[float, int]] = []

    def on_tick(state: BatchState) -> None:
        if state.frames:
            times.append((time.monotonic(), state.frames))

    batch.run(ThisMachine(count), lambda what, **fields: None, on_tick)
    times.append((time.monotonic(), batch.state.frames))
    (began_s, first), (ended_s, last) = times[0], times[-1]  # without starting
    return (last - first) / (ended_s - began_s)


PARTS: dict[str, Callable[[Path], None]] = {
    "entries": entries,
    "cluster": cluster,
    "workers": workers,
    "runs": runs,
    "stretches": stretches,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of them in a folder of its own, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*PARTS, "clips"))
    parser.add_argument("--clips", type=int, default=1000, help="how many clips (default: 1000)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="batches-") as folder:
        path = Path(folder)
        clips(path, arguments.clips) if arguments.what == "clips" else PARTS[arguments.what](path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
