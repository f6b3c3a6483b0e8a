"""The inference stage: runs the segmenter on the frames that reach it, one by one or several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from threading import Event

from pipeline.records import Finding, Frame, Instances, SegmentedFrame, StageTimes
from pipeline.segmenter import Segmenter
from pipeline.slot import Slot, SlotClosed
from pipeline.sources.base import Clock
from pipeline.stats import RunStats
from pipeline.tracking.tracker import Tracker
from pipeline.watchdog import EngineLostError


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
) -> None:
    """Open the segmenter, then turn each frame into a SegmentedFrame until `frames` is closed and empty.

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
    """
    in_hand: deque[Frame] = deque()
    stage = _Inference(segmenter, stats, clock, tracker, batching)
    try:
        segmenter.open()
        ready.set()
        while True:
            _gather(frames, batching, in_hand)
            if results.closed or not _deliver(stage.results_of(list(in_hand)), results, in_hand):
                return
    finally:
        for frame in in_hand:
            on_undelivered(_unknown(frame, StageTimes(frame.captured_at_s)))
        segmenter.close()


def _gather(frames: Slot[Frame], batching: Batching, in_hand: deque[Frame]) -> None:
    """Wait for a frame, then take more as `batching` says. Raises SlotClosed when there are no more at all."""
    in_hand.append(frames.get())
    while len(in_hand) < batching.size:
        try:
            in_hand.append(frames.get(None if batching.filling is Filling.FULL else 0.0))
        except (SlotClosed, TimeoutError):
            return


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
class _Inference:
    """What is done with the frames of a batch."""

    segmenter: Segmenter
    stats: RunStats
    clock: Clock
    tracker: Tracker | None
    batching: Batching

    def results_of(self, frames: list[Frame]) -> Iterator[SegmentedFrame]:
        """A result for each frame, in order. Raises SlotClosed when the run ends under the segmenter."""
        started_at_s = self.clock()
        try:
            if self.batching.size == 1:
                found = [self.segmenter.segment(frames[0].image_bgr)]
            else:
                found = self.segmenter.segment_batch([frame.image_bgr for frame in frames])
        except EngineLostError:
            # The frames are shown with nothing on them; nothing is known of what is in them.
            ended_at_s = self.clock()
            for frame in frames:
                yield _unknown(frame, StageTimes(frame.captured_at_s, started_at_s, ended_at_s))
            return
        share_s = (self.clock() - started_at_s) / len(frames)
        for frame, instances in zip(frames, found, strict=True):
            yield self._result(frame, instances, started_at_s, share_s)

    def _result(self, frame: Frame, found: Instances, started_at_s: float, share_s: float) -> SegmentedFrame:
        """What is shown of what was found; `share_s` is what the segmenter took for one frame of the batch."""
        found_at_s = self.clock()
        if self.tracker is None:
            instances = self.segmenter.chosen(found)
        else:
            candidates = self.segmenter.candidates(found, self.tracker.unsure_score)
            instances = self.tracker.update(frame.pts_s, candidates, (frame.height, frame.width))
        ended_at_s = self.clock()
        self.stats.inferred(ended_at_s, share_s + ended_at_s - found_at_s)
        times = StageTimes(frame.captured_at_s, started_at_s, ended_at_s)
        return SegmentedFrame(frame, instances, frame.index, times, finding=Finding(frame, found))


def _unknown(frame: Frame, times: StageTimes) -> SegmentedFrame:
    return SegmentedFrame(frame, Instances.empty(), frame.index, times)
