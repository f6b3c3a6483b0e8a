"""A worker: holds a loaded network and turns one recording after the other into its results."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.batch.inputs import Recording
from pipeline.batch.provenance import check_same_versions
from pipeline.batch.results_folder import Claim, Record, ResultsFolder, partial_hash
from pipeline.errors import InputError, RunError, StreamSegmentError
from pipeline.ledger import RunSummary
from pipeline.records import Clock, Instances, SourceInfo, SourceKind
from pipeline.runtime.inference import segmenter_for
from pipeline.runtime.plan import plan_run
from pipeline.runtime.stream import Stream
from pipeline.safe_uri import SourceUri
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import Backend, EngineKind, Precision
from pipeline.settings.output_settings import ProgressMode, ServeSettings, VirtualCameraSettings, WindowMode
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import Policy
from pipeline.sources.factory import make_source

VIDEO, DETECTIONS = "video", "detections"
"""The kinds of outputs."""
REPORT_EVERY_S = 0.5
"""How often a worker says how far it is, and looks whether its recording still grows."""
MOST_PROBED = 5
"""Recordings that are tried for a first frame on which the engine is chosen."""


class ShareOfMachine(Machine):
    """A machine of which this process uses some cores.

    Args:
        cores: how many.
        own_threads: of each engine, as they were chosen for the batch; None: the cores are shared equally.
    """

    def __init__(self, cores: int, own_threads: int | None = None) -> None:
        self._cores, self._own_threads = cores, own_threads

    def cores(self) -> int:
        """See `Machine.cores`."""
        return self._cores

    def threads(self, workers: int) -> int | None:
        """See `Machine.threads`."""
        return self._own_threads or max(1, self._cores // workers)


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What all workers of a batch are made from; it travels to them.

    Attributes:
        settings: of the batch, with the engine that was chosen for it.
        results: the folder of the results.
        outputs: kinds of outputs.
        cores: that each worker uses.
        threads: of each engine; None: its share of the cores.
        versions: of the program and the libraries, which must be the same everywhere.
        make_segmenter: makes the network.
    """

    settings: Settings
    results: Path
    outputs: tuple[str, ...]
    cores: int
    threads: int | None
    versions: dict[str, str]
    make_segmenter: Callable[[WorkerPlan], Segmenter]

    def settings_for(self, claim: Claim) -> Settings:
        """The settings of the run that segments a recording into the folder of its claim."""
        settings, names = self.settings, output_names(claim.recording, self.outputs)
        paths = {kind: str(claim.output(kind, name)) for kind, name in names.items()}
        source = {"uri": SourceUri(claim.recording.path), "policy": Policy.RECORDED, "realtime": False, "loop": False}
        output = {"path": paths.get(VIDEO), "overwrite": False, "segment_s": None}
        return settings.model_copy(
            update={
                "source": settings.source.model_copy(update=source),
                "output": settings.output.model_copy(update=output),
                "detections": settings.detections.model_copy(update={"path": paths.get(DETECTIONS)}),
                "window": settings.window.model_copy(update={"mode": WindowMode.OFF}),
                "serve": ServeSettings(),
                "virtual_camera": VirtualCameraSettings(),
                "progress": ProgressMode.OFF,
            }
        )


def output_names(recording: Recording, outputs: Sequence[str]) -> dict[str, str]:
    """The names of a recording's outputs below the folder of the results, by kind."""
    names = {VIDEO: recording.video_name, DETECTIONS: recording.detections_name}
    return {kind: names[kind] for kind in outputs}


def make_segmenter(plan: WorkerPlan) -> Segmenter:
    """The network that the settings describe, on the worker's share of the machine."""
    machine = ShareOfMachine(plan.cores, plan.threads)
    run = plan_run(plan.settings, machine)
    return segmenter_for(run, run.for_source(SourceInfo("", SourceKind.RECORDED, 1, 1)), machine)


