"""A network whose results follow from the picture, and workers that run in the test's own process when it says so."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.batch.batch_run import BatchRequest
from pipeline.batch.executor import Event, Executor, Finished, Place, Progressed, Ready
from pipeline.batch.patience import Patience
from pipeline.batch.provenance import versions
from pipeline.batch.results_folder import Claim
from pipeline.batch.worker import Worker
from pipeline.batch.worker_plan import DETECTIONS, VIDEO, WorkerPlan
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import FakeSegmenter, make_instances
from tests.pipeline.sources.clips import write_clip

BOTH = (VIDEO, DETECTIONS)


class BySum(FakeSegmenter):
    """One or two objects, whose place follows from the sum of the picture."""

    def segment(self, image_bgr: np.ndarray):
        total = int(image_bgr.astype(np.int64).sum())
        return make_instances(1 + total % 2, x=float(total % 50))


def make_by_sum(plan: WorkerPlan) -> BySum:
    return BySum()


def settings_of(**values: object) -> Settings:
    return Settings.model_validate({"window": {"mode": "off"}, "output": {"min_free_bytes": 0}, **values})


def plan_of(results: Path, make=make_by_sum, outputs=BOTH, **values: object) -> WorkerPlan:
    """What a worker of one core is made from."""
    return WorkerPlan(settings_of(**values), results, outputs, 1, None, versions(), make)


def request_for(folder: Path, results: Path, **more: object) -> BatchRequest:
    """A request for a folder of recordings, with both kinds of outputs."""
    given = {"settings": settings_of(), "outputs": BOTH, "patience": Patience(first_delay_s=0.0)}
    return BatchRequest(inputs=(str(folder),), results=results, **{**given, **more})


def write_recordings(folder: Path, *names: str, frames: int = 6) -> Path:
    """A small clip for each name; those later in the list are longer by a frame."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, frames + number)
    return folder


def outputs_in(results: Path) -> dict[str, bytes]:
    """The content of all outputs, by name."""
    files = [path for path in results.rglob("*") if path.is_file() and ".stream_segment" not in path.parts]
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files if path.name != "summary.json"}


def summary_in(results: Path, name: str = "summary.json") -> dict:
    """The summary without what differs from run to run."""
    summary = json.loads((results / name).read_text(encoding="ascii"))
    del summary["timings"]
    return summary


Script = Callable[[int, Claim], Sequence[Event] | None]
"""What happens in place of an attempt of a worker; None: it is made."""


class InProcess(Executor):
    """Makes one attempt each time that the driver asks for events.

    Attributes:
        plan: of the workers.
        queue: what the next requests for events do, and return.
    """

    def __init__(self, plan: WorkerPlan | None, workers: int, script: Script) -> None:
        self.workers = workers
        self.plan, self._script = plan, script
        self.queue: deque[Callable[[], Sequence[Event]]] = deque()
        self._down: set[int] = set()
        self.started: list[int] = []
        self.given: list[str] = []
        self.stopped: list[int] = []
        self.closed = False

    def start(self, worker: int) -> None:
        self.started.append(worker)
        self._down.discard(worker)
        self.queue.append(lambda: [Ready(worker)])

    def give(self, worker: int, claim: Claim) -> None:
        assert worker not in self._down
        self.given.append(claim.recording.name)
        stopped = self.stopped.count(worker)
        self.queue.append(lambda: self._attempt(worker, claim) if self.stopped.count(worker) == stopped else ())

    def _attempt(self, worker: int, claim: Claim) -> Sequence[Event]:
        scripted = self._script(worker, claim)
        if scripted is not None:
            return scripted
        assert self.plan is not None
        progress: list[Event] = []
        outcome = Worker(self.plan).run(claim, lambda *frames: progress.append(Progressed(worker, *frames)))
        return [*progress, Finished(worker, outcome)]

    def stop(self, worker: int) -> None:
        self.stopped.append(worker)
        self._down.add(worker)

    def events(self, timeout_s: float) -> Sequence[Event]:
        return self.queue.popleft()() if self.queue else ()

    def close(self) -> None:
        self.closed = True


class Here(Place):
    """This process."""

    def __init__(self, workers: int = 1, script: Script = lambda worker, claim: None) -> None:
        self.workers, self.cores, self._script = workers, 1, script
        self.made: list[InProcess] = []

    def call(self, function: Callable[..., object], *arguments: object) -> object:
        return function(*arguments)

    def executor(self, plan: WorkerPlan) -> InProcess:
        self.made.append(InProcess(plan, self.workers, self._script))
        return self.made[-1]
