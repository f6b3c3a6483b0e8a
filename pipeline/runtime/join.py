"""Joins the stream of frames with the stream of results: which frame is presented, with which instances."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pipeline.motion.carry import FlowCarrier, Transition
from pipeline.records import Frame, Instances, SourceInfo, StageTimes, UnredactedFrame
from pipeline.runtime.keyframes import Keyframes
from pipeline.settings.presentation_settings import CarryMode, MotionSettings
from pipeline.threads.slot import Slot, SlotClosed

MOST_WAITING_BYTES = 256 << 20
"""Memory for frames of a recorded source that wait for the result of a keyframe."""


class Join(Protocol):
    """Gives the frames to present, in order."""

    def next(self, timeout_s: float) -> UnredactedFrame:
        """The next frame to present. Raises TimeoutError when none came in time, SlotClosed at the end."""
        ...

    def close(self) -> None:
        """Count a frame that is still held as lost; after the last `next`, in the same thread."""
        ...


class ExactJoin:
    """Presents the frames that were inferred, each with its own instances."""

    def __init__(self, results: Slot[UnredactedFrame]) -> None:
        self._results = results

    def next(self, timeout_s: float) -> UnredactedFrame:
        """See `Join.next`."""
        return self._results.get(timeout_s)

    def close(self) -> None:
        """Nothing is held."""


class Carrier(Protocol):
    """Propagates the instances of an earlier frame to the frame that is presented."""

    def see(self, frame: Frame) -> None:
        """Take every presented frame, in order, before `carry`: to estimate the motion between them."""
        ...

    def carry(self, result: UnredactedFrame, frame: Frame) -> Instances:
        """The instances of `result` at their places on `frame`, which is the same frame or a later one."""
        ...


class HoldCarrier:
    """Holds the last instances in place until the next result comes."""

    def see(self, frame: Frame) -> None:
        """Holding needs no motion."""

    def carry(self, result: UnredactedFrame, frame: Frame) -> Instances:
        """The same instances, unmoved."""
        return result.instances


def make_carrier(settings: MotionSettings, live: bool) -> Carrier:
    """The carrier that the settings name. Live runs blend new results in; recorded ones show them exactly."""
    if settings.carry is CarryMode.HOLD:
        return HoldCarrier()
    return FlowCarrier(settings, Transition.BLEND if live else Transition.IMMEDIATE)


def frames_between_keys(settings: MotionSettings, source: SourceInfo) -> int:
    """How many frames of a recorded source should fit between capture and display, at least 1.

    Enough that the next keyframe is inferred while the result of this one is propagated to the frames between, as far
    as memory allows.
    """
    between = settings.infer_every
    if settings.infer_fps is not None:
        between = max(between, round((source.fps or 30.0) / settings.infer_fps))
    return max(1, min(between, MOST_WAITING_BYTES // (3 * source.width * source.height)))


class SmoothJoin:
    """Presents every captured frame that reaches it, with the newest result that is not from its future."""

    def __init__(self, frames: Slot[Frame], results: Slot[UnredactedFrame], carrier: Carrier) -> None:
        self._frames = frames
        self._results = results
        self._carrier = carrier
        self._waiting: deque[UnredactedFrame] = deque()
        self._result: UnredactedFrame | None = None

    def next(self, timeout_s: float) -> UnredactedFrame:
        """See `Join.next`."""
        frame = self._frames.get(timeout_s)
        self._carrier.see(frame)
        result = self._newest_result(frame.index)
        if result is None:
            return UnredactedFrame(frame, Instances.empty(), None, StageTimes(frame.captured_at_s))
        return _carried(self._carrier, result, frame)

    def close(self) -> None:
        """Nothing is held."""

    def _newest_result(self, up_to_index: int) -> UnredactedFrame | None:
        try:
            self._waiting.extend(self._results.get_all())
        except SlotClosed:
            pass  # the frames decide when the run ends, not the results
        while self._waiting and self._waiting[0].frame.index <= up_to_index:
            self._result = self._waiting.popleft()
        return self._result


class KeyframeJoin:
    """Presents every frame of a recorded source: keyframes with their own result, the others with a propagated one.

    It waits for the result of each keyframe. That cannot deadlock: capture hands a keyframe to inference before it
    hands it to the display.

    Args:
        frames: every captured frame, in order.
        results: one for each keyframe, in order.
        carrier: propagates a result to the frames after it.
        keys: decides which frames are keyframes, as the capture does.
        on_loss: called for a frame that was taken from `frames` but cannot be presented.
    """

    def __init__(
        self,
        frames: Slot[Frame],
        results: Slot[UnredactedFrame],
        carrier: Carrier,
        keys: Keyframes,
        on_loss: Callable[[], None],
    ) -> None:
        self._frames = frames
        self._results = results
        self._carrier = carrier
        self._keys = keys
        self._on_loss = on_loss
        self._held: Frame | None = None
        self._result: UnredactedFrame | None = None

    def next(self, timeout_s: float) -> UnredactedFrame:
        """See `Join.next`. A keyframe whose result does not come in time is kept for the next call."""
        if self._held is None:
            frame = self._frames.get(timeout_s)
            if self._keys.is_key(frame):
                self._held = frame
        if self._held is not None:
            frame = self._held
            self._result = self._results.get(timeout_s)
            self._held = None
        assert self._result is not None, "the first frame is a keyframe"
        self._carrier.see(frame)
        return _carried(self._carrier, self._result, frame)

    def close(self) -> None:
        """See `Join.close`."""
        held, self._held = self._held, None
        if held is not None:
            self._on_loss()


def _carried(carrier: Carrier, result: UnredactedFrame, frame: Frame) -> UnredactedFrame:
    times = StageTimes(frame.captured_at_s, result.times.inference_started_at_s, result.times.inference_ended_at_s)
    return UnredactedFrame(frame, carrier.carry(result, frame), result.instances_index, times, result.detections)
