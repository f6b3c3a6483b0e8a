"""The inference stage: runs the segmenter on the frames that reach it, one by one, in batches, or side by side."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from pipeline.ledger import RunLedger
from pipeline.records import Clock, Detections, Frame, Instances, StageTimes, UnredactedFrame
from pipeline.runtime.plan import Batching, Filling, RunPlan, SourcePlan
from pipeline.runtime.wiring import Wiring
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.segmentation.network_model import NetworkModel, read_model
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import SegmenterLostError
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.stage import THREAD_PREFIX, SlotClosed
from pipeline.tracking.tracker import Tracker

SPARE_FRAMES = 2
"""With several workers, at least so many frames are queued for the next one that is free. With one frame, each of two
workers was idle for 0.5 ms of 24."""
POLL_S = 0.01
"""With several workers: how often to poll for a finished batch while the source has no frame ready."""


Answer = tuple[Sequence[Instances], float, float]
"""What the segmenter reported on the frames of a batch, and when it began and ended, seconds on the run's clock."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that are in the segmenter, or enter it when the answer is requested.

    Attributes:
        frames: in their order.
        answer: waits for it.
        is_answered: whether `answer` returns without waiting.
    """

    frames: Sequence[Frame]
    answer: Callable[[], Answer]
    is_answered: Callable[[], bool]


SegmenterFor = Callable[[RunPlan, SourcePlan], Segmenter]
"""Makes the segmenter that the plans call for, with the thresholds that go with it."""


def segmenter_for(run: RunPlan, source: SourcePlan, machine: Machine | None = None) -> MaskRCNNSegmenter:
    """The segmenter that the plans call for, with the thresholds that go with it, on this machine or on another one.

    Raises:
        InputError: weights or labels are missing or do not fit, or the engine, backend or device is not there.
    """
    model = read_model(run.settings.model)
    return MaskRCNNSegmenter(model, filter_for(model, run, source), source.workers, machine)


def filter_for(model: NetworkModel, run: RunPlan, source: SourcePlan) -> DetectionFilter:
    """Which detections of a network the plans call for. Raises InputError if the settings name an unknown class."""
    low_score = source.tracking.low_score if source.tracking is not None else None
    return model.detection_filter(low_score, run.redaction_score)


class InferenceStage:
    """Opens the segmenter, then turns each frame into an UnredactedFrame until no more frames come.

    A segmenter with several workers gets several batches at the same time, in threads of their own. The results still
    come in the order of the frames, and the tracker sees them so, in the thread of `run`.

    Args:
        segmenter: opened, used and closed by `run`; its `detections` say which of the reported ones count.
        tracker: gives them ids and smooths them; None where nothing is tracked.
        wiring: where frames come from and results go to.
        batching: how many frames the segmenter gets at once.
        ledger: every inferred frame is entered, the engine that was chosen, and a failure.
        clock: seconds, monotonic.
        on_found: called with what the network reported on each frame, before that can be presented.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        tracker: Tracker | None,
        wiring: Wiring,
        batching: Batching,
        ledger: RunLedger,
        clock: Clock,
        on_found: Callable[[Detections], None] = lambda _: None,
    ) -> None:
        self._segmenter = segmenter
        self._detections = segmenter.detections
        self._tracker = tracker
        self._wiring = wiring
        self._batching = batching
        self._ledger = ledger
        self._clock = clock
        self._on_found = on_found
        self._in_hand: deque[Frame] = deque()
        self._batches: deque[Batch] = deque()
        self._description = ""
        self._prepared_at_s: float | None = None

    def run(self) -> None:
        """Infer until nothing is left to do.

        Raises:
            SlotClosed: `to_inference` is closed and empty, or nobody takes results any more.
        """
        try:
            self._segmenter.open()
            self._record_engine()
            with ExitStack() as threads:
                pool, depth = self._start_workers(threads)
                while True:
                    batch = self._next_batch(pool, depth)
                    if self._wiring.results.closed:
                        raise SlotClosed
                    for result in self._results_of(batch):
                        self._wiring.results.put(result)
                        self._in_hand.popleft()
        except SlotClosed:
            raise
        except BaseException:
            self._ledger.failed()
            raise
        finally:
            # Closed first: until then, a network that several cameras share may take more frames.
            with ExitStack() as closing:
                closing.callback(self._count_losses)
                self._segmenter.close()

    def _count_losses(self) -> None:
        for _ in self._in_hand:
            self._wiring.on_inference_loss()

    def _record_engine(self) -> None:
        """Enter the engine into the ledger if it is another: the first frame, and a restart, may replace it."""
        description = self._segmenter.description
        if description != self._description:
            self._description = description
            self._ledger.record(description)

    def _start_workers(self, threads: ExitStack) -> tuple[ThreadPoolExecutor | None, int]:
        """The pool of several workers, and how many batches are to be under way."""
        workers = self._segmenter.workers
        if workers == 1:
            return None, 1
        pool = ThreadPoolExecutor(workers, THREAD_PREFIX + "inference")
        threads.callback(pool.shutdown, cancel_futures=True)
        # The cores have enough to do; OpenCV's own threads would wait actively between small calls.
        threads.enter_context(one_opencv_thread())
        # Some more than workers, so that none waits for this thread to hand it the next, whichever ends first.
        return pool, workers + math.ceil(SPARE_FRAMES / self._batching.size)

    def _next_batch(self, pool: ThreadPoolExecutor | None, depth: int) -> Batch:
        """The oldest batch, with as many begun as may be; frames that come while it computes are begun too.

        Raises:
            SlotClosed: there are no more at all.
        """
        while len(self._batches) < depth:
            try:
                frames = self._gather()
            except SlotClosed:
                if not self._batches:
                    raise
                break
            except TimeoutError:
                if self._batches[0].is_answered():
                    break
                continue
            self._batches.append(self._begin(frames, pool))
        return self._batches.popleft()

    def _gather(self) -> list[Frame]:
        """Take a frame, then more as the batching says."""
        timeout_s = None
        if self._batches:
            timeout_s = 0.0 if self._batches[0].is_answered() else POLL_S
        frames = [self._take(timeout_s)]
        while len(frames) < self._batching.size:
            try:
                frames.append(self._take(None if self._batching.filling is Filling.FULL else 0.0))
            except (SlotClosed, TimeoutError):
                break
        return frames

    def _take(self, timeout_s: float | None) -> Frame:
        frame = self._wiring.to_inference.get(timeout_s)
        self._in_hand.append(frame)
        return frame

    def _begin(self, frames: list[Frame], pool: ThreadPoolExecutor | None) -> Batch:
        if pool is None:
            return Batch(frames, lambda: self._infer(frames), lambda: True)
        answer = pool.submit(self._infer, frames)
        return Batch(frames, answer.result, answer.done)

    def _infer(self, frames: Sequence[Frame]) -> Answer:
        """What the segmenter reports; in any thread."""
        started_at_s = self._clock()
        reported = self._segmenter.segment_frames(frames)
        return reported, started_at_s, self._clock()

    def _results_of(self, batch: Batch) -> Iterator[UnredactedFrame]:
        """A result for each frame, in order. Raises SlotClosed when the run ends under the segmenter."""
        began_at_s = self._clock()
        try:
            answer = batch.answer()
        except SegmenterLostError:
            # The frames are shown with nothing on them; what is in them is unknown.
            ended_at_s = self._clock()
            for frame in batch.frames:
                times = StageTimes(frame.captured_at_s, began_at_s, ended_at_s)
                yield UnredactedFrame(frame, Instances.empty(), None, times)
            return
        self._record_engine()
        if self._prepared_at_s is None:
            self._prepared_at_s = answer[2]
            self._ledger.ready()
        for frame, reported in zip(batch.frames, answer[0], strict=True):
            yield self._result(frame, reported, answer, len(batch.frames))

    def _result(self, frame: Frame, reported: Instances, answer: Answer, batch_size: int) -> UnredactedFrame:
        began_at_s = self._clock()
        if self._tracker is None:
            instances = self._detections.high(reported)
        else:
            candidates = self._detections.high_and_low(reported)
            instances = self._tracker.update(frame.pts_s, candidates, (frame.height, frame.width))
        ended_at_s = self._clock()
        # A frame's share of its batch, and what was done for it alone.
        _, inference_began_at_s, inference_ended_at_s = answer
        took_s = (inference_ended_at_s - inference_began_at_s) / batch_size + ended_at_s - began_at_s
        assert self._prepared_at_s is not None
        # With the first answer, and beside it, engines are compiled and compared.
        self._ledger.inferred(ended_at_s, took_s if inference_began_at_s >= self._prepared_at_s else None)
        captured_at_s = frame.captured_at_s
        times = StageTimes(captured_at_s, inference_began_at_s, ended_at_s, inferred_from_s=captured_at_s)
        found = Detections(frame, reported, self._detections.truncates(reported))
        self._on_found(found)
        return UnredactedFrame(frame, instances, frame.index, times, found)
