"""How the stages of a run are connected: the slots between them, keyframes, and the joins of frames with results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import floor

from pipeline.ledger import DropStage, RunLedger
from pipeline.motion.carry import Carrier, make_carrier
from pipeline.records import Clock, Frame, Instances, StageTimes, UnredactedFrame
from pipeline.runtime.fresh_frames import FreshFrames
from pipeline.runtime.plan import JoinKind, SourcePlan
from pipeline.runtime.substream import Substream
from pipeline.settings.presentation_settings import MotionSettings
from pipeline.threads.stage import Overflow, Slot, SlotClosed

RECORDED_SLOT = 3
"""Frames between two stages of a recorded source: enough that none waits for another's hiccup."""
MOST_WAITING_BYTES = 256 << 20
"""Memory for frames of a recorded source that wait for the result of a keyframe."""
PTS_ROUNDING_S = 0.001
"""Matroska stores times in whole milliseconds."""

Outlet = Callable[[Frame], None]
"""Takes a captured frame, and may wait: `put` of a slot, or what passes some frames on to one. Raises SlotClosed."""


class Keyframes:
    """Chooses the frames to infer: every Nth frame, and no more than a rate allows. The first frame is a keyframe.

    Two instances choose the same frames of the same sequence.

    Args:
        every: N, 1 or more.
        fps: keyframes a second of the source's time at most; None for no limit.
    """

    def __init__(self, every: int = 1, fps: float | None = None) -> None:
        self._every = every
        self._fps = fps
        self._count = 0
        self._first: Frame | None = None
        self._period: int | None = None

    def is_key(self, frame: Frame) -> bool:
        """Whether to infer this frame. Frames come in order, each once."""
        if self._first is None:
            self._first = frame
        self._count += 1
        if (self._count - 1) % self._every:
            return False
        if self._fps is None:
            return True
        # The first frame in each period of 1 / fps is a keyframe. A little early counts as in time.
        period = floor((frame.pts_s - self._first.pts_s + PTS_ROUNDING_S) * self._fps + 1e-6)
        if period == self._period:
            return False
        self._period = period
        return True


class Join:
    """Gives the frames to present, in order: here those that were inferred, each with its own instances."""

    def __init__(self, results: Slot[UnredactedFrame]) -> None:
        self._results = results

    def next(self, timeout_s: float) -> UnredactedFrame:
        """The next frame to present. Raises TimeoutError when none came in time, SlotClosed at the end."""
        return self._results.get(timeout_s)

    def close(self) -> None:
        """Count a frame that is still held as lost; after the last `next`, in the same thread."""

    @property
    def ended(self) -> bool:
        """Whether every frame that was inferred was also taken, and no more will come."""
        return self._results.closed and len(self._results) == 0


class SmoothJoin(Join):
    """Presents every captured frame that reaches it, with the newest result that is not from its future.

    Args:
        frames: the captured frames, in order.
        results: of some of them, in order.
        carrier: propagates a result to the frames after it.
    """

    def __init__(self, frames: Slot[Frame], results: Slot[UnredactedFrame], carrier: Carrier) -> None:
        super().__init__(results)
        self._frames = frames
        self._carrier = carrier
        self._waiting: deque[UnredactedFrame] = deque()
        self._result: UnredactedFrame | None = None

    def next(self, timeout_s: float) -> UnredactedFrame:
        """See `Join.next`."""
        frame = self._frames.get(timeout_s)
        self._carrier.see(frame)
        try:
            self._waiting.extend(self._results.get_all())
        except SlotClosed:
            pass  # the frames decide when the run ends, not the results
        while self._waiting and self._waiting[0].frame.index <= frame.index:
            self._result = self._waiting.popleft()
        return self._carried(frame)

    def _carried(self, frame: Frame) -> UnredactedFrame:
        result = self._result
        if result is None:
            return UnredactedFrame(frame, Instances.empty(), None, StageTimes(frame.captured_at_s))
        times = replace(result.times, captured_at_s=frame.captured_at_s)
        instances = self._carrier.carry(result, frame)
        return UnredactedFrame(frame, instances, result.instances_index, times, result.detections)


