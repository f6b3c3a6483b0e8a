"""An open run: everything that exists between the opening of a source and the end of its last sink."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.controls import Controls
from pipeline.errors import RunError
from pipeline.ledger import DropStage, RunLedger
from pipeline.records import Clock, SegmentedFrame, SourceInfo, UnredactedFrame
from pipeline.runtime.capture import CaptureStage
from pipeline.runtime.inference import InferenceStage
from pipeline.runtime.opening import Opening
from pipeline.runtime.plan import RunPlan, SourcePlan
from pipeline.runtime.presenter import Presenter
from pipeline.runtime.sink_worker import SinkWorker
from pipeline.runtime.summary import EndReason, RunSummary
from pipeline.runtime.wiring import wire
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import read_model
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SupervisedSegmenter
from pipeline.sinks.base import RunContext, Sink
from pipeline.sinks.factory import make_sinks
from pipeline.sources.base import Source
from pipeline.threads.slot import SlotClosed
from pipeline.threads.stage import FirstError, Stage
from pipeline.tracking.tracker import Tracker
from pipeline.web.view import RunView

logger = logging.getLogger(__name__)

POLL_S = 1 / 30
"""How often to poll the sinks while no frame comes."""
JOIN_DEADLINE_S = 15.0
"""How long a stage may take to end: the slowest is an inference that has just begun."""


def segmenter_for(run: RunPlan, source: SourcePlan) -> tuple[MaskRCNNSegmenter, DetectionFilter]:
    """The segmenter that the plans call for, and the thresholds that go with it.

    Raises:
        InputError: weights or labels are missing or do not fit, or the engine, backend or device is not there.
    """
    model = read_model(run.settings.model)
    low_score = source.tracking.low_score if source.tracking is not None else None
    detections = model.detection_filter(low_score, run.redaction_score)
    return MaskRCNNSegmenter(model, detections, source.workers), detections


class Run:
    """Opens a source and sinks, connects the stages as the plan says, and presents the frames.

    Lifecycle: `open`, `frames`, `close`; `stop` at any time.

    Args:
        plan: what the settings decide.
        source: closed; the run opens and closes it.
        segmenter: in place of the one that the settings describe; None for that.
        sinks: the caller's own, besides those that the settings describe.
        controls: what viewers can change while the run lasts.
        ledger: counts every frame.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        plan: RunPlan,
        source: Source,
        segmenter: Segmenter | None,
        sinks: Sequence[Sink],
        controls: Controls,
        ledger: RunLedger,
        clock: Clock,
    ) -> None:
        self._run_plan = plan
        self._settings = plan.settings
        self._source = source
        self._own_segmenter = segmenter
        self._own_sinks = sinks
        self._controls = controls
        self._ledger = ledger
        self._clock = clock
        self._opened_at_s = clock()
        self._wall_s: float | None = None
        self._end = EndReason.FINISHED
        self._ending = False  # no Event: its lock would block a signal handler that interrupts a thread inside it
        self.errors = FirstError(on_first=self._begin_end)
        self._workers: list[SinkWorker] = []
        self.opened = False
        """Whether `open` has succeeded; stays True after `close`."""

    # -- opening ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open everything and start the threads.

        Raises:
            InputError: the source, the model or a sink cannot be opened; nothing is left behind.
            RunError: `stop` was called before the source was open.
        """
        with contextlib.ExitStack() as undo:
            opening = Opening(self._source, self.errors, self._was_stopped)
            undo.callback(opening.close)
            with self.errors.guard("start"):
                self.plan = self._run_plan.for_source(opening.info())
                records = self._settings.output.path is not None or self._settings.serve.address is not None
                if records and self.plan.audio_withheld:
                    logger.warning("privacy is on: the sound is left out; --set output.audio=copy keeps it")
                segmenter, detections = self._own_segmenter, DetectionFilter()
                if segmenter is None:
                    segmenter, detections = segmenter_for(self._run_plan, self.plan)
                self._supervised = self._supervise(segmenter)
                self.segmenter = self._supervised or segmenter
                labels = self.segmenter.labels
                self._presenter = Presenter(
                    self._settings, self.plan, labels, self._controls, self._ledger, self._clock
                )
                undo.callback(self._close_workers)
                self._open_sinks()
                self._wiring = wire(self.plan, self._settings.motion, self._ledger)
                self._stages = self._make_stages(detections)
            self.errors.raise_if_any()
            undo.pop_all()
        self._ledger.record(self.plan)
        for stage in self._stages:
            stage.start()
        self.opened = True

    def _supervise(self, segmenter: Segmenter) -> SupervisedSegmenter | None:
        """Live runs restart a network that fails or hangs, if the settings say so."""
        supervision = self._settings.supervision
        if not (supervision.restart and self.plan.live):
            return None
        return SupervisedSegmenter(segmenter, supervision, lambda: self._ending, self._clock)

    def _open_sinks(self) -> None:
        planned = make_sinks(self._settings, self.plan.source, controls=self._controls)
        if self._settings.serve.address is not None:
            from pipeline.web.sink import WebSink

            planned.append(WebSink(self._settings.serve, self._view()))
        context = RunContext(self.plan.source, self.segmenter.labels)
        for sink in [*planned, *self._own_sinks]:
            worker = SinkWorker(sink, self.plan, self._ledger, self.errors, self._was_stopped)
            self._workers.append(worker)
            worker.open(context)

    def _view(self) -> RunView:
        return RunView(
            self._ledger,
            self._controls,
            self._clock,
            source=lambda: self.plan.source,
            live=self.plan.live,
            model=lambda: self.segmenter.description,
            waiting_for=self._waiting_for,
            reconnects=lambda: self._source.reconnects,
        )

    def _make_stages(self, detections: DetectionFilter) -> list[Stage]:
        plan, wiring, ledger = self.plan, self._wiring, self._ledger
        fresh_from_s = self._clock() if plan.live else None
        capture = CaptureStage(self._source, wiring.outlets, ledger, wiring.on_capture_loss, self._replan, fresh_from_s)
        tracker = Tracker(plan.tracking, detections.high_score) if plan.tracking is not None else None
        inference = InferenceStage(self.segmenter, detections, tracker, wiring, plan.batching, ledger, self._clock)
        return [
            Stage("capture", capture.run, self.errors, outlets=wiring.frame_slots),
            Stage("inference", inference.run, self.errors, inlets=(wiring.to_inference,), outlets=(wiring.results,)),
        ]

    def _replan(self, source: SourceInfo) -> None:
        """The source was reopened as something else: replace its plan, between two frames."""
        self.plan = self._run_plan.for_source(source)
        self._ledger.record(self.plan)

    # -- presenting ---------------------------------------------------------------------------------------------------

    def frames(self) -> Iterator[SegmentedFrame]:
        """Present every frame to the sinks, then yield it; raises the run's first error at the end."""
        while not self._ending:
            if not self.plan.live and any(worker.sink.paused for worker in self._workers):
                self._idle()
                time.sleep(POLL_S)
                continue
            try:
                captured = self._wiring.join.next(POLL_S)
            except TimeoutError:
                self._idle()
                continue
            except SlotClosed:
                break
            yield self._present(captured)
        self._halt()
        self.errors.raise_if_any()

    def draw(self, segmented: SegmentedFrame) -> NDArray[np.uint8]:
        """The frame with its overlay, a new uint8 (H, W, 3) BGR image."""
        return self._presenter.draw(segmented)

    def _present(self, captured: UnredactedFrame) -> SegmentedFrame:
        wanted = any(worker.sink.wants_overlay for worker in self._workers)
        presentation = self._presenter.present(self._redacted(captured), wanted)
        for worker in self._workers:
            with self.errors.guard(worker.sink.name):
                worker.write(presentation)
        self._stop_if_a_sink_requests_it()
        return presentation.segmented

    def _redacted(self, captured: UnredactedFrame) -> SegmentedFrame:
        """The frame as it may be seen; where that fails the run ends, and nobody sees it."""
        with self.errors.guard("privacy"):
            return self._presenter.redact(captured)
        self._ledger.dropped(DropStage.DISPLAY)
        self.errors.raise_if_any()
        raise RunError("redaction ended before the run")

    def _idle(self) -> None:
        message = self._waiting_for()
        for worker in self._workers:
            with self.errors.guard(worker.sink.name):
                worker.idle(message)
        self._stop_if_a_sink_requests_it()

    def _waiting_for(self) -> str:
        """What keeps frames from coming, in words for the user; "" if nothing is known to."""
        slate, gone = self._settings.slate, self._source.state_text
        if gone:
            return slate.source or gone
        if self._supervised is not None and self._supervised.restarting:
            return slate.restarting
        return slate.loading if self._ledger.loading else ""

    def _stop_if_a_sink_requests_it(self) -> None:
        if any(worker.sink.stop_requested for worker in self._workers):
            self.stop()

    # -- ending -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Request the end; from any thread or signal handler, more than once."""
        self._end = EndReason.STOPPED
        self._begin_end()

    def close(self) -> None:
        """End all threads and finish all outputs. Raises the run's first error, if there was one."""
        self._halt()
        try:
            self._close_workers()
        finally:
            for stage in self._stages:
                with self.errors.guard(stage.name):
                    stage.join(JOIN_DEADLINE_S)
            self._wall_s = self._clock() - self._opened_at_s
        self.errors.raise_if_any()

    def summary(self) -> RunSummary:
        """What the run did so far; final after `close`."""
        failed = self.errors.error is not None
        return RunSummary(
            source=self.plan.source,
            live=self.plan.live,
            model=self.segmenter.description,
            stats=self._ledger.overall(),
            reconnects=self._source.reconnects,
            restarts=self._supervised.restarts if self._supervised is not None else 0,
            outputs=[path for worker in self._workers for path in worker.sink.outputs],
            end=EndReason.FAILED if failed else self._end,
            wall_s=self._wall_s if self._wall_s is not None else self._clock() - self._opened_at_s,
            scene=self._presenter.scene,
            source_warnings=self._source.warnings.texts(),
            decisions=self._ledger.entries,
        )

    @property
    def sinks(self) -> Sequence[Sink]:
        """What takes the frames, besides the caller."""
        return [worker.sink for worker in self._workers]

    def _was_stopped(self) -> bool:
        """Whether the run ends because of `stop()` or an error, and not with its source."""
        return self._end is EndReason.STOPPED or self.errors.error is not None

    def _begin_end(self) -> None:
        self._ledger.stopped()
        self._ending = True

    def _halt(self) -> None:
        """Wake every stage; what is between the stages is lost and counted."""
        self._begin_end()
        self._source.interrupt()
        self._wiring.close()

    def _close_workers(self) -> None:
        for worker in self._workers:
            worker.finish()  # all at the same time: what one takes longer delays no other
        for worker in self._workers:
            with self.errors.guard(worker.sink.name):  # every other sink must still be finished
                worker.close()
