"""Carries masks between results: warps the newest result onto each presented frame.

The objects on screen follow the flow (`flow_targets.py`), blend into each new result (`blend.py`), and fade out when
they are occluded or too old.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from pipeline.motion.blend import DisplayState, Scale, match_by_track_id, start_transition
from pipeline.motion.flow import FlowHistory, FlowStep
from pipeline.motion.flow_targets import Targets
from pipeline.records import Frame, Instances, UnredactedFrame
from pipeline.settings.presentation_settings import CarryMode, MotionSettings

MAX_STEPS_PER_FRAME = 12
"""Flow steps by which a late result catches up while one frame is presented. A later result takes several frames, since
a display that stalls is worse."""


class Carrier:
    """Propagates the instances of an earlier frame to the frame that is presented: here, it holds them in place."""

    def see(self, frame: Frame) -> None:
        """Take every presented frame, in order, before `carry`: to estimate the motion between them."""

    def carry(self, result: UnredactedFrame, frame: Frame) -> Instances:
        """The instances of `result` at their places on `frame`, which is the same frame or a later one.

        They are empty where the source came back with another size meanwhile.
        """
        same_size = (frame.width, frame.height) == (result.frame.width, result.frame.height)
        return result.instances if same_size else Instances.empty()


def make_carrier(settings: MotionSettings, live: bool) -> Carrier:
    """The carrier that the settings name.

    Live runs blend new results in: objects blend into their new masks, new ones fade in, vanished ones fade out.
    Recorded ones show exactly the own result of each inferred frame.
    """
    if settings.carry is CarryMode.HOLD:
        return Carrier()
    return FlowCarrier(settings if live else settings.model_copy(update={"blend_s": 0.0, "fade_s": 0.0}))


class FlowCarrier(Carrier):
    """Carries instances along the optical flow between the presented frames.

    Memory is bounded by `settings.max_age_s`: older flow is dropped, and older results are not shown.

    Args:
        settings: width of the downscaled frames, times.
    """

    def __init__(self, settings: MotionSettings) -> None:
        import scipy.optimize  # noqa: F401 -- takes 0.3 s, which the first frames would wait for

        self._settings = settings
        self._history = FlowHistory(settings.flow_width, settings.max_age_s)
        self._displayed = DisplayState.empty()
        self._result_index: int | None = None
        self._pending: DisplayState | None = None  # the newest result, until it has caught up
        self._pending_steps: deque[FlowStep] = deque()
        self._pending_is_new = False
        self._step: FlowStep | None = None  # by which what is displayed lags
        self._time_s: float | None = None
        self._elapsed_s = 0.0
        self._ids_since_cut: NDArray[np.int32] | None = None

    def see(self, frame: Frame) -> None:
        """Computes the flow from the frame before to this one. A scene cut clears the screen."""
        self._elapsed_s = max(0.0, frame.pts_s - self._time_s) if self._time_s is not None else 0.0
        self._time_s = frame.pts_s
        self._advance_displayed()
        if self._history.add(frame):
            self._step = self._history.last
            if self._pending is not None:
                self._pending_steps.append(self._step)
        else:
            self._displayed = DisplayState.empty()
            self._pending = None
            self._ids_since_cut = np.zeros(0, np.int32)

    def carry(self, result: UnredactedFrame, frame: Frame) -> Instances:
        """The instances warped onto `frame`, the last one passed to `see`; `opacity` is below 1 while one fades."""
        scale = self._history.width / frame.width, self._history.height / frame.height
        if result.frame.index != self._result_index:
            self._result_index = result.frame.index
            self._accept(result, scale)
        if self._pending is not None:
            self._catch_up(self._pending)
        self._advance_displayed()
        if self._pending is not None and not self._pending_steps:
            self._displayed = start_transition(
                self._displayed, self._pending, scale, frame.pts_s, self._elapsed_s, self._settings.blend_s
            )
            self._pending = None
        self._displayed = self._displayed.fade(
            frame.pts_s, self._elapsed_s, self._settings.fade_s, self._settings.max_age_s
        )
        return self._displayed.visible_instances(scale, frame, self._settings.blend_s)

    def _accept(self, result: UnredactedFrame, scale: Scale) -> None:
        """Makes a result pending: an empty one if there is no flow from its frame to the newest."""
        found = self._history.steps_since(result.frame)
        if found is None:
            self._pending, self._pending_steps = DisplayState.empty(), deque()
            return
        gray, steps = found
        instances = result.instances
        boxes = instances.boxes_xyxy
        # Boxes with NaN or without an area cannot be tracked.
        valid = np.asarray(np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1))
        if not valid.all():
            instances = instances.select(valid)
        instances = self._without_leftovers(instances)
        targets = Targets.from_instances(instances, scale, gray, result.frame.pts_s)
        self._pending = DisplayState.invisible(instances, targets, result.frame.pts_s)
        self._pending_steps = deque(steps)
        self._pending_is_new = True

    def _without_leftovers(self, instances: Instances) -> Instances:
        """Drops the objects that the tracker holds although they were last detected before a scene cut."""
        if self._ids_since_cut is None or instances.track_ids is None:
            return instances
        if instances.opacity is not None:
            detected = instances.opacity >= 1
            instances = instances.select(detected | np.isin(instances.track_ids, self._ids_since_cut))
        self._ids_since_cut = instances.track_ids
        return instances

    def _advance_displayed(self) -> None:
        """Advances what is on screen to the newest frame, unless that is done."""
        if self._step is not None:
            self._displayed = self._displayed.with_targets(self._displayed.targets.advance(self._step))
            self._step = None

    def _catch_up(self, pending: DisplayState) -> None:
        """Advances the pending result; its last step together with what is on screen, which saves time."""
        complete = self._pending_is_new and len(self._pending_steps) <= MAX_STEPS_PER_FRAME
        self._pending_is_new = False
        steps = [self._pending_steps.popleft() for _ in range(min(MAX_STEPS_PER_FRAME, len(self._pending_steps)))]
        last = self._step if steps and steps[-1] is self._step else None
        earlier = steps if last is None else steps[:-1]
        if earlier:
            targets = self._advance(pending, earlier) if complete else pending.targets.advance_through(earlier)
            pending = pending.with_targets(targets)
        if last is not None:
            displayed, targets = self._displayed.targets.advance_jointly(pending.targets, last)
            self._displayed, self._step = self._displayed.with_targets(displayed), None
            pending = pending.with_targets(targets)
        self._pending = pending

    def _advance(self, pending: DisplayState, steps: list[FlowStep]) -> Targets:
        """A new result's targets after the steps to the frame on screen, guided by the same objects on screen."""
        targets, displayed = pending.targets, self._displayed.targets
        pairs = match_by_track_id(self._displayed.source, pending.source)
        pairs = [(i, j) for i, j in pairs if displayed.occluded_s[i] == 0]
        if not pairs:
            return targets.advance_through(steps)
        references, known = np.array(pairs, np.intp).T
        advanced = targets.select(known).advance_like(displayed.select(references), steps)
        new = np.setdiff1d(np.arange(len(targets)), known)
        if len(new):
            advanced = advanced.concatenate(targets.select(new).advance_through(steps))
        return advanced.select(np.argsort(np.concatenate([known, new])))
