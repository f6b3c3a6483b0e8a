"""What all workers of a batch are made from, and the engine that they share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.batch.inputs import Recording
from pipeline.batch.results_folder import Claim
from pipeline.batch.stretches import Stretch
from pipeline.errors import StreamSegmentError
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.inference import segmenter_for
from pipeline.runtime.plan import plan_run
from pipeline.safe_uri import SourceUri
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.segmenter import Segmenter
from pipeline.settings.model_settings import Backend, EngineKind, Precision
from pipeline.settings.output_settings import ProgressMode, ServeSettings, VirtualCameraSettings, WindowMode
from pipeline.settings.presentation_settings import BackgroundSettings, PrivacySettings, TrackingSettings
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import Policy
from pipeline.sources.factory import make_source

VIDEO, DETECTIONS = "video", "detections"
"""The kinds of outputs."""
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


_ONLY_INFERRED = {
    "tracking": TrackingSettings(enabled=False),
    "lines": (),
    "zones": (),
    "privacy": PrivacySettings(),
    "background": BackgroundSettings(),
}
"""Of a stretch: what the network reports is stored as it is."""


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
        """The settings of the run that segments a recording into the folder of its claim, or infers a stretch of it."""
        settings, names = self.settings, output_names(claim.recording, self.outputs)
        if isinstance(claim.unit, Stretch):
            settings, names = settings.model_copy(update=_ONLY_INFERRED), {}
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
