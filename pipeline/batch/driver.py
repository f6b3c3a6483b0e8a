"""The driver of a batch: gives recordings to workers, tries again what may pass, and sets aside what does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.batch.batch_plan import BatchPlan
from pipeline.batch.batch_state import BatchState, Frames, Note, WorkerView
from pipeline.batch.executor import Died, Event, Executor, Finished, Progressed, Ready, Unusable
from pipeline.batch.inputs import Recording
from pipeline.batch.leases import Drivers
from pipeline.batch.patience import Patience
from pipeline.batch.results_folder import Claim, ResultsFolder, unit_id
from pipeline.batch.stretches import Stretch, Unit
from pipeline.batch.work_queue import WorkQueue, is_stretch_of
from pipeline.batch.worker import Outcome, State
from pipeline.batch.worker_plan import output_names
from pipeline.errors import InputError, RunError
from pipeline.file_names import check_name
from pipeline.records import Clock
from pipeline.sinks.paths import free_bytes

POLL_S = 0.25
"""How often the driver looks at its clocks while no worker says anything."""
MOST_STARTS = 3
"""When this many workers in a row end before they are ready, no further one is started."""


@dataclass(slots=True)
class _Attempt:
    """A recording or stretch that a worker has."""

    claim: Claim
    number: int
    began_s: float
    moved_s: float
    frames: int = 0
    total: int | None = None


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
        self._drivers = Drivers(folder.drivers, clock)
        self._stopping = False
        self._queue = WorkQueue(plan.to_do)
        self._unfinished = {recording.name for recording in plan.to_do}
        self._split: set[str] = set()
        self._claimed: dict[str, Claim] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._idle: set[int] = set()
        self._starting: set[int] = set()
        self._ended_early = 0
        self._has_more_to_do = True
        self._frames = Frames()
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
            for name in self.done.intersection(self._folder.recover(self._drivers)):
                self.done.discard(name)
                self._unfinished.add(name)
                self._queue.put_first(self.recordings[name], 0)
            for recording in self._plan.retried:
                self._folder.forget_failure(recording)
            while not self._stopping and (self._queue or self._attempts):
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
            frames=self._frames.done + sum(one.frames for one in self._attempts.values() if not one.claim.joins),
            frames_to_do=self._frames.to_do(),
            workers=sorted(views, key=lambda view: view.worker),
        )

    # -- giving -------------------------------------------------------------------------------------------------------

    def _start(self, worker: int) -> None:
        self._starting.add(worker)
        self._executor.start(worker)

    def _start_workers(self) -> None:
        """Start workers for what is to do, as far as there are any that do not run."""
        free = len(self._starting) + len(self._idle)
        stopped = sorted(set(range(self._executor.workers)) - self._running())
        for worker in stopped[: max(0, self._queue.waiting - free)]:
            self._start(worker)

    def _running(self) -> set[int]:
        return self._starting | self._idle | self._attempts.keys()

    def _give(self) -> None:
        """Give recordings and stretches to idle workers."""
        now_s = self._clock()
        while self._idle and (entry := self._queue.pop(now_s)) is not None:
            self._attempt(*entry)
        if self._has_more_to_do:
            self._has_more_to_do = False
            self._start_workers()

    def _attempt(self, unit: Unit, attempts: int) -> None:
        """Claim a recording or stretch and give it to an idle worker, unless it is done or somebody else has it."""
        self._drivers.beat()  # another driver may have all of very many
        if isinstance(unit, Stretch):
            self._attempt_stretch(unit, attempts)
            return
        if attempts:
            unit = self.recordings[unit.name] = unit.again()
        claim = self._claim(unit)
        if claim is None and self._folder.is_done(unit):
            self._enter_done(unit)
        elif not attempts and self._folder.failure_of(unit) is not None:
            self._enter_failed(unit)
        elif claim is None:
            self._queue.put_elsewhere(unit)
        else:
            self._give_recording(claim, attempts)

    def _attempt_stretch(self, stretch: Stretch, attempts: int) -> None:
        """The same for a stretch; not if its recording is done, has changed, or is one piece after all."""
        recording = stretch.recording
        if self._folder.is_done(recording):
            self._end_stretches(recording)
            self._frames.settle_joined(recording)
            self._enter_done(recording)
        elif stretch not in self._folder.stretches_of(recording):
            self._restart(recording, attempts)
        elif attempts and recording.again() != recording:
            self._restart(recording, attempts + 1)
        else:
            claim = self._claim(stretch)
            if claim is None and self._folder.is_done(stretch):
                self._enter_stretch(stretch)
            elif claim is None:
                self._queue.put_elsewhere(stretch)
            else:
                self._give_to_idle(claim, attempts)

    def _give_recording(self, claim: Claim, attempts: int) -> None:
        """Give a recording to an idle worker, or let its stretches be done first if it is split."""
        recording, split = claim.recording, self._plan.split
        names = output_names(recording, self._outputs)
        try:
            for name in names.values():
                check_name(self._folder.root / name, "its output")
        except InputError as error:
            self._set_aside(claim, str(error), attempts + 1)
            return
        foreign = self._folder.foreign_output(recording, names)
        if foreign is not None:
            reason = f"{self._folder.root / foreign} exists and is no result of this batch: move it away"
            self._set_aside(claim, reason, attempts + 1)
            return
        stretches = self._folder.stretches_of(recording) if recording.name in self._split else ()
        left = [stretch for stretch in stretches if not self._folder.is_done(stretch)]
        if left:
            self._drop_claim(recording)
            self._begin_stretches(recording, left, attempts)
            return
        splitting = split and split.for_recordings(len(self._unfinished), self._executor.workers)
        self._give_to_idle(replace(claim, splitting=splitting, joins=stretches), attempts)

    def _claim(self, unit: Unit) -> Claim | None:
        claim = self._folder.claim(unit, self._drivers)
        if claim is not None:
            self._claimed[unit_id(unit)] = claim
        return claim

    def _give_to_idle(self, claim: Claim, attempts: int) -> None:
        worker = self._idle.pop()
        now_s = self._clock()
        self._attempts[worker] = _Attempt(claim, attempts + 1, now_s, now_s)
        stretch = {"stretch": claim.unit.name} if isinstance(claim.unit, Stretch) else {}
        self._note("started", name=claim.recording.name, worker=worker, attempt=attempts + 1, **stretch)
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
            case Finished(worker, outcome) if worker in self._attempts:  # not, if it was stopped just now
                self._idle.add(worker)
                self._finish(self._attempts.pop(worker), outcome)
            case Died(worker, reason) if worker in self._running():
                self._died(worker, reason)

    def _progress(self, worker: int, frames: int, total: int | None) -> None:
        attempt = self._attempts.get(worker)
        if attempt is None:
            return
        if total is not None and isinstance(attempt.claim.unit, Recording):
            self._frames.expect(attempt.claim.unit, total)
        attempt.frames, attempt.total, attempt.moved_s = frames, total, self._clock()

    def _finish(self, attempt: _Attempt, outcome: Outcome) -> None:
        claim, record = attempt.claim, outcome.record
        unit, recording = claim.unit, claim.recording
        if outcome.state is State.FAILED:
            self._fail(attempt, outcome.reason, outcome.may_pass)
        elif outcome.state is State.WHOLE:
            self._note("unsplit", name=recording.name, reason=outcome.reason)
            self._folder.keep_whole(recording, outcome.reason)
            self._restart(recording, 0)
        elif outcome.state is State.SPLIT:
            self._split.add(recording.name)
            self._drop_claim(recording)
            self._queue.put_first(recording, attempt.number - 1)
        elif isinstance(unit, Stretch):
            if record is not None:
                self._frames.advance(recording, int(record["frames"]))
            self._enter_stretch(unit)
        else:
            if record is not None and claim.joins:
                self._frames.settle_joined(recording)
            elif record is not None:
                self._frames.settle(recording, int(record["frames"]))
            if record is not None:
                self._note("done", name=recording.name, frames=int(record["frames"]), objects=record["objects"])
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
        claim, number = attempt.claim, attempt.number
        self._check_disk()
        self._folder.discard(claim)
        if self._folder.is_done(claim.unit) or not self._folder.holds(claim):
            # It failed because others took this driver for dead, and removed what it wrote.
            self._drop_claim(claim.unit)
            self._queue.put_elsewhere(claim.unit)
        elif may_pass and number < self._patience.attempts:
            delay_s = self._patience.delay_s(number)
            self._note("again", name=claim.recording.name, reason=reason, attempt=number, delay_s=delay_s)
            self._queue.put_later(claim.unit, number, self._clock() + delay_s)
        else:
            self._set_aside(claim, reason, number)

    def _set_aside(self, claim: Claim, reason: str, attempts: int) -> None:
        recording = claim.recording
        self._note("failed", name=recording.name, reason=reason, attempts=attempts)
        self._drop_claim(claim.unit)
        self._end_stretches(recording)
        self._folder.set_aside(recording, reason, attempts)
        self._frames.settle(recording, 0)
        self._enter_failed(recording)

    def _drop_claim(self, unit: Unit) -> None:
        claim = self._claimed.pop(unit_id(unit), None)
        if claim is not None:
            self._folder.release(claim)

    # -- stretches ----------------------------------------------------------------------------------------------------

    def _begin_stretches(self, recording: Recording, left: Sequence[Stretch], attempts: int) -> None:
        frames = (self._folder.split_of(recording) or {}).get("frames")
        if frames is not None:
            self._frames.expect(recording, round(frames * len(left) / left[0].count))
        self._queue.split(left, attempts)
        self._has_more_to_do = True

    def _enter_stretch(self, stretch: Stretch) -> None:
        self._drop_claim(stretch)
        self._queue.finish(stretch)

    def _restart(self, recording: Recording, attempts: int) -> None:
        """Begin again with a recording that has changed, or is one piece after all."""
        self._end_stretches(recording)
        self._drop_claim(recording)
        self._frames.restart(recording)
        self._queue.put_first(recording, attempts)

    def _end_stretches(self, recording: Recording) -> None:
        """Give up the stretches of a recording, also those that are under way."""
        self._queue.drop_stretches(recording)
        for worker, attempt in list(self._attempts.items()):
            if is_stretch_of(attempt.claim.unit, recording):
                self._executor.stop(worker)
                del self._attempts[worker]
        for claim in list(self._claimed.values()):
            if is_stretch_of(claim.unit, recording):
                self._drop_claim(claim.unit)
        self._has_more_to_do = True

    # -- entering -----------------------------------------------------------------------------------------------------

    def _enter_done(self, recording: Recording) -> None:
        self._drop_claim(recording)
        self._folder.forget_failure(recording)
        self._unfinished.discard(recording.name)
        self.done.add(recording.name)

    def _enter_failed(self, recording: Recording) -> None:
        self._drop_claim(recording)
        self._unfinished.discard(recording.name)
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
