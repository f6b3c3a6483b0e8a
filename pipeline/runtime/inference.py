"""The inference stage: runs the segmenter on the frames that reach it, one by one, in batches, or side by side."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from threading import Event

from pipeline.records import Finding, Frame, Instances, SegmentedFrame, StageTimes
from pipeline.segmentation.segmenter import Segmenter
from pipeline.segmentation.supervision import EngineLostError
from pipeline.sources.base import Clock
from pipeline.stats import RunStats
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.slot import Slot, SlotClosed
from pipeline.threads.stage import THREAD_PREFIX
from pipeline.tracking.tracker import Tracker


class Filling(Enum):
    """When a batch goes to the segmenter."""

    FULL = "full"
    """When it is full, or no more frames come: nothing waits for this stage's results before it goes on."""
    WAITING = "waiting"
    """With the frames that wait already, one or more: somebody may hold frames back until this stage's results come."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How many frames go through the segmenter at once.

    Attributes:
        size: at most so many, 1 or more.
        filling: whether it is waited for more.
    """

    size: int = 1
    filling: Filling = Filling.FULL

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a batch holds 1 frame or more, got {self.size}")


ONE_BY_ONE = Batching()
SPARE_FRAMES = 2
"""With several workers: so many frames at least wait for one that is free. With one frame each worker of two stood
still for 0.5 ms of 24."""
POLL_S = 0.01
"""With several workers: how often it is looked for an answer while the source has no frame ready."""


def infer(
    segmenter: Segmenter,
    frames: Slot[Frame],
    results: Slot[SegmentedFrame],
    stats: RunStats,
    clock: Clock,
    ready: Event,
    on_undelivered: Callable[[SegmentedFrame], None],
    tracker: Tracker | None = None,
    batching: Batching = ONE_BY_ONE,
    failed: Event | None = None,
) -> None:
    """Open the segmenter, then turn each frame into a SegmentedFrame until `frames` is closed and empty.

    A segmenter with several workers gets several batches at the same time, in threads of their own. The results come in
    the order of the frames all the same, and the tracker sees them so, in this thread.

    Args:
        segmenter: opened, used and closed in this thread.
        frames: inlet.
        results: outlet; it gets the frames in their order.
        stats: told of every frame inferred.
        clock: seconds, monotonic.
        ready: set once the segmenter is open.
        on_undelivered: called with each frame in hand that will not be put into `results`: these were closed, or the
            segmenter failed. What was found on it is left out.
        tracker: gives the instances their ids and steadies them; None where nothing is tracked.
        batching: how many frames the segmenter gets at once.
        failed: set when this stage fails, before frames are reported.
    """
    in_hand: deque[Frame] = deque()
    stage = _Inference(segmenter, stats, clock, tracker, batching)
    well = False
    try:
        segmenter.open()
        ready.set()
        with ExitStack() as threads:
            queue = _Queue(stage, frames, in_hand, threads)
            while True:
                batch = queue.next()
                if results.closed or not _deliver(stage.results_of(batch), results, in_hand):
                    break
        well = True
    except SlotClosed:
        well = True
        raise
    finally:
        if failed is not None and not well:
            failed.set()
        for frame in in_hand:
            on_undelivered(_unknown(frame, StageTimes(frame.captured_at_s)))
        segmenter.close()


def _deliver(found: Iterator[SegmentedFrame], results: Slot[SegmentedFrame], in_hand: deque[Frame]) -> bool:
    """Hand the results over and their frames out of hand; False when nobody takes results any more."""
    try:
        for segmented in found:
            results.put(segmented)
            in_hand.popleft()
    except SlotClosed:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the segmenter found on the frames of a batch, and when, seconds on the run's clock."""

    found: Sequence[Instances]
    started_at_s: float
    ended_at_s: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """Frames that were given to the segmenter, or are when the answer is asked for.

    Attributes:
        frames: in their order.
        answer: waits for it.
        is_answered: whether `answer` need not wait.
    """

    frames: Sequence[Frame]
    answer: Callable[[], _Answer]
    is_answered: Callable[[], bool]


