"""A run: builds the stages for the settings, presents the frames in the caller's thread, ends everything cleanly.

with Stream(settings) as stream:
    for segmented in stream:
        print(segmented.frame.pts_s, len(segmented.instances))
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.controls import Controls
from pipeline.errors import RunError, StreamSegmentError
from pipeline.records import Frame, SegmentedFrame, SourceInfo, SourceKind
from pipeline.runtime.capture import capture
from pipeline.runtime.inference import infer
from pipeline.runtime.join import Join
from pipeline.runtime.presenter import Presenter
from pipeline.runtime.route import Losses, check_presentation, make_route
from pipeline.runtime.sink_worker import SinkWorker
from pipeline.runtime.summary import EndReason, RunSummary
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SupervisedSegmenter
from pipeline.settings.presentation_settings import PresentationMode, TrackingSettings
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import Policy
from pipeline.sinks.base import RunContext, Sink
from pipeline.sinks.factory import make_sinks
from pipeline.sources.base import Clock, Source
from pipeline.sources.factory import make_source
from pipeline.stats import DropCause, DropStage, RunStats
from pipeline.threads.slot import Slot, SlotClosed
from pipeline.threads.stage import THREAD_PREFIX, FirstError, Stage
from pipeline.tracking.tracker import make_tracker
from pipeline.web.view import RunView

logger = logging.getLogger(__name__)

POLL_S = 1 / 30
"""How often sinks are polled while no frame comes."""
JOIN_DEADLINE_S = 15.0
"""How long a stage may take to end: the slowest is an inference that has just begun."""
SINK_DEADLINE_S = 60.0
"""How long a sink may take to write what is in its buffer and to finish its file."""
AS_FOUND = {"hold_s": 0.0, "smoothing": 0.0, "low_score": None}
"""Settings of tracking that leave instances as the network found them."""


class Stream:
    """Segmented frames of one source, with the threads and policies of the command line.

    Iterate over it inside a `with` block: each frame has then been drawn, and handed to every sink. The iteration ends
    with the source, after `stop()`, or with the first error of any stage, which it raises.

    Args:
        settings: everything about the run; sinks are made as `output`, `detections` and `window` say.
        source, segmenter: used in place of those that the settings describe.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        source: Source | None = None,
        segmenter: Segmenter | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.settings = settings
        self.stats = RunStats()
        self.controls = Controls(settings.overlay, recording=settings.output.path is not None)
        self._clock = clock
        self._source = source if source is not None else make_source(settings.source, clock)
        self._segmenter = segmenter
        self._extra_sinks: list[Sink] = []
        self._workers: list[SinkWorker] = []
        self._stages: list[Stage] = []
        self._slots: Sequence[Slot[Frame] | Slot[SegmentedFrame]] = ()
        self._stop_asked = threading.Event()
        self._segmenter_ready = threading.Event()
        self._inference_failed = threading.Event()
        self._errors = FirstError(on_first=self._stop_asked.set)
        self._info: SourceInfo | None = None
        self._join: Join | None = None
        self._presenter: Presenter | None = None
        self._engine: SupervisedSegmenter | None = None
        self._end = EndReason.FINISHED
        self._opened = False
        self._closed = False
        self._opened_at_s = 0.0
        self._wall_s: float | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    def add_sink(self, sink: Sink) -> None:
        """Add a sink of your own; before the stream is opened."""
        if self._info is not None:
            raise RuntimeError("add_sink must be called before the stream is opened")
        self._extra_sinks.append(sink)

    def open(self) -> None:
        """Open source and sinks, check the model, start the threads. Raises InputError, leaving nothing behind."""
        self._opened_at_s = self._clock()
        try:
            with self._errors.guard("start"):
                self._acquire()
                self._build_stages()
            self._errors.raise_if_any()
        except BaseException:
            self._source.close()
            self._close_workers()
            raise
        self._opened = True
        logger.info("source: %s", self.info.description or self.info.source_id)
        for stage in self._stages:
            stage.start()

    def _acquire(self) -> None:
        self._info = self._source.open()
        check_presentation(self.settings)
        if self._segmenter is None:
            from pipeline.segmentation.mask_rcnn import segmenter_for

            self._segmenter = segmenter_for(self.settings, self._tracking, self._info, self.live)
        if self.settings.supervision.restart and self.live:
            engine = SupervisedSegmenter(self._segmenter, self.settings.supervision, self._stop_asked, self._clock)
            self._segmenter = self._engine = engine
        labels = self._segmenter.labels
        self._presenter = Presenter(self.settings, self._info, labels, self.controls, self.stats, self._clock)
        context = RunContext(self._info, labels)
        sinks = make_sinks(self.settings, self._info, controls=self.controls)
        if self.settings.serve.address is not None:
            from pipeline.web.sink import WebSink

            sinks.append(WebSink(self.settings.serve, self._view()))
        for sink in [*sinks, *self._extra_sinks]:
            worker = SinkWorker(sink, self._info, self.live, self.stats, self._errors)
            self._workers.append(worker)
            worker.open(context)

    def _view(self) -> RunView:
        return RunView(
            self.stats,
            self.controls,
            self._clock,
            live=self.live,
            model=self._model_text,
            waiting_for=self._waiting_for,
            reconnects=lambda: self._source.reconnects,
        )

    def _model_text(self) -> str:
        return self._segmenter.description if self._segmenter else ""

    def stop(self) -> None:
        """Ask the run to end soon; from any thread or signal handler, more than once."""
        self._end = EndReason.STOPPED
        self._stop_asked.set()

    def close(self) -> None:
        """End all threads, finish all outputs. Raises the run's first error, if there was one. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if not self._opened:
            return
        self._halt()
        try:
            self._close_workers()
        finally:
            self._join_stages()
            self._wall_s = self._clock() - self._opened_at_s
        self._errors.raise_if_any()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except StreamSegmentError:
            if error is None:
                raise
            logger.debug("while closing after %r", error, exc_info=True)

    # -- what callers look at -----------------------------------------------------------------------------------------

    @property
    def info(self) -> SourceInfo:
        """The open source."""
        if self._info is None:
            raise RuntimeError("the stream is not open: use it in a `with` block")
        return self._info

    @property
    def opened(self) -> bool:
        """Whether `open` has succeeded (and stays True after `close`)."""
        return self._opened

    @property
    def has_sinks(self) -> bool:
        """Whether anything takes the frames, besides the caller."""
        return bool(self._workers)

    @property
    def clock(self) -> Clock:
        """Seconds, monotonic: the clock of all times in this run."""
        return self._clock

    @classmethod
    def any_stuck(cls) -> bool:
        """Whether a thread of any stream in this process did not end within its deadline."""
        return any(thread.name.startswith(THREAD_PREFIX) for thread in threading.enumerate())

    @property
    def labels(self) -> Sequence[str]:
        """Class names by class id; labels[0] is "BG"."""
        if self._segmenter is None:
            raise RuntimeError("the stream is not open: use it in a `with` block")
        return self._segmenter.labels

    @property
    def live(self) -> bool:
        """Whether the newest frame wins (live) or every frame is processed (recorded)."""
        policy = self.settings.source.policy
        return self.info.kind is SourceKind.LIVE if policy is Policy.AUTO else policy is Policy.LIVE

    @property
    def smooth(self) -> bool:
        """Whether frames are shown that were not inferred, with masks carried onto them; never for single images."""
        if self.settings.presentation is PresentationMode.EXACT:
            return False
        return self.live or not (self.settings.motion.infers_all or self.info.kind is SourceKind.STILLS)

    @property
    def _tracking(self) -> TrackingSettings:
        """Exact presentation shows what was found on each frame: ids are given, nothing is steadied or held over."""
        tracking = self.settings.tracking
        return tracking if self.smooth else tracking.model_copy(update=AS_FOUND)

    def draw(self, segmented: SegmentedFrame) -> NDArray[np.uint8]:
        """The frame with its overlay, a new uint8 (H, W, 3) BGR image."""
        if self._presenter is None:
            raise RuntimeError("the stream is not open: use it in a `with` block")
        return self._presenter.draw(segmented)

    def summary(self) -> RunSummary:
        """What the run did so far; final after `close`."""
        failed = self._errors.error is not None
        return RunSummary(
            source=self.info,
            live=self.live,
            model=self._model_text(),
            stats=self.stats.overall(),
            reconnects=self._source.reconnects,
            engine_restarts=self._engine.restarts if self._engine is not None else 0,
            outputs=[path for worker in self._workers for path in worker.sink.outputs],
            end=EndReason.FAILED if failed else self._end,
            wall_s=self._wall_s if self._wall_s is not None else self._clock() - self._opened_at_s,
            scene=self._presenter.scene if self._presenter is not None else None,
            source_warnings=self._source.warnings.texts(),
        )

    # -- presenting ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[SegmentedFrame]:
        if self._join is None:
            raise RuntimeError("the stream is not open: use it in a `with` block")
        while not self._stop_asked.is_set():
            if not self.live and any(worker.sink.paused for worker in self._workers):
                self._idle()
                self._stop_asked.wait(POLL_S)
                continue
            try:
                segmented = self._join.next(POLL_S)
            except TimeoutError:
                self._idle()
                continue
            except SlotClosed:
                break
            yield self._present(segmented)
        self._halt()
        self._errors.raise_if_any()

    def _present(self, segmented: SegmentedFrame) -> SegmentedFrame:
        assert self._presenter is not None
        veiled = self._veiled(segmented)
        wanted = any(worker.sink.wants_overlay for worker in self._workers)
        presentation = self._presenter.present(veiled, wanted)
        for worker in self._workers:
            with self._errors.guard(worker.sink.name):
                worker.write(presentation)
        self._stop_if_a_sink_asks()
        return presentation.segmented

    def _veiled(self, segmented: SegmentedFrame) -> SegmentedFrame:
        """The frame as it may be seen; where that fails the run ends, and nobody sees it."""
        assert self._presenter is not None
        with self._errors.guard("privacy"):
            return self._presenter.veiled(segmented)
        self._lost_before(DropStage.DISPLAY)
        self._errors.raise_if_any()
        raise RunError("the privacy cover ended before the run")

    def _idle(self) -> None:
        message = self._waiting_for()
        for worker in self._workers:
            with self._errors.guard(worker.sink.name):
                worker.idle(message)
        self._stop_if_a_sink_asks()

    def _waiting_for(self) -> str:
        """What keeps frames from coming, in words for the user; "" if nothing is known to."""
        slate, gone = self.settings.slate, self._source.state_text
        if gone:
            return slate.source or gone
        if self._engine is not None and self._engine.restarting:
            return slate.restarting
        return "" if self._segmenter_ready.is_set() else slate.loading

    def _stop_if_a_sink_asks(self) -> None:
        if any(worker.sink.stop_requested for worker in self._workers):
            self.stop()

    # -- building and ending ------------------------------------------------------------------------------------------

    def _build_stages(self) -> None:
        assert self._segmenter is not None
        losses = Losses(self._lost_before)
        route = make_route(self.settings, self.info, self.live, self.smooth, losses, self.settings.model.batch_size)
        self._slots, self._join = route.slots, route.join
        segmenter = self._segmenter
        tracker = make_tracker(self._tracking, self.info, segmenter.sure_score)
        fresh_from_s = self._clock() if self.live else None
        self._stages = [
            Stage(
                "capture",
                lambda: capture(self._source, route.outlets, self.stats, route.lost_in_capture, fresh_from_s),
                self._errors,
                outlets=route.frame_slots,
            ),
            Stage(
                "inference",
                lambda: infer(
                    segmenter,
                    route.to_inference,
                    route.results,
                    self.stats,
                    self._clock,
                    self._segmenter_ready,
                    route.lost_after_inference,
                    tracker,
                    route.batching,
                    self._inference_failed,
                ),
                self._errors,
                inlets=(route.to_inference,),
                outlets=(route.results,),
            ),
        ]

    def _lost_before(self, stage: DropStage) -> None:
        self.stats.dropped(stage, self._cause())

    def _cause(self) -> DropCause:
        if self._inference_failed.is_set():
            return DropCause.FAILED
        if self._stop_asked.is_set() or self._closed:
            return DropCause.STOPPED
        return DropCause.BUSY if self._segmenter_ready.is_set() else DropCause.LOADING

    def _halt(self) -> None:
        """Wake everybody; what is between the stages is lost and counted."""
        self._stop_asked.set()
        self._source.interrupt()
        for slot in self._slots:
            slot.close(discard=True)
        if self._join is not None:
            self._join.close()

    def _close_workers(self) -> None:
        for worker in self._workers:
            with self._errors.guard(worker.sink.name):  # every other sink must still be finished
                worker.close(SINK_DEADLINE_S)

    def _join_stages(self) -> None:
        for stage in self._stages:
            with self._errors.guard(stage.name):
                stage.join(JOIN_DEADLINE_S)
