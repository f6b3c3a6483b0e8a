"""The way of frames between capture and presentation: which slots, what happens when one is full, which join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.capture import Outlet
from pipeline.errors import InputError
from pipeline.join import ExactJoin, Join, KeyFrameJoin, SmoothJoin, frames_between_keys, make_carrier
from pipeline.motion.key_frames import KeyFrameOutlet, KeyFrames
from pipeline.records import Frame, SegmentedFrame, SourceInfo
from pipeline.settings import PresentationMode, Settings
from pipeline.slot import Overflow, Slot
from pipeline.stats import DropStage

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
        lost_in_capture: told of a frame that capture could not deliver.
        lost_after_inference: told of a result that nobody took.
    """

    outlets: Sequence[Outlet]
    frame_slots: Sequence[Slot[Frame]]
    to_inference: Slot[Frame]
    results: Slot[SegmentedFrame]
    join: Join
    lost_in_capture: Callable[[Frame], None]
    lost_after_inference: Callable[[SegmentedFrame], None]

    @property
    def slots(self) -> list[Slot[Frame] | Slot[SegmentedFrame]]:
        """All of them, to be closed at the end."""
        return [*self.frame_slots, self.results]


def make_route(settings: Settings, info: SourceInfo, live: bool, smooth: bool, losses: Losses) -> Route:
    """The route for a run: live or recorded, smooth or exact."""
    overflow = Overflow.DROP_OLDEST if live else Overflow.WAIT
    return (_smooth_route if smooth else _exact_route)(settings, info, live, overflow, losses)


def _exact_route(settings: Settings, info: SourceInfo, live: bool, overflow: Overflow, losses: Losses) -> Route:
    to_inference: Slot[Frame] = Slot(1 if live else RECORDED_SLOT, overflow, losses.before_inference)
    results: Slot[SegmentedFrame] = Slot(2 if live else RECORDED_SLOT, overflow, losses.before_display)
    slots = (to_inference,)
    return Route(
        slots, slots, to_inference, results, ExactJoin(results), losses.before_inference, losses.before_display
    )


def _smooth_route(settings: Settings, info: SourceInfo, live: bool, overflow: Overflow, losses: Losses) -> Route:
    # What goes to inference goes to the display as well: losing it there loses no frame, so nothing is counted.
    motion = settings.motion
    to_inference: Slot[Frame] = Slot(1 if live else RECORDED_SLOT, overflow)
    shown = 2 if live else RECORDED_SLOT + frames_between_keys(motion, info)
    to_display: Slot[Frame] = Slot(shown, overflow, losses.before_display)
    results: Slot[SegmentedFrame] = Slot(4, overflow)
    carrier = make_carrier(motion, live)
    join: Join
    if live:
        join = SmoothJoin(to_display, results, carrier)
    else:
        keys = KeyFrames(motion.infer_every, motion.infer_fps)
        join = KeyFrameJoin(to_display, results, carrier, keys, losses.before_display)
    # The inference first: the join may wait for what it is given.
    outlets = (KeyFrameOutlet(to_inference, KeyFrames(motion.infer_every, motion.infer_fps)), to_display)
    return Route(outlets, (to_inference, to_display), to_inference, results, join, losses.before_display, _ignore)


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
