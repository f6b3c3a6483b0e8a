"""The driver of a batch: gives recordings to workers, tries again what may pass, and sets aside what does not."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.batch.executor import Died, Event, Executor, Finished, Progressed, Ready, Unusable
from pipeline.batch.inputs import Recording
from pipeline.batch.results_folder import Claim, Drivers, ResultsFolder, key_of, recording_id
from pipeline.batch.worker import Outcome, State, output_names
from pipeline.errors import InputError, RunError
from pipeline.records import Clock
from pipeline.sinks.paths import free_bytes

POLL_S = 0.25
"""How often the driver looks at its clocks while no worker says anything."""
LOOK_AGAIN_S, MOST_LOOKED_AT = 1.0, 100
"""How often it looks what became of recordings that another driver has claimed, and at how many at a time."""
MOST_STARTS = 3
"""After so many workers in a row that end before they are ready, no further one is started."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When an attempt is given up, and when it is made again.

    Attributes:
        attempts: how many, at most.
        first_delay_s: seconds before the second one; three times as many before each further one.
        stall_s: an attempt without a new frame for so many seconds is given up.
        limit_s: an attempt that takes longer is given up; None for no limit.
        least_free_bytes: with less space on the disk of the results, the batch ends.
    """

    attempts: int = 3
    first_delay_s: float = 5.0
    stall_s: float = 600.0
    limit_s: float | None = None
    least_free_bytes: int = 0

    def delay_s(self, attempts: int) -> float:
        """Seconds to wait after so many attempts."""
        return float(self.first_delay_s * 3 ** (attempts - 1))


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What is known of the inputs before a run.

    Attributes:
        recordings: all inputs, by name.
        done: names of those that earlier runs have done.
        failed: names of those that earlier runs have set aside, and this one does not try again.
        to_do: the rest, as far as the limit goes: the largest first, so that no worker is left alone with a large one.
        retried: of these, what was set aside before.
    """

    recordings: Mapping[str, Recording]
    done: frozenset[str]
    failed: frozenset[str]
    to_do: Sequence[Recording]
    retried: Sequence[Recording]


def plan_batch(
    recordings: Sequence[Recording], folder: ResultsFolder, limit: int | None, retry_failed: bool
) -> BatchPlan:
    """Find out what is to do; opens only recordings whose time has changed since they were done.

    Args:
        recordings: all inputs.
        folder: of the results.
        limit: at most so many are to do; None for all.
        retry_failed: what was set aside is to do as well.
    """
    done_keys, failed_keys = folder.done(), folder.failed()
    earlier = {key.partition("-")[0]: key for key in done_keys}
    done, failed, to_do = set(), set(), []
    for recording in recordings:
        key = key_of(recording)
        known = earlier.get(recording_id(recording))
        if key in done_keys or (known is not None and folder.adopt(recording, known)):
            done.add(recording.name)
        elif key in failed_keys and not retry_failed:
            failed.add(recording.name)
        else:
            to_do.append(recording)
    to_do = sorted(to_do[:limit], key=lambda recording: -recording.size)
    return BatchPlan(
        {recording.name: recording for recording in recordings},
        frozenset(done),
        frozenset(failed),
        to_do,
        [recording for recording in to_do if key_of(recording) in failed_keys],
    )


@dataclass(slots=True)
class _Attempt:
    """A recording that a worker has."""

    claim: Claim
    number: int
    began_s: float
    moved_s: float
    frames: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a worker does.

    Attributes:
        worker: its number.
        name: of its recording; "" while it loads its network or waits.
        frames: done of it.
        total: how many it has, if that is known.
    """

    worker: int
    name: str = ""
    frames: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    Attributes:
        inputs: recordings.
        done: of them, by this run and earlier ones.
        failed: set aside.
        frames: done by this run.
        frames_to_do: of this run, those done included, estimated from bytes where a recording was not opened yet;
            None before the first.
        workers: what each does.
    """

    inputs: int
    done: int
    failed: int
    frames: int
    frames_to_do: int | None
    workers: Sequence[WorkerView]

    @property
    def skipped(self) -> int:
        """Inputs that are neither done nor set aside."""
        return self.inputs - self.done - self.failed


class _Frames:
    """Frames done and to do; of recordings that were not opened they are estimated by bytes."""

    def __init__(self) -> None:
        self.done = 0
        self.unopened_bytes = 0
        self._total = 0
        self._bytes = 0
        self._expected: dict[str, int] = {}

    def expect(self, recording: Recording, total: int) -> None:
        """A recording says how many frames it has."""
        if recording.name not in self._expected:
            self._expected[recording.name] = total
            self._total += total
            self._bytes += recording.size
            self.unopened_bytes -= recording.size

    def settle(self, recording: Recording, frames: int) -> None:
        """A recording had so many frames; none where it was set aside."""
        self.expect(recording, frames)
        self._total += frames - self._expected[recording.name]
        self._expected[recording.name] = frames
        self.done += frames

    def to_do(self) -> int | None:
        """All frames of this run; None while nothing is known."""
        return round(self._total * (1 + max(0, self.unopened_bytes) / self._bytes)) if self._bytes else None


