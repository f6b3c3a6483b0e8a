"""Keeps masks on their objects between results: each presented frame gets the newest result, moved onto it.

Three things happen to what is on screen: it follows the flow (`bodies.py`), it goes over into a new result when one
comes (`blend.py`), and it fades when it is lost or too old.
"""

from __future__ import annotations

from enum import Enum

import numpy as np

from pipeline.motion.blend import Shown, successor
from pipeline.motion.bodies import Bodies
from pipeline.motion.flow import FlowTrail
from pipeline.records import Frame, Instances, SegmentedFrame
from pipeline.settings import MotionSettings


class Landing(Enum):
    """What happens when a new result comes."""

    BLEND = "blend"
    """Objects glide into their new masks, new ones fade in, vanished ones fade out: for the eye."""
    AT_ONCE = "at once"
    """The frame that was inferred shows exactly its own result: for recordings and their data."""


class FlowCarrier:
    """Carries instances along the optical flow between the presented frames. See `pipeline.join.Carrier`.

    Memory is bounded by `settings.max_age_s`: older flow is forgotten, and older results are not shown.

    Args:
        settings: width of the small frames, times.
        landing: whether new results are blended in.
    """

    def __init__(self, settings: MotionSettings, landing: Landing = Landing.BLEND) -> None:
        self._max_age_s = settings.max_age_s
        self._blend_s = settings.blend_s if landing is Landing.BLEND else 0.0
        self._fade_s = settings.fade_s if landing is Landing.BLEND else 0.0
        self._trail = FlowTrail(settings.flow_width, settings.max_age_s)
        self._shown = Shown.nothing()
        self._landed_index: int | None = None
        self._time_s: float | None = None
        self._elapsed_s = 0.0

    def see(self, frame: Frame) -> None:
        """Learn the motion from the frame before to this one; a new scene drops everything that was on screen."""
        self._elapsed_s = max(0.0, frame.pts_s - self._time_s) if self._time_s is not None else 0.0
        self._time_s = frame.pts_s
        if self._trail.see(frame):
            self._shown = self._shown.advance(self._trail.last)
        else:
            self._shown = Shown.nothing()

    def carry(self, result: SegmentedFrame, frame: Frame) -> Instances:
        """The instances as they lie on `frame`, the one last seen; `opacity` says what fades."""
        scale = self._trail.width / frame.width, self._trail.height / frame.height
        if result.frame.index != self._landed_index:
            self._landed_index = result.frame.index
            self._shown = successor(
                self._shown, self._bring(result, scale), scale, frame.pts_s, self._elapsed_s, self._blend_s
            )
        self._shown = self._shown.fade(frame.pts_s, self._elapsed_s, self._fade_s, self._max_age_s)
        return self._shown.on_frame(scale, frame, self._blend_s)

    def _bring(self, result: SegmentedFrame, scale: tuple[float, float]) -> Shown:
        """A result, brought from its own frame to the last one seen; nothing if the way is lost."""
        way = self._trail.since(result.frame)
        if way is None:
            return Shown.nothing()
        grey, steps = way
        instances = result.instances
        boxes = instances.boxes_xyxy
        # A box without an area, or not a number, cannot be followed.
        sound = np.asarray(np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))
        if not sound.all():
            instances = instances.select(sound)
        bodies = Bodies.of(instances, scale, grey, result.frame.pts_s)
        return Shown.new(instances, bodies.through(steps), result.frame.pts_s)
