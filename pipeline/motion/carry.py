"""Keeps masks on their objects between results: each presented frame gets the newest result, moved onto it.

Three things happen to what is on screen: it follows the flow (`bodies.py`), it goes over into a new result when one
comes (`blend.py`), and it fades when it is lost or too old.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from enum import Enum

import numpy as np

from pipeline.motion.blend import Shown, successor
from pipeline.motion.bodies import Bodies
from pipeline.motion.flow import FlowTrail, Step
from pipeline.records import Frame, Instances, SegmentedFrame
from pipeline.settings import MotionSettings

STEPS_A_FRAME = 12
"""Steps that a late result is brought forward within one frame. One that is later lands a few frames after it came: a
display that stalls is worse."""


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
        self._taken_index: int | None = None
        self._arriving: Shown | None = None
        self._way: deque[Step] = deque()
        self._time_s: float | None = None
        self._elapsed_s = 0.0

    def see(self, frame: Frame) -> None:
        """Learn the motion from the frame before to this one; a new scene drops everything that was on screen."""
        self._elapsed_s = max(0.0, frame.pts_s - self._time_s) if self._time_s is not None else 0.0
        self._time_s = frame.pts_s
        if self._trail.see(frame):
            self._shown = self._shown.advance(self._trail.last)
            if self._arriving is not None:
                self._way.append(self._trail.last)
        else:
            self._shown = Shown.nothing()
            self._arriving = None

    def carry(self, result: SegmentedFrame, frame: Frame) -> Instances:
        """The instances as they lie on `frame`, the one last seen; `opacity` says what fades."""
        scale = self._trail.width / frame.width, self._trail.height / frame.height
        if result.frame.index != self._taken_index:
            self._taken_index = result.frame.index
            self._take(result, scale)
        if self._arriving is not None:
            steps = [self._way.popleft() for _ in range(min(STEPS_A_FRAME, len(self._way)))]
            self._arriving = replace(self._arriving, bodies=self._arriving.bodies.through(steps))
            if not self._way:
                self._land(self._arriving, scale, frame)
        self._shown = self._shown.fade(frame.pts_s, self._elapsed_s, self._fade_s, self._max_age_s)
        return self._shown.on_frame(scale, frame, self._blend_s)

    def _take(self, result: SegmentedFrame, scale: tuple[float, float]) -> None:
        """Begin to bring a result from its own frame to the last one seen; nothing arrives if the way is lost."""
        way = self._trail.since(result.frame)
        if way is None:
            self._arriving, self._way = Shown.nothing(), deque()
            return
        grey, steps = way
        instances = result.instances
        boxes = instances.boxes_xyxy
        # A box without an area, or not a number, cannot be followed.
        sound = np.asarray(np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))
        if not sound.all():
            instances = instances.select(sound)
        bodies = Bodies.of(instances, scale, grey, result.frame.pts_s)
        self._arriving, self._way = Shown.new(instances, bodies, result.frame.pts_s), deque(steps)

    def _land(self, arrived: Shown, scale: tuple[float, float], frame: Frame) -> None:
        self._arriving = None
        self._shown = successor(self._shown, arrived, scale, frame.pts_s, self._elapsed_s, self._blend_s)
