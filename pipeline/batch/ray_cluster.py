"""Workers as actors of a Ray cluster, which all see the same files. Ray places them; no frame passes through it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.batch.executor import Died, Event, Executor, Finished, Place, Progressed, Ready, Unusable
from pipeline.batch.processes import CORES_OF_A_WORKER
from pipeline.batch.results_folder import Claim
from pipeline.batch.worker import Outcome, Worker
from pipeline.batch.worker_plan import WorkerPlan
from pipeline.errors import InputError, StreamSegmentError
from pipeline.installation import ROOT, install_command
from pipeline.settings.model_settings import Device
from pipeline.settings.schema import Settings

LOCAL = "local"
"""The address of a cluster that is started here, for this batch."""
PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """What each worker takes of a cluster.

    Attributes:
        workers: how many fit.
        cores: of each.
        gpus: of each, 0 or 1.
    """

    workers: int
    cores: int
    gpus: int


def share_of(nodes: Sequence[dict[str, float]], workers: int | None, uses_gpus: bool) -> Share:
    """How a cluster is shared: a worker for each GPU, or else for every few cores of a node.

    Args:
        nodes: the resources of each node, as Ray names them.
        workers: how many there are to be; None: as many as fit.
        uses_gpus: whether the network may run on GPUs.
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    if uses_gpus and any(gpus):
        least = min(core // gpu for core, gpu in zip(cores, gpus, strict=True) if gpu)
        return Share(min(workers or sum(gpus), sum(gpus)), max(1, least), 1)
    each = CORES_OF_A_WORKER
    if workers is not None:
        fitting = (each for each in range(max(1, sum(cores) // workers), 1, -1) if _fit(cores, each) >= workers)
        each = next(fitting, 1)
    most = max(1, _fit(cores, each))
    return Share(min(workers or most, most), each, 0)


def _fit(cores: Sequence[int], each: int) -> int:
    """How many workers of so many cores fit on nodes with these."""
    return sum(node // each for node in cores)


class RayCluster(Place):
    """A Ray cluster.

    Args:
        address: "auto" for the one that runs on this machine, HOST:PORT of another one, or LOCAL.
        workers: how many; None: as many as fit.
        settings: whether GPUs may be used.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str, workers: int | None, settings: Settings) -> None:
        ray = _ray()
        paths = (str(ROOT), os.environ.get("PYTHONPATH"))
        try:
            ray.init(
                address=None if address == LOCAL else address,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
                logging_level="ERROR",
                # A clone is not installed: it lies where all machines see it.
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, paths))}},
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"--ray {address}: no cluster ({reason}); `ray start --head` starts one") from None
        nodes = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        self._share = share_of(nodes, workers, settings.model.device is not Device.CPU)
        self.workers, self.cores = self._share.workers, self._share.cores

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """See `Place.call`."""
        ray = _ray()
        remote = ray.remote(num_cpus=self._share.cores, num_gpus=self._share.gpus, max_retries=3)(_answer)
        answer = ray.get(remote.remote(function, arguments))
        if isinstance(answer, StreamSegmentError):
            raise answer
        return answer

    def executor(self, plan: WorkerPlan) -> Executor:
        """See `Place.executor`."""
        return RayActors(plan, self._share)


@dataclass(slots=True)
class _Request:
    """What a worker was asked for, until it answers."""

    worker: int
    what: str


class RayActors(Executor):
    """Workers as actors. One whose node is lost waits for room on another.

    Args:
        plan: what each worker is made from.
        share: what each takes.
    """

    def __init__(self, plan: WorkerPlan, share: Share) -> None:
        ray = _ray()
        self.workers = share.workers
        self._plan = plan
        # Two calls at a time: an attempt, and how far it is.
        options = {"num_cpus": share.cores, "num_gpus": share.gpus, "max_concurrency": 2, "max_restarts": 0}
        self._actor_class = ray.remote(**options)(_Actor)
        self._actors: dict[int, Any] = {}
        self._requests: dict[Any, _Request] = {}
        self._busy: set[int] = set()
        self._next_progress_s = 0.0

    def start(self, worker: int) -> None:
        """See `Executor.start`."""
        actor = self._actors[worker] = self._actor_class.remote()
        self._requests[actor.open.remote(self._plan)] = _Request(worker, "open")

    def give(self, worker: int, claim: Claim) -> None:
        """See `Executor.give`."""
        self._requests[self._actors[worker].run.remote(claim)] = _Request(worker, "run")
        self._busy.add(worker)

    def stop(self, worker: int) -> None:
        """See `Executor.stop`."""
        actor = self._actors.pop(worker, None)
        if actor is not None:
            _ray().kill(actor)
        self._forget(worker)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """See `Executor.events`."""
        self._ask_for_progress()
        if not self._requests:
            time.sleep(timeout_s)
            return ()
        ray = _ray()
        waiting = list(self._requests)
        ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s)
        if ready and len(waiting) > 1:
            ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [event for reference in ready for event in self._event_of(reference)]

    def close(self) -> None:
        """See `Executor.close`."""
        for worker in list(self._actors):
            self.stop(worker)
        _ray().shutdown()

    def _ask_for_progress(self) -> None:
        if time.monotonic() < self._next_progress_s:
            return
        self._next_progress_s = time.monotonic() + PROGRESS_EVERY_S
        asked = {request.worker for request in self._requests.values() if request.what == "progress"}
        for worker in self._busy - asked:
            self._requests[self._actors[worker].progress.remote()] = _Request(worker, "progress")

    def _event_of(self, reference: Any) -> Sequence[Event]:
        """What an answer means; nothing for one that came too late to matter."""
        request = self._requests.pop(reference, None)
        if request is None:
            return ()
        worker, ray = request.worker, _ray()
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayError as error:
            self.stop(worker)
            lines = str(error).strip().splitlines() or [type(error).__name__]
            # An exception's own text comes last, after its traceback; what Ray says of an actor comes first.
            return (Died(worker, lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0].strip()),)
        if request.what == "open":
            return (Ready(worker) if answer is None else Unusable(worker, answer),)
        if request.what == "progress":
            return (Progressed(worker, *answer),) if worker in self._busy else ()
        self._busy.discard(worker)
        return (Finished(worker, answer),)

    def _forget(self, worker: int) -> None:
        self._busy.discard(worker)
        self._requests = {key: request for key, request in self._requests.items() if request.worker != worker}


class _Actor:
    """A worker in a process of the cluster."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._progress: tuple[int, int | None] = (0, None)

    def open(self, plan: WorkerPlan) -> str | None:
        """Load the network; why that is not possible, None if it is."""
        try:
            self._worker = Worker(plan)
        except StreamSegmentError as error:
            return str(error)
        return None

    def run(self, claim: Claim) -> Outcome:
        """See `Worker.run`."""
        assert self._worker is not None
        self._progress = (0, None)
        return self._worker.run(claim, self._report)

    def progress(self) -> tuple[int, int | None]:
        """How far the attempt is: frames done, and how many there are."""
        return self._progress

    def _report(self, frames: int, total: int | None) -> None:
        self._progress = (frames, total)


def _answer(function: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
    """What a function returns, or the error of ours that it raises: Ray would wrap it."""
    try:
        return function(*arguments)
    except StreamSegmentError as error:
        return error


def _ray() -> Any:
    """The package. Raises InputError if it is missing."""
    try:
        import ray
    except ImportError:
        raise InputError(f"--ray needs the package ray: {install_command('ray')}") from None
    return ray
