"""A worker: holds a loaded network and turns one recording after the other into its results, or stretches of them."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain

from pipeline.batch.inputs import Recording, partial_hash
from pipeline.batch.kept_segmenter import KeptSegmenter, Replayed, Unfiltered
from pipeline.batch.provenance import check_same_versions
from pipeline.batch.results_folder import Claim, ResultsFolder
from pipeline.batch.shared_files import Record
from pipeline.batch.stored_answers import AnswerWriter, read_answers
from pipeline.batch.stretch_source import StretchSource, seams_of
from pipeline.batch.stretches import SeamError, Stretch
from pipeline.batch.worker_plan import WorkerPlan, output_names
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.ledger import RunSummary
from pipeline.records import Clock, SegmentedFrame
from pipeline.runtime.stream import Stream

ANSWERS = "answers"
"""The kind of a stretch's output: what the network reported."""
REPORT_EVERY_S = 0.5
"""How often a worker says how far it is, and looks whether its recording still grows."""


class State(Enum):
    """How an attempt ended."""

    DONE = "done"
    LOST = "lost"
    """Another attempt had committed before."""
    SPLIT = "split"
    """The recording is split now; its stretches are to be done."""
    WHOLE = "whole"
    """The recording cannot be split; it is to be done as one piece."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        state: how it ended.
        record: of DONE, what the recording or stretch gave.
        reason: of FAILED and WHOLE, in words for the user, without the recording's name.
        may_pass: of FAILED, whether another attempt may succeed.
    """

    state: State
    record: Record | None = None
    reason: str = ""
    may_pass: bool = False


Report = Callable[[int, int | None], None]
"""Takes how many frames of the recording are done, and how many it has, if that is known."""


class Worker:
    """Segments recordings with a network that stays loaded.

    Args:
        plan: what it is made from.
        clock: seconds, monotonic.

    Raises:
        InputError: the network cannot be loaded, or this machine has other versions of the libraries.
    """

    def __init__(self, plan: WorkerPlan, clock: Clock = time.monotonic) -> None:
        check_same_versions(plan.versions)
        self._plan = plan
        self._clock = clock
        self._folder = ResultsFolder(plan.results)
        self._segmenter = KeptSegmenter(plan.make_segmenter(plan))
        self._segmenter.open()

    def run(self, claim: Claim, report: Report) -> Outcome:
        """Segment a recording, or infer a stretch, and commit what it gives. Whatever fails is in the outcome."""
        unit = claim.unit
        try:
            if not stat.S_ISREG(os.stat(claim.recording.path).st_mode):  # reading a pipe may never end
                raise InputError("is not a regular file but a folder, a pipe, a socket or a device")
            if isinstance(unit, Stretch):
                record = self._inferred(claim, unit, report)
            elif self._is_split(claim):
                return Outcome(State.SPLIT)
            else:
                record = self._segmented(claim, report)
            committed = self._folder.commit(claim, record)
        except SeamError as error:
            return Outcome(State.WHOLE, reason=str(error))
        except _ChangedError as error:
            return Outcome(State.FAILED, reason=str(error), may_pass=True)
        except OSError as error:
            what = error.strerror or str(error)
            is_own = error.filename in (None, claim.recording.path)
            return Outcome(State.FAILED, reason=what if is_own else f"{error.filename}: {what}", may_pass=True)
        except StreamSegmentError as error:
            reason = _without_name(str(error), claim.recording)
            return Outcome(State.FAILED, reason=reason, may_pass=not isinstance(error, InputError))
        return Outcome(State.DONE, record) if committed else Outcome(State.LOST)

    def close(self) -> None:
        """Release the network."""
        self._segmenter.end()

    def _is_split(self, claim: Claim) -> bool:
        """Whether the recording is split, which is decided here if it is wanted."""
        recording, splitting = claim.recording, claim.splitting
        if splitting is None or claim.joins:
            return False
        split = self._folder.split_of(recording)
        if split is None and splitting.most != 1:
            _check_unchanged(recording)
            seams_ms, frames = seams_of(recording.path, self._plan.settings, splitting)
            if seams_ms:
                self._folder.keep_split(recording, seams_ms, frames)
                return True
        return split is not None and bool(split["seams_ms"])

    def _inferred(self, claim: Claim, stretch: Stretch, report: Report) -> Record:
        """Store what the network reports on each frame of a stretch."""
        _check_unchanged(stretch.recording)
        claim.work.mkdir(parents=True)
        name, frames = self._folder.answers_name(stretch), 0
        stream = Stream(
            self._plan.settings_for(claim),
            source=StretchSource(stretch, self._clock),
            segmenter=Unfiltered(self._segmenter),
            clock=self._clock,
        )
        with AnswerWriter(claim.output(ANSWERS, name)) as answers, stream:
            for segmented in self._presented(stream, stretch.recording, report):
                answers.add(segmented.frame, segmented.instances)
                frames += 1
        return {"name": stretch.recording.name, "outputs": {ANSWERS: name}, "frames": frames}

    def _segmented(self, claim: Claim, report: Report) -> Record:
        """Segment a whole recording; what its stretches have stored is not computed again."""
        recording = claim.recording
        digest = partial_hash(recording.path)
        _check_unchanged(recording)
        claim.work.mkdir(parents=True)
        answers = chain.from_iterable(read_answers(self._folder.answers_of(stretch)) for stretch in claim.joins)
        segmenter = Replayed(self._segmenter, answers) if claim.joins else self._segmenter
        stream = Stream(self._plan.settings_for(claim), segmenter=segmenter, clock=self._clock)
        began_s, frames, objects = self._clock(), 0, 0
        with _warnings_of_sinks() as warnings, stream:
            for segmented in self._presented(stream, recording, report):
                frames += 1
                objects += len(segmented.instances)
        if isinstance(segmenter, Replayed):
            segmenter.check_all_used()
        summary = stream.summary()
        if not frames:
            raise RunError("no frame was segmented")
        return {
            "name": recording.name,
            "source": recording.path,
            "bytes": recording.size,
            "partial_hash": digest,
            "outputs": output_names(recording, self._plan.outputs),
            "objects": objects,
            **record_of(summary),
            "warnings": [*summary.source_warnings, *warnings],
            "timings": {
                "wall_s": round(self._clock() - began_s, 3),
                "inference_p50_s": summary.stats.inference_p50_s,
                "display_fps": summary.stats.display_fps,
                "host": socket.gethostname(),
                "finished_at_s": round(time.time(), 3),
            },
        }

    def _presented(self, stream: Stream, recording: Recording, report: Report) -> Iterator[SegmentedFrame]:
        """The frames of a run, which is reported now and then. Raises _ChangedError if the recording changes."""
        due_s = 0.0
        report(0, stream.info.frame_count)
        for frames, segmented in enumerate(stream, start=1):
            yield segmented
            if self._clock() >= due_s:
                due_s = self._clock() + REPORT_EVERY_S
                report(frames, stream.info.frame_count)
                _check_unchanged(recording)
        _check_unchanged(recording)


