"""A run for scripts and for the command line: open it, iterate over its frames, close it.

with Stream(settings) as stream:
    for segmented in stream:
        print(segmented.frame.pts_s, len(segmented.instances))
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.controls import Controls
from pipeline.errors import InputError, RunError
from pipeline.ledger import DropCause, DropStage, EndReason, RunLedger, RunSummary
from pipeline.records import Clock, Frame, Image, SegmentedFrame, SourceInfo, UnredactedFrame
from pipeline.runtime.capture import Opening, capture
from pipeline.runtime.closing_run import ClosingRun
from pipeline.runtime.image_instances import ImageInstances
from pipeline.runtime.inference import InferenceStage, SegmenterFor, segmenter_for
from pipeline.runtime.network_share import NetworkShare, ScheduledInference
from pipeline.runtime.plan import SourcePlan, plan_run
from pipeline.runtime.playback import Playback
from pipeline.runtime.presenter import Presenter
from pipeline.runtime.sink_worker import SinkWorker
from pipeline.runtime.substream import make_substream
from pipeline.runtime.wiring import wire
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SupervisedSegmenter
from pipeline.settings.schema import Settings
from pipeline.sinks.base import RunContext, Sink
from pipeline.sinks.factory import make_sinks, make_window
from pipeline.sinks.switched_recorder import Recording, SwitchedRecorder
from pipeline.sinks.window import Window
from pipeline.sources.base import Source
from pipeline.sources.factory import make_source
from pipeline.threads.stage import FirstError, SlotClosed, Stage
from pipeline.tracking.tracker import Tracker
from pipeline.web.view import RunView

logger = logging.getLogger(__name__)

POLL_S = 1 / 30
"""How often to poll the sinks while no frame comes."""
WAITING_AFTER_S = 0.5
"""Sinks hear what keeps frames from coming after so long without one: the network may load while they come."""
JOIN_DEADLINE_S = 15.0
"""How long a stage may take to end: the slowest is an inference that has just begun."""


class Stream(ClosingRun):
    """Segmented frames of one source, with the threads and policies of the command line.

    Iterate over it inside a `with` block: each frame has then been drawn, and handed to every sink. The iteration ends
    with the source, after `stop()`, or with the first error of any stage, which it raises.

    Args:
        settings: everything about the run, or the same as a dictionary; sinks are made as `output`, `detections` and
            `window` say. Or the source alone, a path, the number of a camera or another `source.uri`: nothing is shown
            or written then.
        source: used in place of the one that the settings describe.
        segmenter: used in place of the one that the settings describe; or what makes it once the source is open.
        clock: seconds, monotonic.
        camera: the name of this camera in a run with several (see `Cameras`): its frames and results carry it, and the
            page and the service manager are the run's.

    Attributes:
        opened: whether `open` has succeeded (and stays True after `close`).
        view: what viewers may read of the run, also before it is open.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any] | str | Path | int,
        *,
        source: Source | None = None,
        segmenter: Segmenter | SegmenterFor | None = None,
        clock: Clock = time.monotonic,
        camera: str | None = None,
    ) -> None:
        if isinstance(settings, str | Path | int):
            settings = {"source": {"uri": settings}, "window": {"mode": "off"}}
        settings = settings if isinstance(settings, Settings) else Settings.model_validate(settings)
        if settings.cameras:
            raise InputError("a Stream has one source, and these settings have cameras: use Cameras")
        self.settings = settings
        self.ledger = RunLedger()
        self.controls = Controls(settings.overlay, recording=settings.output.path is not None)
        self.clock = clock
        self.opened = False
        self._source = source if source is not None else make_source(settings.source, clock)
        self._segmenter_for = (lambda *_: segmenter) if isinstance(segmenter, Segmenter) else segmenter or segmenter_for
        self._camera = camera
        self._own_sinks: list[Sink] = []
        self._window: Window | None = None
        self._workers: list[SinkWorker] = []
        self._opening_began = False
        self._end = EndReason.FINISHED
        self._stopping = False  # no Event: its lock would block a signal handler that interrupts a thread inside it
        self._errors = FirstError(on_first=self._begin_end)
        self._substream = make_substream(settings.source, self._errors, clock)
        self.view = RunView(
            self.ledger,
            self.controls,
            clock,
            source=lambda: self._plan.source if self.opened else None,
            live=lambda: not self.opened or self._plan.live,
            model=lambda: self._segmenter.description if self.opened else "",
            least_score=lambda: self._segmenter.detections.high_score if self.opened else 0.0,
            waiting_for=lambda: self._waiting_for() if self.opened else "",
            reconnects=lambda: self._source.state.reconnects,
            recordings=self._recordings,
        )

    def add_sink(self, sink: Sink) -> None:
        """Add a sink of your own; before the stream is opened."""
        if self._opening_began:
            raise RuntimeError("add_sink must be called before the stream is opened")
        self._own_sinks.append(sink)

    # -- opening ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open source and sinks, check the model, start the threads; once. If that fails, nothing is left behind.

        Raises:
            InputError: the source, the model or a sink cannot be opened.
            RunError: `stop` was called before the source was open.
        """
        if self._opening_began:
            raise RuntimeError("a stream runs once: make a new one with the same settings")
        self._run_plan = plan_run(self.settings)
        self._opening_began = True
        self._opened_at_s = self.clock()
        with contextlib.ExitStack() as undo:
            if self.settings.window.fullscreen or self.settings.attract.after_s is not None:
                # Before everything that takes its time. Another window appears when nothing can be wrong any more.
                self._window = make_window(self.settings, self.controls)
            if self._window is not None:
                undo.callback(self._window.close)
                self._window.appear(self.settings.slate.loading)
            opening = Opening(self._source, self._errors, self._was_stopped_while_opening)
            undo.callback(opening.close)
            if self._substream is not None:
                undo.callback(self._substream.close)
                self._substream.start()
            with self._errors.guard("start"):
                self._plan = self._run_plan.for_source(opening.info())
                undo.callback(self._close_workers)
                self._set_up()
            self._errors.raise_if_any()
            undo.pop_all()
        self.ledger.record(self._plan)
        for stage in self._stages:
            stage.start()
        self.opened = True
        self.closes_at_exit()
        logger.info("source: %s", self.info.description or self.info.source_id)

    def _set_up(self) -> None:
        """Make everything between the open source and the sinks, and open these."""
        settings, plan, ledger = self.settings, self._plan, self.ledger
        segmenter = self._segmenter_for(self._run_plan, plan)
        # Live runs restart a network that fails or hangs, if the settings say so.
        if settings.supervision.restart and plan.live:
            segmenter = SupervisedSegmenter(segmenter, settings.supervision, lambda: self._stopping, self.clock)
        self._segmenter, high_score = segmenter, segmenter.detections.high_score
        self._presenter = Presenter(settings, plan, segmenter.labels, self.controls, ledger, self.clock, high_score)
        self._open_sinks()
        may_record = any(isinstance(worker.sink, SwitchedRecorder) for worker in self._workers)
        if plan.audio_withheld and (may_record or settings.output.path is not None):
            logger.warning("privacy is on: the sound is left out; --set output.audio=copy keeps it")
        self._wiring = wiring = wire(plan, settings.motion, ledger, self.clock, self._substream)
        fresh_from_s = self.clock() if plan.live else None
        lost = wiring.on_capture_loss
        read = partial(capture, self._source, wiring.outlets, ledger, lost, self._replan, fresh_from_s, self._marked)
        tracker = Tracker(plan.tracking, high_score) if plan.tracking is not None else None
        stage = ScheduledInference if isinstance(segmenter, NetworkShare) else InferenceStage
        inference = stage(segmenter, tracker, wiring, plan.batching, ledger, self.clock, self._presenter.see)
        self._stages = [
            Stage("capture", read, self._errors, outlets=wiring.frame_slots),
            Stage("inference", inference.run, self._errors, (wiring.to_inference,), (wiring.results,)),
        ]

    def _open_sinks(self) -> None:
        source = self._plan.source
        window = self._window or make_window(self.settings, self.controls)
        planned = make_sinks(self.settings, source, self.controls, window, self._camera)
        if self.settings.serve.address is not None and self._camera is None:
            from pipeline.web.sink import WebSink

            planned.append(WebSink(self.settings.serve, self.view))
        settings, labels, draw = self.settings, self._segmenter.labels, self._presenter.draw
        context = RunContext(source, labels, settings.privacy.mode, settings.lines, settings.zones, draw)
        for sink in [*planned, *self._own_sinks]:
            worker = SinkWorker(sink, self._plan, self.ledger, self._errors, self._was_stopped)
            self._workers.append(worker)
            worker.open(context)

    def _recordings(self) -> Sequence[Recording]:
        recorders = [worker.sink for worker in tuple(self._workers) if isinstance(worker.sink, SwitchedRecorder)]
        return [recording for recorder in recorders for recording in recorder.recordings()]

    def _replan(self, source: SourceInfo) -> None:
        """The source was reopened as something else: replace its plan, between two frames."""
        self._plan = self._run_plan.for_source(source)
        self.ledger.record(self._plan)

    def _marked(self, frame: Frame) -> Frame:
        """The frame with the camera's name and the pixel aspect of the source as it is open now."""
        return replace(frame, camera=self._camera, sample_aspect_ratio=self._plan.source.sample_aspect_ratio)

    # -- presenting ---------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[SegmentedFrame]:
        """Present every frame to the sinks, then yield it; raises the run's first error at the end.

        The `instances` of each are `ImageInstances`.
        """
        self._check_opened()
        discard, ended = self._discard_waiting, lambda: self._wiring.to_inference.closed
        playback = Playback(self._source, self._plan, self.sinks, self.controls, discard, ended, self.clock)
        held: UnredactedFrame | None = None
        while not self._stopping:
            playback.seek_if_requested()
            if held is None:
                try:
                    held = self._wiring.join.next(POLL_S)
                except TimeoutError:
                    self._idle()
                    continue
                except SlotClosed:
                    break
            if playback.is_stale(held.frame):
                self.ledger.dropped(DropStage.DISPLAY, DropCause.SEEK)
                held = None
            elif playback.wait_s(held.frame) > 0:
                self._idle()
                time.sleep(min(POLL_S, playback.wait_s(held.frame)))
            else:
                captured, held = held, None
                yield self._present(captured)
        if held is not None:
            self.ledger.dropped(DropStage.DISPLAY)
        if not self._stopping:
            self._for_each_worker(lambda worker: worker.sink.source_ended())
        while not self._stopping and playback.paused:
            playback.seek_if_requested()
            self._idle()
            time.sleep(POLL_S)
        self._halt()
        self._errors.raise_if_any()

    def _discard_waiting(self) -> None:
        """Drop what was read before a seek and is not inferred yet."""
        for _ in range(self._wiring.discard_waiting()):
            self.ledger.dropped(DropStage.INFERENCE, DropCause.SEEK)

    def draw(self, segmented: SegmentedFrame) -> Image:
        """The frame with its overlay, a new uint8 (H, W, 3) BGR image."""
        self._check_opened()
        return self._presenter.draw(segmented)

    def _present(self, captured: UnredactedFrame) -> SegmentedFrame:
        wanted = any(worker.sink.wants_overlay for worker in self._workers)
        presentation = self._presenter.present(self._redacted(captured), wanted)
        self._for_each_worker(lambda worker: worker.write(presentation))
        self._stop_if_a_sink_requests_it()
        segmented, overlay, segmenter = presentation.segmented, self.settings.overlay, self._segmenter
        image_bgr, min_score = segmented.frame.image_bgr, segmenter.detections.high_score
        found = ImageInstances.of(segmented.instances, image_bgr, segmenter.labels, overlay, min_score)
        return replace(segmented, instances=found)

    def _redacted(self, captured: UnredactedFrame) -> SegmentedFrame:
        """The frame as it may be seen; where that fails the run ends, and nobody sees it."""
        with self._errors.guard("privacy"):
            return self._presenter.redact(captured)
        self.ledger.dropped(DropStage.DISPLAY)
        self._errors.raise_if_any()
        raise RunError("redaction ended before the run")

    def _idle(self) -> None:
        last_s = self.ledger.last_presented_s
        message = self._waiting_for() if last_s is None or self.clock() - last_s >= WAITING_AFTER_S else ""
        self._for_each_worker(lambda worker: worker.idle(message))
        self._stop_if_a_sink_requests_it()

    def _waiting_for(self) -> str:
        """What keeps frames from coming, in words for the user; "" if nothing is known to."""
        slate, gone = self.settings.slate, self._source.state.text
        if gone:
            return slate.source or gone
        if self._segmenter.restarting:
            return slate.restarting
        return slate.loading if self.ledger.loading else ""

    def _stop_if_a_sink_requests_it(self) -> None:
        if any(worker.sink.stop_requested for worker in self._workers):
            if self._wiring.join.ended:
                self._begin_end()  # nothing is left: this interrupts nothing
            else:
                self.stop()

    # -- ending -------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Request the end; from any thread or signal handler, more than once, also before and during `open`."""
        self._end = EndReason.STOPPED
        self._begin_end()

    def close(self) -> None:
        """End all threads, finish all outputs. Raises the run's first error, if there was one. May be called twice."""
        if not self.opened or self._wall_s is not None:
            return
        if not self._stopping and not self._wiring.join.ended:
            self._end = EndReason.STOPPED  # the caller left the loop
        self._halt()
        try:
            self._close_workers()
        finally:
            for stage in self._stages:
                with self._errors.guard(stage.name):
                    stage.join(JOIN_DEADLINE_S)
            if self._substream is not None:
                self._substream.close()
            self._wall_s = self.clock() - self._opened_at_s
        self._errors.raise_if_any()

    def _was_stopped(self) -> bool:
        """Whether the run ends because of `stop()` or an error, and not with its source."""
        return self._end is EndReason.STOPPED or self._errors.error is not None

    def _was_stopped_while_opening(self) -> bool:
        """The same, while the window already shows a message and takes keys."""
        if self._window is not None:
            self._window.idle(self.settings.slate.loading)
            if self._window.stop_requested:
                self.stop()
        return self._was_stopped()

    def _begin_end(self) -> None:
        self.ledger.stopped()
        self._stopping = True

    def _halt(self) -> None:
        """Wake every stage; what is between the stages is lost and counted."""
        self._begin_end()
        self._source.interrupt()
        if self._substream is not None:
            self._substream.interrupt()
        self._segmenter.interrupt()
        self._wiring.close()

    def _close_workers(self) -> None:
        for worker in self._workers:
            worker.finish()  # all at the same time: what one takes longer delays no other
        self._for_each_worker(SinkWorker.close)

    def _for_each_worker(self, action: Callable[[SinkWorker], None]) -> None:
        """Do the same with every sink, also after one has failed."""
        for worker in self._workers:
            with self._errors.guard(worker.sink.name):
                action(worker)

    # -- looking ------------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> SourcePlan:
        """What was decided for the source as it is open now."""
        self._check_opened()
        return self._plan

    @property
    def info(self) -> SourceInfo:
        """The open source."""
        return self.plan.source

    @property
    def offline(self) -> bool:
        """Whether the source is lost at present, or was not there yet."""
        return bool(self._source.state.text)

    @property
    def labels(self) -> Sequence[str]:
        """Class names by class id; labels[0] is "BG"."""
        self._check_opened()
        return self._segmenter.labels

    @property
    def sinks(self) -> Sequence[Sink]:
        """The open sinks: those of the settings, then your own."""
        self._check_opened()
        return [worker.sink for worker in self._workers]

    def summary(self) -> RunSummary:
        """What the run did so far; final after `close`."""
        return RunSummary(
            source=self.info,
            live=self.plan.live,
            model=self._segmenter.description,
            stats=self.ledger.overall(),
            reconnects=self._source.state.reconnects,
            restarts=self._segmenter.restarts,
            outputs=[path for sink in self.sinks for path in sink.outputs],
            end=self._end if self._errors.error is None else EndReason.FAILED,
            wall_s=self._wall_s if self._wall_s is not None else self.clock() - self._opened_at_s,
            scene=self._presenter.scene,
            source_warnings=self._source.warnings.texts(),
            decisions=self.ledger.entries,
        )

    def _check_opened(self) -> None:
        if not self.opened:
            raise RuntimeError("the stream is not open: use it in a `with` block")
