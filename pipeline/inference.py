"""The inference stage: runs the segmenter on the frames that reach it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from pipeline.records import Finding, Frame, Instances, SegmentedFrame, StageTimes
from pipeline.segmenter import Segmenter
from pipeline.slot import Slot, SlotClosed
from pipeline.sources.base import Clock
from pipeline.stats import RunStats
from pipeline.tracking.tracker import Tracker
from pipeline.watchdog import EngineLostError


def infer(
    segmenter: Segmenter,
    frames: Slot[Frame],
    results: Slot[SegmentedFrame],
    stats: RunStats,
    clock: Clock,
    ready: Event,
    on_undelivered: Callable[[SegmentedFrame], None],
    tracker: Tracker | None = None,
) -> None:
    """Open the segmenter, then turn each frame into a SegmentedFrame until `frames` is closed and empty.

    Args:
        segmenter: opened, used and closed in this thread.
        frames: inlet.
        results: outlet.
        stats: told of every frame inferred.
        clock: seconds, monotonic.
        ready: set once the segmenter is open.
        on_undelivered: called with the result in hand when `results` was closed under it.
        tracker: gives the instances their ids and steadies them; None where nothing is tracked.
    """
    try:
        segmenter.open()
        ready.set()
        while True:
            frame = frames.get()
            started_at_s = clock()
            try:
                found = segmenter.segment(frame.image_bgr)
            except (EngineLostError, SlotClosed) as lost:
                # The frame is shown with nothing on it; nothing is known of what is in it.
                times = StageTimes(frame.captured_at_s, started_at_s, clock())
                unknown = SegmentedFrame(frame, Instances.empty(), frame.index, times)
                if isinstance(lost, SlotClosed):  # the run ends
                    on_undelivered(unknown)
                    return
                if not _delivered(unknown, results, on_undelivered):
                    return
                continue
            if tracker is None:
                instances = segmenter.chosen(found)
            else:
                candidates = segmenter.candidates(found, tracker.unsure_score)
                instances = tracker.update(frame.pts_s, candidates, (frame.height, frame.width))
            ended_at_s = clock()
            stats.inferred(ended_at_s, ended_at_s - started_at_s)
            times = StageTimes(frame.captured_at_s, started_at_s, ended_at_s)
            segmented = SegmentedFrame(frame, instances, frame.index, times, finding=Finding(frame, found))
            if not _delivered(segmented, results, on_undelivered):
                return
            del frame, segmented
    finally:
        segmenter.close()


def _delivered(
    segmented: SegmentedFrame, results: Slot[SegmentedFrame], on_undelivered: Callable[[SegmentedFrame], None]
) -> bool:
    """Hand a result over, unless nobody takes results any more."""
    try:
        results.put(segmented)
    except SlotClosed:
        on_undelivered(segmented)
        return False
    return True
