"""Plans: everything that is decided about a run before its frames come. Stages execute them and decide nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from pipeline.errors import InputError
from pipeline.records import SourceInfo, SourceKind
from pipeline.segmentation.engine_pool import default_workers
from pipeline.segmentation.machine import Machine
from pipeline.settings.output_settings import AudioMode
from pipeline.settings.presentation_settings import PresentationMode, TrackingSettings
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import Policy

NO_SMOOTHING = {"hold_s": 0.0, "smoothing": 0.0, "low_score": None}
"""Tracking that gives ids and leaves instances as the network found them."""


class JoinKind(Enum):
    """Which frames are presented, and with which instances."""

    EXACT = "exact"
    """Each inferred frame with its own instances."""
    SMOOTH = "smooth"
    """Every captured frame of a live source, with the newest instances carried onto it."""
    KEYFRAMES = "keyframes"
    """Every frame of a recorded source; instances of inferred keyframes are carried to the frames between."""


class Filling(Enum):
    """When a batch goes to the segmenter."""

    FULL = "full"
    """When it is full, or no more frames come."""
    AVAILABLE = "available"
    """With the frames that are available, one or more: the join holds frames back until this stage's results come, so
    waiting for more of them could lock up."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How many frames go through the segmenter at once.

    Attributes:
        size: at most so many, 1 or more.
        filling: whether to wait for more.
    """

    size: int = 1
    filling: Filling = Filling.FULL

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a batch holds 1 frame or more, got {self.size}")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What the settings alone decide; made by `plan_run`.

    Attributes:
        settings: of the run.
        redaction_score: detections from this score on are redacted; None where privacy is off.
        file_workers: how many batches of a video file go through the network side by side. Only where every frame
            counts: one frame by itself is faster on all cores, keyframes wait for one result after the other, and
            images differ in size.
    """

    settings: Settings
    redaction_score: float | None
    file_workers: int

    def for_source(self, source: SourceInfo) -> SourcePlan:
        """The plan for a source that was just opened. Raises InputError if it does not go with the settings."""
        settings = self.settings
        policy = settings.source.policy
        live = source.kind is SourceKind.LIVE if policy is Policy.AUTO else policy is Policy.LIVE
        if settings.source.detect_uri is not None and not live:
            raise InputError(
                f"source.detect_uri is the sub-stream of a live source, and of {source.source_id} every frame is read: "
                "leave it out"
            )
        join = JoinKind.EXACT
        if settings.presentation is not PresentationMode.EXACT:
            if live:
                join = JoinKind.SMOOTH
            elif not settings.motion.infers_all and source.kind is not SourceKind.STILLS:
                join = JoinKind.KEYFRAMES
        tracking = None
        # Single images are not tracked: there is no time between them.
        if settings.tracking.enabled and source.kind is not SourceKind.STILLS:
            smooth = join is not JoinKind.EXACT
            tracking = settings.tracking if smooth else settings.tracking.model_copy(update=NO_SMOOTHING)
        batching = Batching()  # of a live source one frame at a time: the newest wins
        workers = 1
        if not live:
            filling = Filling.AVAILABLE if join is JoinKind.KEYFRAMES else Filling.FULL
            batching = Batching(settings.model.batch_size, filling)
            if source.kind is SourceKind.RECORDED:
                workers = self.file_workers
        withheld = source.audio is not None and settings.privacy.on and settings.output.audio is AudioMode.AUTO
        if withheld:
            source = replace(source, audio=None)
        return SourcePlan(source, live, join, tracking, batching, workers, audio_withheld=withheld)


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """What is decided for one opening of a source. A source that comes back otherwise gets a new one, whole.

    Attributes:
        source: the source as it was opened, without its audio where privacy withholds that from all sinks.
        live: whether the newest frame wins (live) or every frame is processed (recorded).
        join: which frames are presented.
        tracking: how objects are tracked; None where they are not.
        batching: how many frames go through the network at once.
        workers: how many batches go through the network side by side, if its engine gains from that.
        audio_withheld: whether the source has audio that privacy withholds.
    """

    source: SourceInfo
    live: bool
    join: JoinKind
    tracking: TrackingSettings | None
    batching: Batching
    workers: int
    audio_withheld: bool = False

    @property
    def smooth(self) -> bool:
        """Whether frames are presented that were not inferred."""
        return self.join is not JoinKind.EXACT

    def __str__(self) -> str:
        source = self.source
        parts = [
            f"{source.source_id}, {source.width}x{source.height}",
            "live" if self.live else "recorded",
            f"{self.join.value} presentation",
            "tracked" if self.tracking is not None else "not tracked",
        ]
        if self.batching.size > 1:
            parts.append(f"batches of {self.batching.size}")
        if self.audio_withheld:
            parts.append("no sound (privacy)")
        return ", ".join(parts)


def plan_run(settings: Settings, machine: Machine | None = None) -> RunPlan:
    """What the settings decide on a machine; None: this one.

    Raises:
        InputError: they contradict one another.
    """
    motion, tracking, privacy = settings.motion, settings.tracking, settings.privacy
    if settings.presentation is PresentationMode.EXACT and not motion.infers_all:
        key = "motion.infer_every" if motion.infer_every > 1 else "motion.infer_fps"
        raise InputError(
            f"{key} carries masks onto frames that are not inferred, but presentation: exact shows only frames "
            "that are; leave out one of them"
        )
    if settings.presentation is PresentationMode.EXACT and settings.source.detect_uri is not None:
        raise InputError(
            "presentation: exact shows only frames that the network has seen, and with source.detect_uri it sees those "
            "of the sub-stream; leave out one of them"
        )
    if not tracking.enabled and (settings.lines or settings.zones):
        raise InputError("lines and zones need tracked objects: set tracking.enabled to true, or leave them out")
    batch_size, cores = settings.model.batch_size, (machine or Machine()).cores()
    file_workers = settings.model.workers or (default_workers(batch_size, cores) if motion.infers_all else 1)
    return RunPlan(settings, privacy.min_score if privacy.on else None, file_workers)
