"""A batch from its request to its summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mrcnn.weights.whole_file import whole_file
from pipeline.batch.batch_plan import BatchPlan, plan_batch
from pipeline.batch.batch_state import BatchState, Note
from pipeline.batch.driver import Driver
from pipeline.batch.executor import Place
from pipeline.batch.inputs import Found, Recording, find_recordings
from pipeline.batch.patience import Patience
from pipeline.batch.provenance import check_unchanged, depends_on
from pipeline.batch.results_folder import ResultsFolder, recording_id
from pipeline.batch.shared_files import Record
from pipeline.batch.stretches import AUTO_SPLIT, Splitting
from pipeline.batch.worker_plan import WorkerPlan, choose_engine, make_segmenter, with_engine
from pipeline.errors import RunError
from pipeline.records import Clock
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.output_settings import ServeSettings
from pipeline.settings.schema import Settings

NOT_IN_SUMMARY = {"partial_hash", "key", "work", "timings"}
"""Fields of a record that the summary leaves out, or shows among its timings."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several jobs that share a batch.

    Attributes:
        number: 1 for the first.
        count: how many there are.
    """

    number: int
    count: int

    def has(self, recording: Recording) -> bool:
        """Whether a recording is this job's: decided by its name, alike on every machine."""
        return int(recording_id(recording)[:12], 16) % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a user wants.

    Attributes:
        settings: of every run.
        inputs: folders, files, globs, lists.
        results: the folder of the results.
        outputs: kinds of outputs.
        shard: the part of this job; None for everything.
        limit: at most so many recordings; None for all.
        retry_failed: what was set aside is tried again.
        patience: with recordings that fail.
        split: which recordings are split; None for none.
    """

    settings: Settings
    inputs: tuple[str, ...]
    results: Path
    outputs: tuple[str, ...]
    shard: Shard | None = None
    limit: int | None = None
    retry_failed: bool = False
    patience: Patience = field(default_factory=Patience)
    split: Splitting | None = AUTO_SPLIT


class Batch:
    """Finds recordings, lets workers segment them, and writes the summary.

    Args:
        request: what the user wants.
        clock: seconds, monotonic.
        make: makes the network of each worker.

    Attributes:
        found: the recordings, and what was ignored.
        plan: what is to do.
        state: how far the batch is.

    Raises:
        InputError: there are no recordings, or the results folder holds results that were made otherwise.
    """

    def __init__(
        self, request: BatchRequest, clock: Clock, make: Callable[[WorkerPlan], Segmenter] = make_segmenter
    ) -> None:
        self._request, self._clock, self._make = request, clock, make
        self._folder = ResultsFolder(request.results)
        found = find_recordings(request.inputs, request.results)
        if request.shard is not None:
            found = Found([one for one in found.recordings if request.shard.has(one)], found.ignored)
        self.found = found
        self._depends_on = depends_on(request.settings, request.outputs)
        self._check_kept(self._folder.depends_on())
        plan = plan_batch(found.recordings, self._folder, request.limit, request.retry_failed)
        self.plan: BatchPlan = replace(plan, split=request.split)
        self._to_do = {recording.name for recording in self.plan.to_do}
        self._driver: Driver | None = None
        self._stopping = False
        self._began = datetime.now(UTC)
        self._began_s = clock()

    @property
    def state(self) -> BatchState:
        """How far the batch is."""
        if self._driver is not None:
            return self._driver.state()
        plan = self.plan
        return BatchState(len(plan.recordings), len(plan.done), len(plan.failed), 0, None, ())

    def failures(self) -> dict[str, str]:
        """Why each recording that is set aside is, by name."""
        failed = self.plan.failed if self._driver is None else self._driver.failed
        recordings = self.plan.recordings if self._driver is None else self._driver.recordings
        found = {name: self._folder.failure_of(recordings[name]) or {} for name in sorted(failed)}
        return {name: str(failure.get("reason", "")) for name, failure in found.items()}

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def stop(self) -> None:
        """End `run` soon; what is under way is given up, and begins again the next time."""
        self._stopping = True
        if self._driver is not None:
            self._driver.stop()

    def run(self, place: Place, note: Note, on_tick: Callable[[BatchState], None]) -> Path:
        """Do what is to do, and write the summary, also after `stop` or an error.

        Args:
            place: where the workers run.
            note: told what happens.
            on_tick: called now and then.

        Returns:
            The summary file.

        Raises:
            InputError: the network cannot be loaded, or another batch has begun in the same folder.
            RunError: the results cannot be written, or workers do not start.
        """
        self._folder.make()
        try:
            plan, made_with = self._worker_plan(place)
        except OSError as error:
            raise RunError(f"{self._request.results} cannot be written: {error.strerror or error}") from error
        executor = place.executor(plan)
        driver = Driver(self.plan, self._folder, plan.outputs, executor, self._request.patience, self._clock, note)
        self._driver = driver
        if self._stopping:
            driver.stop()
        try:
            driver.run(on_tick)
        finally:
            path = self._write_summary(driver, made_with, place.workers)
        return path

    def _worker_plan(self, place: Place) -> tuple[WorkerPlan, Record]:
        request, versions = self._request, self._depends_on["versions"]
        settings = request.settings.model_copy(update={"serve": ServeSettings()})  # no worker gets the page's token
        plan = WorkerPlan(
            settings, request.results.absolute(), request.outputs, place.cores, None, versions, self._make
        )
        made_with = self._folder.depends_on()
        if made_with is None:
            chosen = place.call(choose_engine, plan, list(self.found.recordings))
            made_with = self._folder.keep_depends_on({**self._depends_on, "chosen": chosen})
            self._check_kept(made_with)
        are_split = request.split is not None and not request.split.is_auto
        chosen = place.share(made_with["chosen"], None if are_split else len(self.plan.to_do))
        return with_engine(replace(plan, cores=place.cores), chosen), made_with

    def _check_kept(self, kept: Record | None) -> None:
        if kept is not None:
            kept = {key: value for key, value in kept.items() if key != "chosen"}
            check_unchanged(kept, self._depends_on, self._request.results)

    # -- the summary --------------------------------------------------------------------------------------------------

    def _write_summary(self, driver: Driver, made_with: Record, workers: int) -> Path:
        """Write the summary piece by piece: of very many recordings it does not fit in memory."""
        shard = self._request.shard
        name = "summary.json" if shard is None else f"summary.{shard.number}-of-{shard.count}.json"
        path = self._request.results / name
        try:
            with whole_file(path) as file:
                for text in self._summary_texts(driver, made_with, workers):
                    file.write(text.encode("ascii"))
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror or error}") from None
        return path

    def _summary_texts(self, driver: Driver, made_with: Record, workers: int) -> Iterator[str]:
        state, shard, chosen = driver.state(), self._request.shard, made_with["chosen"]
        head: dict[str, Any] = {
            "format": made_with["format"],
            "inputs": state.inputs,
            "done": state.done,
            "skipped": state.skipped,
            "failed": state.failed,
            "shard": f"{shard.number}/{shard.count}" if shard is not None else None,
            "model": chosen["model"],
            "labels": chosen["labels"],
            "settings": made_with["settings"],
            "made_with": {
                "files": made_with["files"],
                "versions": made_with["versions"],
                "engine": {key: value for key, value in chosen.items() if key not in ("model", "labels")},
            },
        }
        yield _json(head)[:-1] + ',\n"files": ['
        frames = objects = 0
        timings: list[str] = []
        separator = "\n"
        for recording in driver.recordings.values():
            entry, timing = self._entry(driver, recording)
            frames += entry.get("frames", 0)
            objects += entry.get("objects", 0)
            if timing is not None:
                timings.append(f"{_json(recording.name)}: {_json(timing)}")
            yield separator + _json(entry)
            separator = ",\n"
        run = {
            "started": self._began.isoformat(timespec="seconds"),
            "wall_s": round(self._clock() - self._began_s, 3),
            "workers": workers,
            "frames": state.frames,
        }
        yield f'\n],\n"frames": {frames},\n"objects": {objects},\n"timings": {_json(run)[:-1]}, "files": {{'
        for index, text in enumerate(timings):
            yield ("," if index else "") + "\n" + text
        yield "\n}}}\n"

    def _entry(self, driver: Driver, recording: Recording) -> tuple[Record, Record | None]:
        """What the summary says of an input, and how long it took."""
        name = recording.name
        if name in driver.done:
            record = self._folder.record_of(recording) or {"name": name}
            shown = {key: value for key, value in record.items() if key not in NOT_IN_SUMMARY}
            return {**shown, "name": name, "state": "done"}, record.get("timings")
        if name in driver.failed:
            failure = self._folder.failure_of(recording) or {}
            return {"reason": "", "attempts": 0, **failure, "name": name, "state": "failed"}, None
        reason = "interrupted" if name in self._to_do else "--limit"
        return {"name": name, "state": "skipped", "reason": reason}, None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True)
