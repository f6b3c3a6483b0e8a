"""The inference stage: runs the segmenter on the frames that reach it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from pipeline.records import Finding, Frame, SegmentedFrame, StageTimes
from pipeline.segmenter import Segmenter
from pipeline.slot import Slot, SlotClosed
from pipeline.sources.base import Clock
from pipeline.stats import RunStats
from pipeline.tracking.tracker import Tracker


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
            found = segmenter.segment(frame.image_bgr)
            if tracker is None:
                instances = segmenter.chosen(found)
            else:
                candidates = segmenter.candidates(found, tracker.unsure_score)
                instances = tracker.update(frame.pts_s, candidates, (frame.height, frame.width))
            ended_at_s = clock()
            stats.inferred(ended_at_s, ended_at_s - started_at_s)
            times = StageTimes(frame.captured_at_s, started_at_s, ended_at_s)
            segmented = SegmentedFrame(frame, instances, frame.index, times, finding=Finding(frame, found))
            try:
                results.put(segmented)
            except SlotClosed:
                on_undelivered(segmented)
                return
            del frame, segmented
    finally:
        segmenter.close()
