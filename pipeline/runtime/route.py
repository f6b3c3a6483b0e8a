"""The way of frames between capture and presentation: which slots, what happens when one is full, which join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.records import Frame, SegmentedFrame, SourceInfo
from pipeline.runtime.capture import Outlet
from pipeline.runtime.inference import ONE_BY_ONE, Batching, Filling
from pipeline.runtime.join import (
    MOST_WAITING_BYTES,
    ExactJoin,
    Join,
    KeyFrameJoin,
    SmoothJoin,
    frames_between_keys,
    make_carrier,
)
from pipeline.runtime.key_frames import KeyFrameOutlet, KeyFrames
from pipeline.settings.presentation_settings import PresentationMode
from pipeline.settings.schema import Settings
from pipeline.stats import DropStage
from pipeline.threads.slot import Overflow, Slot

RECORDED_SLOT = 3
"""Frames between two stages of a recorded source: enough that none waits for another's hiccup."""


@dataclass(frozen=True, slots=True)
class Losses:
    """Counts lost frames by the stage they were lost in front of.

    Args:
        count: told of each.
    """

    count: Callable[[DropStage], None]

    def before_inference(self, _: Frame) -> None:
        """A captured frame will not be inferred, nor shown."""
        self.count(DropStage.INFERENCE)

    def before_display(self, _: Frame | SegmentedFrame) -> None:
        """A frame will not be shown."""
        self.count(DropStage.DISPLAY)


@dataclass(frozen=True, slots=True)
class Route:
    """Where the stages put their frames and take them from.

    Attributes:
        outlets: where capture puts each frame, in this order.
        frame_slots: the slots behind them, which capture closes at its end.
        to_inference: where inference takes frames from.
        results: where inference puts its results.
        join: where the presenter takes frames from.
        batching: how many frames inference takes at once: several of a recorded source, one of a live one, where the
            newest wins.
        lost_in_capture: told of a frame that capture could not deliver.
        lost_after_inference: told of a result that nobody took.
    """

    outlets: Sequence[Outlet]
    frame_slots: Sequence[Slot[Frame]]
    to_inference: Slot[Frame]
    results: Slot[SegmentedFrame]
    join: Join
    batching: Batching
    lost_in_capture: Callable[[Frame], None]
    lost_after_inference: Callable[[SegmentedFrame], None]

    @property
    def slots(self) -> list[Slot[Frame] | Slot[SegmentedFrame]]:
        """All of them, to be closed at the end."""
        return [*self.frame_slots, self.results]


def make_route(
    settings: Settings, info: SourceInfo, live: bool, smooth: bool, losses: Losses, batch_size: int = 1
) -> Route:
    """The route for a run: live or recorded, smooth or exact; `batch_size` frames at once if it is recorded."""
    if live:
        return (_live_smooth_route if smooth else _live_exact_route)(settings, losses)
    if smooth:
        return _key_frame_route(settings, info, losses, batch_size)
    # Another batch can come in and go out while one is being inferred.
    room = max(RECORDED_SLOT, batch_size)
    to_inference: Slot[Frame] = Slot(room, Overflow.WAIT, losses.before_inference)
    results: Slot[SegmentedFrame] = Slot(room, Overflow.WAIT, losses.before_display)
    return _exact_route(to_inference, results, Batching(batch_size, Filling.FULL), losses)


def _live_exact_route(_: Settings, losses: Losses) -> Route:
    to_inference: Slot[Frame] = Slot(1, Overflow.DROP_OLDEST, losses.before_inference)
    results: Slot[SegmentedFrame] = Slot(2, Overflow.DROP_OLDEST, losses.before_display)
    return _exact_route(to_inference, results, ONE_BY_ONE, losses)


def _exact_route(to_inference: Slot[Frame], results: Slot[SegmentedFrame], batching: Batching, losses: Losses) -> Route:
    slots = (to_inference,)
    return Route(
        slots,
        slots,
        to_inference,
        results,
        ExactJoin(results),
        batching,
        losses.before_inference,
        losses.before_display,
    )


def _live_smooth_route(settings: Settings, losses: Losses) -> Route:
    # What goes to inference goes to the display as well: losing it there loses no frame, so nothing is counted.
    to_inference: Slot[Frame] = Slot(1, Overflow.DROP_OLDEST)
    to_display: Slot[Frame] = Slot(2, Overflow.DROP_OLDEST, losses.before_display)
    results: Slot[SegmentedFrame] = Slot(4, Overflow.DROP_OLDEST)
    join = SmoothJoin(to_display, results, make_carrier(settings.motion, live=True))
    return _smooth_route(settings, to_inference, to_display, results, join, ONE_BY_ONE, losses)


def _key_frame_route(settings: Settings, info: SourceInfo, losses: Losses, batch_size: int) -> Route:
    motion = settings.motion
    to_inference: Slot[Frame] = Slot(max(RECORDED_SLOT, batch_size), Overflow.WAIT)
    # So many frames wait for the display that a batch of key frames is among them, as far as memory allows.
    in_memory = max(1, MOST_WAITING_BYTES // (3 * info.width * info.height))
    shown = RECORDED_SLOT + min(batch_size * frames_between_keys(motion, info), in_memory)
    to_display: Slot[Frame] = Slot(shown, Overflow.WAIT, losses.before_display)
    results: Slot[SegmentedFrame] = Slot(max(4, batch_size), Overflow.WAIT)
    keys = KeyFrames(motion.infer_every, motion.infer_fps)
    join = KeyFrameJoin(to_display, results, make_carrier(motion, live=False), keys, losses.before_display)
    # The join holds frames back until the result of their key frame is there: waiting for more of them could lock up.
    return _smooth_route(
        settings, to_inference, to_display, results, join, Batching(batch_size, Filling.WAITING), losses
    )


def _smooth_route(
    settings: Settings,
    to_inference: Slot[Frame],
    to_display: Slot[Frame],
    results: Slot[SegmentedFrame],
    join: Join,
    batching: Batching,
    losses: Losses,
) -> Route:
    keys = KeyFrames(settings.motion.infer_every, settings.motion.infer_fps)
    # The inference first: the join may wait for what it is given.
    outlets = (KeyFrameOutlet(to_inference, keys), to_display)
    return Route(
        outlets, (to_inference, to_display), to_inference, results, join, batching, losses.before_display, _ignore
    )


def check_presentation(settings: Settings) -> None:
    """Raises InputError where the settings ask for exact presentation and for frames that are not inferred."""
    motion = settings.motion
    if settings.presentation is PresentationMode.EXACT and not motion.infers_all:
        asked = "motion.infer_every" if motion.infer_every > 1 else "motion.infer_fps"
        raise InputError(
            f"{asked} carries masks onto frames that are not inferred, but presentation: exact shows only frames "
            "that are; leave out one of them"
        )


def _ignore(_: object) -> None:
    """In smooth presentation a result that comes too late loses no frame."""