def record_of(summary: RunSummary) -> Record:
    """What a run gave, without its times: frames, size, rate, and what was counted."""
    source, scene = summary.source, summary.scene
    return {
        "frames": summary.stats.presented,
        "width": source.width,
        "height": source.height,
        "fps": source.fps,
        "duration_s": source.duration_s,
        "seen": dict(scene.seen) if scene else {},
        "lines": [
            {"name": line.name, "crossed_in": line.crossed_in, "crossed_out": line.crossed_out}
            for line in (scene.lines if scene else ())
        ],
        "zones": [
            {
                "name": zone.name,
                "entered": zone.entered,
                "occupancy": zone.occupancy,
                "dwell_mean_s": zone.dwell_mean_s,
                "dwell_max_s": zone.dwell_max_s,
            }
            for zone in (scene.zones if scene else ())
        ],
    }


class _ChangedError(Exception):
    """A recording is not what it was when it was listed."""


def _check_unchanged(recording: Recording) -> None:
    """Raises _ChangedError or OSError."""
    status = os.stat(recording.path)
    if (status.st_size, status.st_mtime_ns) != (recording.size, recording.mtime_ns):
        raise _ChangedError("it changes while it is read: is it still being written?")


def _without_name(text: str, recording: Recording) -> str:
    """A message without the recording's name at its beginning, which is shown with it anyway."""
    return text.removeprefix(os.path.basename(recording.path)).removeprefix(":").lstrip() or text


@contextlib.contextmanager
def _warnings_of_sinks() -> Iterator[list[str]]:
    """Collects what the sinks warn of, such as sound that cannot be copied."""
    texts: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    logger, handler = logging.getLogger("pipeline.sinks"), Keep(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)
