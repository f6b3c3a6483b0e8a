"""Where the stream of frames meets the stream of results: which frame is shown, with which instances."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from pipeline.records import Frame, Instances, SegmentedFrame, StageTimes
from pipeline.slot import Slot, SlotClosed


class Join(Protocol):
    """Gives the frames to present, in order."""

    def next(self, timeout_s: float) -> SegmentedFrame:
        """The next frame to present. Raises TimeoutError when none came in time, SlotClosed at the end."""
        ...


class ExactJoin:
    """Presents the frames that were inferred, each with its own instances."""

    def __init__(self, results: Slot[SegmentedFrame]) -> None:
        self._results = results

    def next(self, timeout_s: float) -> SegmentedFrame:
        """See `Join.next`."""
        return self._results.get(timeout_s)


class Carrier(Protocol):
    """Brings the instances of an earlier frame onto the frame that is shown."""

    def see(self, frame: Frame) -> None:
        """Told of every frame that is presented, in order, before `carry`: to follow the motion between them."""
        ...

    def carry(self, result: SegmentedFrame, frame: Frame) -> Instances:
        """The instances of `result` as they lie on `frame`, which is the same frame or a later one."""
        ...


class HoldCarrier:
    """Keeps the last instances where they were until the next result comes."""

    def see(self, frame: Frame) -> None:
        """Nothing to learn from a frame."""

    def carry(self, result: SegmentedFrame, frame: Frame) -> Instances:
        """The same instances, unmoved."""
        return result.instances


class SmoothJoin:
    """Presents every captured frame that reaches it, with the newest result that is not from its future."""

    def __init__(self, frames: Slot[Frame], results: Slot[SegmentedFrame], carrier: Carrier) -> None:
        self._frames = frames
        self._results = results
        self._carrier = carrier
        self._waiting: deque[SegmentedFrame] = deque()
        self._result: SegmentedFrame | None = None

    def next(self, timeout_s: float) -> SegmentedFrame:
        """See `Join.next`."""
        frame = self._frames.get(timeout_s)
        self._carrier.see(frame)
        result = self._newest_result(frame.index)
        if result is None:
            return SegmentedFrame(frame, Instances.empty(), None, StageTimes(frame.captured_at_s))
        times = StageTimes(frame.captured_at_s, result.times.inference_started_at_s, result.times.inference_ended_at_s)
        return SegmentedFrame(frame, self._carrier.carry(result, frame), result.frame.index, times)

    def _newest_result(self, up_to_index: int) -> SegmentedFrame | None:
        try:
            self._waiting.extend(self._results.get_all())
        except SlotClosed:
            pass  # the end of the run is decided by the frames, not by the results
        while self._waiting and self._waiting[0].frame.index <= up_to_index:
            self._result = self._waiting.popleft()
        return self._result
