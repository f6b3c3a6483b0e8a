"""Where the stream of frames meets the stream of results: which frame is shown, with which instances."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pipeline.motion.carry import FlowCarrier, Transition
from pipeline.records import Frame, Instances, SegmentedFrame, SourceInfo, StageTimes
from pipeline.runtime.key_frames import KeyFrames
from pipeline.settings.presentation_settings import CarryMode, MotionSettings
from pipeline.threads.slot import Slot, SlotClosed

MOST_WAITING_BYTES = 256 << 20
"""Memory for frames of a recorded source that wait for the result of a key frame."""


class Join(Protocol):
    """Gives the frames to present, in order."""

    def next(self, timeout_s: float) -> SegmentedFrame:
        """The next frame to present. Raises TimeoutError when none came in time, SlotClosed at the end."""
        ...

    def close(self) -> None:
        """Give up, and report, a frame that is still held; after the last `next`, in the same thread."""
        ...


class ExactJoin:
    """Presents the frames that were inferred, each with its own instances."""

    def __init__(self, results: Slot[SegmentedFrame]) -> None:
        self._results = results

    def next(self, timeout_s: float) -> SegmentedFrame:
        """See `Join.next`."""
        return self._results.get(timeout_s)

    def close(self) -> None:
        """Nothing is held."""


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


def make_carrier(settings: MotionSettings, live: bool) -> Carrier:
    """The carrier that the settings ask for; in live runs it is gentle to the eye, in recorded ones exact."""
    if settings.carry is CarryMode.HOLD:
        return HoldCarrier()
    return FlowCarrier(settings, Transition.BLEND if live else Transition.IMMEDIATE)


def frames_between_keys(settings: MotionSettings, source: SourceInfo) -> int:
    """How many frames of a recorded source should fit between capture and display, at least 1.

    So many that the next key frame is already being inferred while this one's result is carried over the frames
    between, as far as memory allows.
    """
    between = settings.infer_every
    if settings.infer_fps is not None:
        between = max(between, round((source.fps or 30.0) / settings.infer_fps))
    return max(1, min(between, MOST_WAITING_BYTES // (3 * source.width * source.height)))


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
        return _carried(self._carrier, result, frame)

    def close(self) -> None:
        """Nothing is held."""

    def _newest_result(self, up_to_index: int) -> SegmentedFrame | None:
        try:
            self._waiting.extend(self._results.get_all())
        except SlotClosed:
            pass  # the end of the run is decided by the frames, not by the results
        while self._waiting and self._waiting[0].frame.index <= up_to_index:
            self._result = self._waiting.popleft()
        return self._result


class KeyFrameJoin:
    """Presents every frame of a recorded source: key frames with their own result, the ones between with carried ones.

    It waits for the result of each key frame. That cannot lock up: a key frame is offered to the inference before it is
    offered here, so whatever this join waits for is already on its way.

    Args:
        frames: every captured frame, in order.
        results: one for each key frame, in order.
        carrier: brings a result onto the frames after it.
        keys: decides as the capture does which frames are key frames.
        on_lost: called with a frame that was taken from `frames` but cannot be presented.
    """

    def __init__(
        self,
        frames: Slot[Frame],
        results: Slot[SegmentedFrame],
        carrier: Carrier,
        keys: KeyFrames,
        on_lost: Callable[[Frame], None],
    ) -> None:
        self._frames = frames
        self._results = results
        self._carrier = carrier
        self._keys = keys
        self._on_lost = on_lost
        self._held: Frame | None = None
        self._result: SegmentedFrame | None = None

    def next(self, timeout_s: float) -> SegmentedFrame:
        """See `Join.next`. A key frame whose result is not there in time is kept for the next call."""
        if self._held is None:
            frame = self._frames.get(timeout_s)
            if self._keys.is_key(frame):
                self._held = frame
        if self._held is not None:
            frame = self._held
            self._result = self._results.get(timeout_s)
            self._held = None
        assert self._result is not None, "the first frame is a key frame"
        self._carrier.see(frame)
        return _carried(self._carrier, self._result, frame)

    def close(self) -> None:
        """See `Join.close`."""
        held, self._held = self._held, None
        if held is not None:
            self._on_lost(held)


def _carried(carrier: Carrier, result: SegmentedFrame, frame: Frame) -> SegmentedFrame:
    times = StageTimes(frame.captured_at_s, result.times.inference_started_at_s, result.times.inference_ended_at_s)
    return SegmentedFrame(frame, carrier.carry(result, frame), result.frame.index, times, finding=result.finding)
