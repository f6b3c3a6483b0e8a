"""Keeps masks on their objects between results: each presented frame gets the newest result, moved onto it.

Three things happen to what is on screen: it follows the flow (`bodies.py`), it goes over into a new result when one
comes (`blend.py`), and it fades when it is lost or too old.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import numpy as np

from pipeline.motion.blend import Shown, successor
from pipeline.motion.bodies import Bodies
from pipeline.motion.flow import FlowTrail, Step
from pipeline.motion.match import by_track
from pipeline.records import Frame, Instances, UnredactedFrame
from pipeline.settings.presentation_settings import MotionSettings

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
    """Carries instances along the optical flow between the presented frames. See `pipeline.runtime.join.Carrier`.

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
        self._untouched = False
        self._step: Step | None = None
        self._time_s: float | None = None
        self._elapsed_s = 0.0

    def see(self, frame: Frame) -> None:
        """Learn the motion from the frame before to this one; a new scene drops everything that was on screen."""
        self._elapsed_s = max(0.0, frame.pts_s - self._time_s) if self._time_s is not None else 0.0
        self._time_s = frame.pts_s
        self._follow()
        if self._trail.see(frame):
            self._step = self._trail.last
            if self._arriving is not None:
                self._way.append(self._step)
        else:
            self._shown = Shown.nothing()
            self._arriving = None

    def carry(self, result: UnredactedFrame, frame: Frame) -> Instances:
        """The instances as they lie on `frame`, the one last seen; `opacity` says what fades."""
        scale = self._trail.width / frame.width, self._trail.height / frame.height
        if result.frame.index != self._taken_index:
            self._taken_index = result.frame.index
            self._take(result, scale)
        if self._arriving is not None:
            self._bring_forward(self._arriving)
        self._follow()
        if self._arriving is not None and not self._way:
            self._land(self._arriving, scale, frame)
        self._shown = self._shown.fade(frame.pts_s, self._elapsed_s, self._fade_s, self._max_age_s)
        return self._shown.on_frame(scale, frame, self._blend_s)

    def _take(self, result: UnredactedFrame, scale: tuple[float, float]) -> None:
        """Begin to bring a result from its own frame to the last one seen; nothing arrives if the way is lost."""
        way = self._trail.since(result.frame)
        if way is None:
            self._arriving, self._way = Shown.nothing(), deque()
            return
        gray, steps = way
        instances = result.instances
        boxes = instances.boxes_xyxy
        # A box without an area, or not a number, cannot be followed.
        sound = np.asarray(np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))
        if not sound.all():
            instances = instances.select(sound)
        bodies = Bodies.of(instances, scale, gray, result.frame.pts_s)
        self._arriving, self._way = Shown.new(instances, bodies, result.frame.pts_s), deque(steps)
        self._untouched = True

    def _follow(self) -> None:
        """Bring what is on screen to the frame last seen, if it is not there yet."""
        if self._step is not None:
            self._shown = self._shown.on_the_way(self._shown.bodies.advance(self._step))
            self._step = None

    def _bring_forward(self, arriving: Shown) -> None:
        """Go on with a late result; the last step of its way it goes together with what is on screen."""
        whole = self._untouched and len(self._way) <= STEPS_A_FRAME
        self._untouched = False
        steps = [self._way.popleft() for _ in range(min(STEPS_A_FRAME, len(self._way)))]
        last = self._step if steps and steps[-1] is self._step else None
        before = steps if last is None else steps[:-1]
        if before:
            bodies = self._along(arriving, before) if whole else arriving.bodies.through(before)
            arriving = arriving.on_the_way(bodies)
        if last is not None:
            shown, bodies = self._shown.bodies.advance_with(arriving.bodies, last)
            self._shown, self._step = self._shown.on_the_way(shown), None
            arriving = arriving.on_the_way(bodies)
        self._arriving = arriving

    def _along(self, arriving: Shown, steps: list[Step]) -> Bodies:
        """A result's bodies after the steps from its frame to where the screen is: where an object of it is on screen
        already, its way is known."""
        bodies, on_screen = arriving.bodies, self._shown.bodies
        pairs = [(i, j) for i, j in by_track(self._shown.origin, arriving.origin) if on_screen.unseen_s[i] == 0]
        if not pairs:
            return bodies.through(steps)
        known, again = np.array(pairs, np.intp).T
        brought = bodies.select(again).like(on_screen.select(known), steps)
        new = np.setdiff1d(np.arange(len(bodies)), again)
        if len(new):
            brought = brought.join(bodies.select(new).through(steps))
        return brought.select(np.argsort(np.concatenate([again, new])))

    def _land(self, arrived: Shown, scale: tuple[float, float], frame: Frame) -> None:
        self._arriving = None
        self._shown = successor(self._shown, arrived, scale, frame.pts_s, self._elapsed_s, self._blend_s)