def choose_engine(plan: WorkerPlan, recordings: Sequence[Recording]) -> dict[str, Any]:
    """What this machine takes for a batch, measured on a frame of its recordings where the settings leave a choice.

    Returns:
        engine, precision, backend, workers (frames side by side), threads of each, whether engines side by side were
        compared; the reason, the network in a line, and the class names.

    Raises:
        InputError: no engine can be made.
    """
    segmenter = plan.make_segmenter(plan)
    segmenter.open()
    with contextlib.closing(segmenter):
        for recording in recordings[:MOST_PROBED]:
            settings = plan.settings.source.model_copy(update={"uri": SourceUri(recording.path)})
            with contextlib.suppress(StreamSegmentError), make_source(settings) as source:
                frame = source.read()
                if frame is not None:
                    segmenter.segment_batch([frame.image_bgr])
                    break
        chosen: dict[str, Any] = {"model": segmenter.description, "labels": list(segmenter.labels)}
        if isinstance(segmenter, MaskRCNNSegmenter):
            choice = segmenter.choice
            chosen |= {
                "engine": choice.engine.value,
                "precision": choice.precision.value,
                "backend": choice.backend.backend.value if choice.backend is not None else Backend.AUTO.value,
                "workers": choice.workers,
                "threads": choice.threads or ShareOfMachine(plan.cores).threads(choice.workers),
                "compared": bool(choice.reason)
                and plan_run(plan.settings, ShareOfMachine(plan.cores)).file_workers > 1,
                "reason": choice.reason,
            }
    return chosen


def with_engine(plan: WorkerPlan, chosen: dict[str, Any]) -> WorkerPlan:
    """The plan with what `choose_engine` has chosen."""
    if "engine" not in chosen:
        return plan
    kinds = {"engine": EngineKind, "precision": Precision, "backend": Backend}
    model = {key: kind(chosen[key]) for key, kind in kinds.items()} | {"workers": chosen["workers"]}
    settings = plan.settings.model_copy(update={"model": plan.settings.model.model_copy(update=model)})
    return replace(plan, settings=settings, threads=chosen["threads"])


class KeptSegmenter(Segmenter):
    """A segmenter that stays open from one run to the next.

    Args:
        inner: opened with the first run, closed by `end`.
    """

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner
        self.detections = inner.detections
        self._is_open = False

    @property
    def labels(self) -> Sequence[str]:
        """See `Segmenter.labels`."""
        return self._inner.labels

    @property
    def description(self) -> str:
        """See `Segmenter.description`."""
        return self._inner.description

    @property
    def workers(self) -> int:
        """See `Segmenter.workers`."""
        return self._inner.workers

    def open(self) -> None:
        """Open it, once."""
        if not self._is_open:
            self._inner.open()
            self._is_open = True

    def segment_batch(self, images_bgr: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """See `Segmenter.segment_batch`."""
        return self._inner.segment_batch(images_bgr)

    def close(self) -> None:
        """Leave it open: the next run uses it."""

    def end(self) -> None:
        """Close it."""
        self._inner.close()


class State(Enum):
    """How an attempt ended."""

    DONE = "done"
    LOST = "lost"
    """Another attempt had committed before."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        state: how it ended.
        record: of DONE, what the recording gave.
        reason: of FAILED, in words for the user.
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
        """Segment a recording and commit what it gives. Whatever fails is in the outcome."""
        try:
            record = self._segmented(claim, report)
            committed = self._folder.commit(claim, record)
        except _ChangedError as error:
            return Outcome(State.FAILED, reason=str(error), may_pass=True)
        except OSError as error:
            what = error.strerror or str(error)
            return Outcome(State.FAILED, reason=f"{error.filename or claim.recording.path}: {what}", may_pass=True)
        except InputError as error:
            return Outcome(State.FAILED, reason=str(error), may_pass=False)
        except StreamSegmentError as error:
            return Outcome(State.FAILED, reason=str(error), may_pass=True)
        return Outcome(State.DONE, record) if committed else Outcome(State.LOST)

    def close(self) -> None:
        """Release the network."""
        self._segmenter.end()

    def _segmented(self, claim: Claim, report: Report) -> Record:
        recording = claim.recording
        digest = partial_hash(recording.path)
        _check_unchanged(recording)
        claim.work.mkdir(parents=True)
        stream = Stream(self._plan.settings_for(claim), segmenter=self._segmenter, clock=self._clock)
        began_s, due_s, frames, objects = self._clock(), 0.0, 0, 0
        with _warnings_of_sinks() as warnings, stream:
            report(0, stream.info.frame_count)
            for segmented in stream:
                frames += 1
                objects += len(segmented.instances)
                if self._clock() >= due_s:
                    due_s = self._clock() + REPORT_EVERY_S
                    report(frames, stream.info.frame_count)
                    _check_unchanged(recording)
        _check_unchanged(recording)
        summary = stream.summary()
        if not frames:
            raise RunError(f"{recording.name}: no frame was segmented")
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
        raise _ChangedError(f"{recording.path} changes while it is read: is it still being written?")


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