class _Queue:
    """Batches on their way through the segmenter, in the order of the frames.

    Args:
        stage: does the work.
        frames: inlet.
        in_hand: gets every frame that is taken.
        threads: where the threads of several workers are ended.
    """

    def __init__(self, stage: _Inference, frames: Slot[Frame], in_hand: deque[Frame], threads: ExitStack) -> None:
        self._stage = stage
        self._frames = frames
        self._in_hand = in_hand
        self._batches: deque[_Batch] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._depth = 1
        workers = stage.segmenter.workers
        if workers > 1:
            self._pool = ThreadPoolExecutor(workers, THREAD_PREFIX + "inference")
            threads.callback(self._pool.shutdown, cancel_futures=True)
            # Some more, so that none waits for this thread to hand it the next, whichever ends first.
            self._depth = workers + math.ceil(SPARE_FRAMES / stage.batching.size)
            # The cores have enough to do; OpenCV's own threads would wait actively between small calls.
            threads.enter_context(one_opencv_thread())

    def next(self) -> _Batch:
        """The oldest batch, with as many begun as may be. While it is not answered, frames that come are begun too.
        Raises SlotClosed when there are no more at all."""
        while len(self._batches) < self._depth:
            try:
                taken = self._gather()
            except SlotClosed:
                if not self._batches:
                    raise
                break
            except TimeoutError:
                if self._batches[0].is_answered():
                    break
                continue
            self._batches.append(self._begun(taken))
        return self._batches.popleft()

    def _gather(self) -> list[Frame]:
        """Take a frame, then more as the batching says."""
        batching = self._stage.batching
        timeout_s = None
        if self._batches:
            timeout_s = 0.0 if self._batches[0].is_answered() else POLL_S
        taken = [self._take(timeout_s)]
        while len(taken) < batching.size:
            try:
                taken.append(self._take(None if batching.filling is Filling.FULL else 0.0))
            except (SlotClosed, TimeoutError):
                break
        return taken

    def _take(self, timeout_s: float | None) -> Frame:
        frame = self._frames.get(timeout_s)
        self._in_hand.append(frame)
        return frame

    def _begun(self, taken: list[Frame]) -> _Batch:
        if self._pool is None:
            return _Batch(taken, lambda: self._stage.answer(taken), lambda: True)
        answer = self._pool.submit(self._stage.answer, taken)
        return _Batch(taken, answer.result, answer.done)


@dataclass(frozen=True, slots=True)
class _Inference:
    """What is done with the frames of a batch."""

    segmenter: Segmenter
    stats: RunStats
    clock: Clock
    tracker: Tracker | None
    batching: Batching

    def answer(self, frames: Sequence[Frame]) -> _Answer:
        """What the segmenter says; in any thread."""
        started_at_s = self.clock()
        if self.batching.size == 1:
            found = [self.segmenter.segment(frames[0].image_bgr)]
        else:
            found = self.segmenter.segment_batch([frame.image_bgr for frame in frames])
        return _Answer(found, started_at_s, self.clock())

    def results_of(self, batch: _Batch) -> Iterator[SegmentedFrame]:
        """A result for each frame, in order. Raises SlotClosed when the run ends under the segmenter."""
        asked_at_s = self.clock()
        try:
            answer = batch.answer()
        except EngineLostError:
            # The frames are shown with nothing on them; nothing is known of what is in them.
            ended_at_s = self.clock()
            for frame in batch.frames:
                yield _unknown(frame, StageTimes(frame.captured_at_s, asked_at_s, ended_at_s))
            return
        for frame, instances in zip(batch.frames, answer.found, strict=True):
            yield self._result(frame, instances, answer, len(batch.frames))

    def _result(self, frame: Frame, found: Instances, answer: _Answer, batch_size: int) -> SegmentedFrame:
        """What is shown of what was found on a frame."""
        began_at_s = self.clock()
        if self.tracker is None:
            instances = self.segmenter.chosen(found)
        else:
            candidates = self.segmenter.candidates(found, self.tracker.low_score)
            instances = self.tracker.update(frame.pts_s, candidates, (frame.height, frame.width))
        ended_at_s = self.clock()
        # A frame's share of its batch, and what was done for it alone.
        took_s = (answer.ended_at_s - answer.started_at_s) / batch_size + ended_at_s - began_at_s
        self.stats.inferred(ended_at_s, took_s)
        times = StageTimes(frame.captured_at_s, answer.started_at_s, ended_at_s)
        return SegmentedFrame(frame, instances, frame.index, times, finding=Finding(frame, found))


def _unknown(frame: Frame, times: StageTimes) -> SegmentedFrame:
    return SegmentedFrame(frame, Instances.empty(), frame.index, times)
