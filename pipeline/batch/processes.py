"""Workers as processes of this machine."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipeline.batch.executor import Died, Event, Executor, Finished, Place, Progressed, Ready, Unusable
from pipeline.batch.results_folder import Claim, ResultsFolder
from pipeline.batch.worker import Worker
from pipeline.batch.worker_plan import WorkerPlan
from pipeline.errors import RunError, StreamSegmentError
from pipeline.segmentation.machine import Machine
from pipeline.settings.model_settings import Device
from pipeline.settings.schema import Settings
from pipeline.sinks.paths import remove_empty

CORES_OF_A_WORKER = 2
"""Where nothing was measured: decoding, drawing and encoding take a core beside the network's."""
MEASURED_CORES = 8
"""Engines are compared on this many cores at most: at most four run side by side, each then on two."""
START_LIMIT_S = 900.0
"""How long a worker may take to load its network, which exports it the first time."""
END_DEADLINE_S = 10.0
"""How long a process may take to end after it was killed."""

_context = multiprocessing.get_context("spawn")  # a forked process inherits OpenCV's locks without its threads


@dataclass(frozen=True, slots=True)
class _Process:
    process: BaseProcess
    connection: Connection


def default_processes(settings: Settings, machine: Machine | None = None) -> int:
    """How many workers a machine feeds where nothing was measured: one for all its GPUs, or one for every two cores."""
    machine = machine or Machine()
    on_gpu = settings.model.device is Device.GPU or (settings.model.device is Device.AUTO and machine.gpu_is_likely())
    return 1 if on_gpu else max(1, machine.cores() // CORES_OF_A_WORKER)


class ThisMachine(Place):
    """Workers as processes of this machine.

    Args:
        workers: how many; they share the cores. None: as many as `share` finds.
        unmeasured: how many it finds where no engines were compared.
        machine: this machine.
    """

    def __init__(self, workers: int | None, unmeasured: int = 1, machine: Machine | None = None) -> None:
        self._all_cores = (machine or Machine()).cores()
        self._is_open = workers is None
        self.workers = workers or unmeasured
        self.cores = min(self._all_cores, MEASURED_CORES) if self._is_open else max(1, self._all_cores // self.workers)

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """See `Place.call`."""
        started = _start(_answer, function, arguments)
        try:
            answer = started.connection.recv()
        except EOFError:
            started.process.join(END_DEADLINE_S)
            raise RunError(f"a worker ended before it was ready: {_how_it_ended(started.process)}") from None
        finally:
            _end(started)
        if isinstance(answer, StreamSegmentError):
            raise answer
        return answer

    def share(self, chosen: Mapping[str, Any], recordings: int | None) -> dict[str, Any]:
        """See `Place.share`. Engines that were compared get a process each, or share one where recordings are few."""
        if not self._is_open:
            return dict(chosen)
        threads = chosen["threads"] if chosen.get("compared") else None
        if threads is not None:
            most = max(1, self._all_cores // threads)
            wanted = most if recordings is None else max(1, recordings, self._all_cores // MEASURED_CORES)
            self.workers = min(wanted, most)
        self.cores = max(1, self._all_cores // self.workers)
        return dict(chosen) if threads is None else {**chosen, "workers": max(1, self.cores // threads)}

    def executor(self, plan: WorkerPlan) -> Executor:
        """See `Place.executor`."""
        return Processes(plan, self.workers)


class Processes(Executor):
    """Workers as processes of this machine, which end with the one that started them.

    Args:
        plan: what each worker is made from.
        workers: how many.
    """

    def __init__(self, plan: WorkerPlan, workers: int) -> None:
        self.workers = workers
        self._plan = plan
        self._running: dict[int, _Process] = {}
        self._starting: dict[int, float] = {}

    def start(self, worker: int) -> None:
        """See `Executor.start`."""
        self._running[worker] = _start(_work, self._plan, worker)
        self._starting[worker] = time.monotonic()

    def give(self, worker: int, claim: Claim) -> None:
        """See `Executor.give`."""
        with contextlib.suppress(OSError):  # it has died: the next events say so
            self._running[worker].connection.send(claim)

    def stop(self, worker: int) -> None:
        """See `Executor.stop`."""
        self._starting.pop(worker, None)
        started = self._running.pop(worker, None)
        if started is not None:
            _end(started)

    def events(self, timeout_s: float) -> Sequence[Event]:
        """See `Executor.events`."""
        found: list[Event] = []
        for worker, since_s in list(self._starting.items()):
            if time.monotonic() - since_s > START_LIMIT_S:
                self.stop(worker)
                found.append(Died(worker, f"its network was not loaded after {START_LIMIT_S:g} s"))
        by_connection = {started.connection: number for number, started in self._running.items()}
        for connection in wait(list(by_connection), timeout_s):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            try:
                while connection.poll():
                    found.append(connection.recv())
                    self._starting.pop(worker, None)
            except (EOFError, OSError):
                started = self._running.pop(worker)
                self._starting.pop(worker, None)
                started.process.join(END_DEADLINE_S)
                found.append(Died(worker, self._how_it_ended(worker, started.process)))
                _end(started)
        return found

    def close(self) -> None:
        """See `Executor.close`."""
        for started in self._running.values():
            started.process.kill()
        for worker in list(self._running):
            self.stop(worker)
        for worker in range(self.workers):
            remove_empty(_log_file(self._plan, worker))

    def _how_it_ended(self, worker: int, process: BaseProcess) -> str:
        with contextlib.suppress(OSError):
            lines = _log_file(self._plan, worker).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"{_how_it_ended(process)}: {lines[-1].strip()}"
        return _how_it_ended(process)


def _start(target: Callable[..., None], *arguments: object) -> _Process:
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_run, args=(_scratch(), target, theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return _Process(process, ours)


def _scratch() -> str | None:
    """A folder for the temporary files of workers: they are killed, and the end of this process removes it."""
    from mrcnn.weights.user_cache import temporary_cache

    try:
        return str(temporary_cache("stream_segment-batch-"))
    except OSError:
        return None


def _end(started: _Process) -> None:
    started.process.kill()
    started.process.join(END_DEADLINE_S)
    started.connection.close()


def _how_it_ended(process: BaseProcess) -> str:
    code = process.exitcode
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps because memory ran out" if name == "SIGKILL" else name


# -- in the process of a worker ---------------------------------------------------------------------------------------


def _run(scratch: str | None, target: Callable[..., None], *arguments: object) -> None:
    tempfile.tempdir = scratch
    target(*arguments)


def _answer(connection: Connection, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    _prepare()
    try:
        connection.send(function(*arguments))
    except StreamSegmentError as error:
        connection.send(error)


def _work(connection: Connection, plan: WorkerPlan, number: int) -> None:
    _prepare()
    # What is printed would lie across the driver's progress; a crash of a library is found there.
    with contextlib.suppress(OSError), open(_log_file(plan, number), "wb") as file:
        os.dup2(file.fileno(), 2)
        faulthandler.enable(2)
        # Under Windows, the present one writes to a console only.
        sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    try:
        worker = Worker(plan)
    except StreamSegmentError as error:
        connection.send(Unusable(number, str(error)))
        return
    connection.send(Ready(number))

    def report(frames: int, total: int | None) -> None:
        connection.send(Progressed(number, frames, total))

    while True:
        try:
            claim: Claim = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(Finished(number, worker.run(claim, report)))


def _prepare() -> None:
    """Leave Ctrl-C to the driver, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()


def _log_file(plan: WorkerPlan, worker: int) -> Path:
    """What a worker of this process prints."""
    driver = multiprocessing.parent_process() or multiprocessing.current_process()
    return ResultsFolder(plan.results).logs / f"{socket.gethostname()}-{driver.pid}-{worker}.log"


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