class KeyframeJoin(SmoothJoin):
    """Presents every frame of a recorded source: keyframes with their own result, the others with a propagated one.

    It waits for the result of each keyframe. That cannot deadlock: capture hands a keyframe to inference before it
    hands it to the display.

    Args:
        frames, results, carrier: see `SmoothJoin`; every captured frame, and one result for each keyframe.
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
        super().__init__(frames, results, carrier)
        self._keys = keys
        self._on_loss = on_loss
        self._held: Frame | None = None

    def next(self, timeout_s: float) -> UnredactedFrame:
        """See `Join.next`. A keyframe whose result does not come in time is kept for the next call."""
        if self._held is None:
            frame = self._frames.get(timeout_s)
            if self._keys.is_key(frame):
                self._held = frame
        if self._held is not None:
            self._result = self._results.get(timeout_s)
            frame, self._held = self._held, None
        self._carrier.see(frame)
        return self._carried(frame)

    def close(self) -> None:
        """See `Join.close`."""
        held, self._held = self._held, None
        if held is not None:
            self._on_loss()


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the stages of a run are connected.

    Attributes:
        outlets: where capture puts each frame, in this order.
        frame_slots: the slots behind them, which capture closes at its end.
        to_inference: where inference takes frames from.
        results: where inference puts its results.
        join: where the presenter takes frames from.
        on_capture_loss: enters a frame that capture could not deliver into the ledger.
        on_inference_loss: the same for a frame that inference took and gives no result for.
    """

    outlets: Sequence[Outlet]
    frame_slots: Sequence[Slot[Frame]]
    to_inference: Slot[Frame]
    results: Slot[UnredactedFrame]
    join: Join
    on_capture_loss: Callable[[], None]
    on_inference_loss: Callable[[], None]

    def discard_waiting(self) -> int:
        """Take away the frames that wait for inference, unless the join waits for their results; returns how many."""
        if isinstance(self.join, SmoothJoin):
            return 0
        try:
            return len(self.to_inference.get_all())
        except SlotClosed:
            return 0

    def close(self) -> None:
        """Wake every stage; what is between them is lost, and counted."""
        for slot in self.frame_slots:
            slot.close(discard=True)
        self.results.close(discard=True)
        self.join.close()


def wire(
    plan: SourcePlan, motion: MotionSettings, ledger: RunLedger, clock: Clock, substream: Substream | None = None
) -> Wiring:
    """Connect the stages as the plan says: capacities, what happens when a slot is full, and who counts losses.

    Args:
        plan, motion: of the run.
        ledger: where losses are counted.
        clock: seconds, monotonic.
        substream: gives the network its pictures, if there is one; for smooth presentation.
    """
    live, size = plan.live, plan.batching.size
    overflow = Overflow.DROP_OLDEST if live else Overflow.WAIT
    # Of a recorded source, another batch can come in and go out while one is being inferred.
    room = max(RECORDED_SLOT, size)
    lost_before_display = partial(ledger.dropped, DropStage.DISPLAY)
    if plan.join is JoinKind.EXACT:
        lost_before_inference = partial(ledger.dropped, DropStage.INFERENCE)
        frames: Slot[Frame] = Slot(1 if live else room, overflow, lost_before_inference)
        results: Slot[UnredactedFrame] = Slot(2 if live else room, overflow, lost_before_display)
        join = Join(results)
        return Wiring((frames.put,), (frames,), frames, results, join, lost_before_inference, lost_before_display)
    # What goes to inference goes to the display as well: losing it there loses no frame, so nothing is counted.
    to_inference: Slot[Frame] = FreshFrames(clock) if live else Slot(room, overflow)
    to_display: Slot[Frame] = Slot(2 if live else display_capacity(plan, motion), overflow, lost_before_display)
    results = Slot(max(4, size), overflow)
    carrier = make_carrier(motion, live)
    if live:
        join = SmoothJoin(to_display, results, carrier)
    else:
        keys = Keyframes(motion.infer_every, motion.infer_fps)
        join = KeyframeJoin(to_display, results, carrier, keys, lost_before_display)
    # The inference first: the join may wait for what it is given.
    to_infer = partial(put_keyframe, Keyframes(motion.infer_every, motion.infer_fps), to_inference)
    if substream is not None:
        to_infer = partial(put_paired, substream, to_infer)
    outlets = (to_infer, to_display.put)
    slots = (to_inference, to_display)
    return Wiring(outlets, slots, to_inference, results, join, lost_before_display, _no_frame_lost)


def display_capacity(plan: SourcePlan, motion: MotionSettings) -> int:
    """How many frames of a recorded source wait for the display.

    Enough that the next batch of keyframes is inferred while the results of this one are propagated to the frames
    between, as far as memory allows.
    """
    source, between = plan.source, motion.infer_every
    if motion.infer_fps is not None:
        between = max(between, round((source.fps or 30.0) / motion.infer_fps))
    in_memory = max(1, MOST_WAITING_BYTES // (3 * source.width * source.height))
    return RECORDED_SLOT + min(plan.batching.size * between, in_memory)


def put_keyframe(keys: Keyframes, slot: Slot[Frame], frame: Frame) -> None:
    """Pass a frame on to a slot if it is a keyframe."""
    if keys.is_key(frame):
        slot.put(frame)


def put_paired(substream: Substream, outlet: Outlet, frame: Frame) -> None:
    """Pass on what the sub-stream has for inference at this frame."""
    paired = substream.to_infer(frame)
    if paired is not None:
        outlet(paired)


def _no_frame_lost() -> None:
    """The frame is presented whether or not inference gives a result for it."""