Note = Callable[..., None]
"""Takes the name of something that happened, and what belongs to it by name."""


class Driver:
    """Makes recordings done, or sets them aside.

    Args:
        plan: what is to do.
        folder: of the results.
        outputs: kinds of outputs.
        executor: runs the workers.
        patience: with recordings that fail.
        clock: seconds, monotonic.
        note: told what happens.

    Attributes:
        recordings: each input by its name, as it was when it was last looked at.
        done, failed: their names, of earlier runs and of this one.
    """

    def __init__(
        self,
        plan: BatchPlan,
        folder: ResultsFolder,
        outputs: Sequence[str],
        executor: Executor,
        patience: Patience,
        clock: Clock,
        note: Note,
    ) -> None:
        self.recordings = dict(plan.recordings)
        self.done, self.failed = set(plan.done), set(plan.failed)
        self._plan, self._folder, self._outputs = plan, folder, outputs
        self._executor, self._patience, self._clock, self._note = executor, patience, clock, note
        self._drivers = Drivers(folder, clock)
        self._stopping = False
        self._to_do = deque(plan.to_do)
        self._later: list[tuple[float, int, Recording, int]] = []
        self._order = itertools.count()
        self._elsewhere: deque[Recording] = deque()
        self._look_at_s = 0.0
        self._claimed: dict[str, Claim] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._idle: set[int] = set()
        self._starting: set[int] = set()
        self._ended_early = 0
        self._frames = _Frames()
        self._frames.unopened_bytes = sum(recording.size for recording in plan.to_do)

    def run(self, on_tick: Callable[[BatchState], None]) -> None:
        """Work until nothing is left to do, or until `stop`.

        Args:
            on_tick: called now and then.

        Raises:
            InputError: the network cannot be loaded.
            RunError: workers cannot be started, or the disk is full.
        """
        try:
            self._run(on_tick)
        except OSError as error:
            where = error.filename or self._folder.root
            raise RunError(f"the results cannot be written: {where}: {error.strerror or error}") from error

    def _run(self, on_tick: Callable[[BatchState], None]) -> None:
        try:
            self._drivers.beat()
            self._folder.recover(self._drivers)
            for recording in self._plan.retried:
                self._folder.forget_failure(recording)
            for worker in range(min(self._executor.workers, len(self._to_do))):
                self._start(worker)
            while not self._stopping and (self._to_do or self._later or self._elsewhere or self._attempts):
                self._drivers.beat()
                self._check_disk()
                self._give()
                for event in self._executor.events(POLL_S):
                    if not self._stopping:  # Ctrl-C reaches the workers too
                        self._take(event)
                self._check_time()
                on_tick(self.state())
        finally:
            self._executor.close()
            try:
                for claim in self._claimed.values():
                    self._folder.release(claim)
                self._folder.recover(self._drivers)
            finally:
                self._drivers.leave()

    def stop(self) -> None:
        """End `run` soon; what is under way is given up. From any thread or signal handler."""
        self._stopping = True

    def state(self) -> BatchState:
        """How far the batch is."""
        under_way = self._attempts.items()
        views = [WorkerView(worker, one.claim.recording.name, one.frames, one.total) for worker, one in under_way]
        views += [WorkerView(worker) for worker in (*self._starting, *self._idle)]
        return BatchState(
            inputs=len(self.recordings),
            done=len(self.done),
            failed=len(self.failed),
            frames=self._frames.done + sum(one.frames for one in self._attempts.values()),
            frames_to_do=self._frames.to_do(),
            workers=sorted(views, key=lambda view: view.worker),
        )

    # -- giving -------------------------------------------------------------------------------------------------------

    def _start(self, worker: int) -> None:
        self._starting.add(worker)
        self._executor.start(worker)

    def _give(self) -> None:
        """Give recordings to idle workers."""
        now_s = self._clock()
        while self._idle and self._later and self._later[0][0] <= now_s:
            _, _, recording, attempts = heapq.heappop(self._later)
            self._attempt(recording, attempts)
        while self._idle and self._to_do:
            self._attempt(self._to_do.popleft(), 0)
        if self._idle and self._elsewhere and now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_AGAIN_S
            for _ in range(min(MOST_LOOKED_AT, len(self._elsewhere))):
                if not self._idle:
                    return
                self._attempt(self._elsewhere.popleft(), 0)

    def _attempt(self, recording: Recording, attempts: int) -> None:
        """Claim a recording and give it to an idle worker, unless it is done or somebody else has it."""
        self._drivers.beat()  # another driver may have all of very many
        if attempts:
            recording = self.recordings[recording.name] = recording.again()
        claim = self._folder.claim(recording, self._drivers)
        if claim is not None:
            self._claimed[recording.name] = claim
        if self._folder.is_done(recording):
            self._enter_done(recording)
        elif not attempts and self._folder.failure_of(recording) is not None:
            self._enter_failed(recording)
        elif claim is None:
            self._elsewhere.append(recording)
        else:
            self._give_to_idle(claim, attempts)

    def _give_to_idle(self, claim: Claim, attempts: int) -> None:
        recording = claim.recording
        foreign = self._folder.foreign_output(recording, output_names(recording, self._outputs))
        if foreign is not None:
            reason = f"{self._folder.root / foreign} exists and is no result of this batch: move it away"
            self._set_aside(claim, reason, attempts + 1)
            return
        worker = self._idle.pop()
        now_s = self._clock()
        self._attempts[worker] = _Attempt(claim, attempts + 1, now_s, now_s)
        self._note("started", name=recording.name, worker=worker, attempt=attempts + 1)
        self._executor.give(worker, claim)

    # -- taking -------------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        match event:
            case Ready(worker):
                self._starting.discard(worker)
                self._idle.add(worker)
                self._ended_early = 0
                self._note("ready", worker=worker)
            case Unusable(_, reason):
                raise InputError(reason)
            case Progressed(worker, frames, total):
                self._progress(worker, frames, total)
            case Finished(worker, outcome):
                self._idle.add(worker)
                attempt = self._attempts.pop(worker, None)
                if attempt is not None:
                    self._finish(attempt, outcome)
            case Died(worker, reason):
                self._died(worker, reason)

    def _progress(self, worker: int, frames: int, total: int | None) -> None:
        attempt = self._attempts.get(worker)
        if attempt is None:
            return
        recording = attempt.claim.recording
        if total is not None:
            self._frames.expect(recording, total)
        attempt.frames, attempt.total, attempt.moved_s = frames, total, self._clock()

    def _finish(self, attempt: _Attempt, outcome: Outcome) -> None:
        recording = attempt.claim.recording
        if outcome.state is State.FAILED:
            self._fail(attempt, outcome.reason, outcome.may_pass)
            return
        if outcome.record is not None:
            frames = int(outcome.record["frames"])
            self._frames.settle(recording, frames)
            self._note("done", name=recording.name, frames=frames, objects=outcome.record["objects"])
        self._enter_done(recording)

    def _died(self, worker: int, reason: str) -> None:
        """Count a worker's end against its recording, and start another worker."""
        attempt = self._attempts.pop(worker, None)
        self._note("worker_ended", worker=worker, reason=reason)
        if attempt is not None:
            self._fail(attempt, f"the worker ended: {reason}", may_pass=True)
        self._ended_early += worker in self._starting
        self._starting.discard(worker)
        self._idle.discard(worker)
        if self._ended_early < MOST_STARTS:
            self._start(worker)
        elif not (self._attempts or self._idle or self._starting):
            raise RunError(f"{MOST_STARTS} workers in a row ended before they were ready, the last one: {reason}")

    def _fail(self, attempt: _Attempt, reason: str, may_pass: bool) -> None:
        recording, number = attempt.claim.recording, attempt.number
        self._check_disk()
        self._folder.discard(attempt.claim)
        if may_pass and number < self._patience.attempts:
            delay_s = self._patience.delay_s(number)
            self._note("again", name=recording.name, reason=reason, attempt=number, delay_s=delay_s)
            heapq.heappush(self._later, (self._clock() + delay_s, next(self._order), recording, number))
        else:
            self._set_aside(attempt.claim, reason, number)

    def _set_aside(self, claim: Claim, reason: str, attempts: int) -> None:
        recording = claim.recording
        self._note("failed", name=recording.name, reason=reason, attempts=attempts)
        self._folder.set_aside(recording, reason, attempts)
        self._frames.settle(recording, 0)
        self._enter_failed(recording)

    def _drop_claim(self, recording: Recording) -> None:
        claim = self._claimed.pop(recording.name, None)
        if claim is not None:
            self._folder.release(claim)

    def _enter_done(self, recording: Recording) -> None:
        self._drop_claim(recording)
        self._folder.forget_failure(recording)
        self.done.add(recording.name)

    def _enter_failed(self, recording: Recording) -> None:
        self._drop_claim(recording)
        self.failed.add(recording.name)

    # -- watching -----------------------------------------------------------------------------------------------------

    def _check_time(self) -> None:
        """Give up attempts that stand still or take too long."""
        now_s, patience = self._clock(), self._patience
        for worker, attempt in list(self._attempts.items()):
            if now_s - attempt.moved_s >= patience.stall_s:
                self._give_up(worker, f"no frame for {patience.stall_s:g} s")
            elif patience.limit_s is not None and now_s - attempt.began_s >= patience.limit_s:
                self._give_up(worker, f"not done after {patience.limit_s:g} s")

    def _give_up(self, worker: int, reason: str) -> None:
        self._executor.stop(worker)
        self._fail(self._attempts.pop(worker), reason, may_pass=True)
        self._start(worker)

    def _check_disk(self) -> None:
        least = self._patience.least_free_bytes
        if least and free_bytes(self._folder.root) < least:
            raise RunError(f"less than {least / 1e6:g} MB are free in {self._folder.root}: free some and start again")
