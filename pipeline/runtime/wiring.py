"""The slots between the stages of a run: capacities, what happens when one is full, and how losses are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.ledger import DropStage, RunLedger
from pipeline.records import Frame, SourceInfo, UnredactedFrame
from pipeline.runtime.capture import Outlet
from pipeline.runtime.join import (
    MOST_WAITING_BYTES,
    ExactJoin,
    Join,
    KeyframeJoin,
    SmoothJoin,
    frames_between_keys,
    make_carrier,
)
from pipeline.runtime.keyframes import KeyframeOutlet, Keyframes
from pipeline.runtime.plan import JoinKind, SourcePlan
from pipeline.settings.presentation_settings import MotionSettings
from pipeline.threads.slot import Overflow, Slot

RECORDED_SLOT = 3
"""Frames between two stages of a recorded source: enough that none waits for another's hiccup."""


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

    def close(self) -> None:
        """Wake every stage; what is between them is lost, and counted."""
        for slot in self.frame_slots:
            slot.close(discard=True)
        self.results.close(discard=True)
        self.join.close()


def wire(plan: SourcePlan, motion: MotionSettings, ledger: RunLedger) -> Wiring:
    """Connect the stages as the plan says."""
    if plan.join is JoinKind.EXACT:
        return _exact(plan, ledger)
    if plan.join is JoinKind.SMOOTH:
        return _smooth(motion, ledger)
    return _keyframes(plan, motion, ledger)


def _exact(plan: SourcePlan, ledger: RunLedger) -> Wiring:
    overflow = Overflow.DROP_OLDEST if plan.live else Overflow.WAIT
    # Of a recorded source, another batch can come in and go out while one is being inferred.
    room = max(RECORDED_SLOT, plan.batching.size)
    lost_before_inference = partial(ledger.dropped, DropStage.INFERENCE)
    lost_before_display = partial(ledger.dropped, DropStage.DISPLAY)
    to_inference: Slot[Frame] = Slot(1 if plan.live else room, overflow, lost_before_inference)
    results: Slot[UnredactedFrame] = Slot(2 if plan.live else room, overflow, lost_before_display)
    slots = (to_inference,)
    return Wiring(slots, slots, to_inference, results, ExactJoin(results), lost_before_inference, lost_before_display)


def _smooth(motion: MotionSettings, ledger: RunLedger) -> Wiring:
    # What goes to inference goes to the display as well: losing it there loses no frame, so nothing is counted.
    to_inference: Slot[Frame] = Slot(1, Overflow.DROP_OLDEST)
    to_display: Slot[Frame] = Slot(2, Overflow.DROP_OLDEST, partial(ledger.dropped, DropStage.DISPLAY))
    results: Slot[UnredactedFrame] = Slot(4, Overflow.DROP_OLDEST)
    join = SmoothJoin(to_display, results, make_carrier(motion, live=True))
    return _display_wiring(motion, to_inference, to_display, join, results, ledger)


def _keyframes(plan: SourcePlan, motion: MotionSettings, ledger: RunLedger) -> Wiring:
    size = plan.batching.size
    lost_before_display = partial(ledger.dropped, DropStage.DISPLAY)
    to_inference: Slot[Frame] = Slot(max(RECORDED_SLOT, size), Overflow.WAIT)
    to_display: Slot[Frame] = Slot(display_capacity(plan.source, size, motion), Overflow.WAIT, lost_before_display)
    results: Slot[UnredactedFrame] = Slot(max(4, size), Overflow.WAIT)
    keys = Keyframes(motion.infer_every, motion.infer_fps)
    join = KeyframeJoin(to_display, results, make_carrier(motion, live=False), keys, lost_before_display)
    return _display_wiring(motion, to_inference, to_display, join, results, ledger)


def display_capacity(source: SourceInfo, batch_size: int, motion: MotionSettings) -> int:
    """How many frames wait for the display, so that a batch of keyframes is among them as far as memory allows."""
    in_memory = max(1, MOST_WAITING_BYTES // (3 * source.width * source.height))
    return RECORDED_SLOT + min(batch_size * frames_between_keys(motion, source), in_memory)


def _display_wiring(
    motion: MotionSettings,
    to_inference: Slot[Frame],
    to_display: Slot[Frame],
    join: Join,
    results: Slot[UnredactedFrame],
    ledger: RunLedger,
) -> Wiring:
    """For joins that take frames from the capture: a frame counts as delivered when it reaches the display."""
    keys = Keyframes(motion.infer_every, motion.infer_fps)
    # The inference first: the join may wait for what it is given.
    outlets = (KeyframeOutlet(to_inference, keys), to_display)
    lost = partial(ledger.dropped, DropStage.DISPLAY)
    return Wiring(outlets, (to_inference, to_display), to_inference, results, join, lost, _no_frame_lost)


def _no_frame_lost() -> None:
    """The frame is presented whether or not inference gives a result for it."""
