"""Chooses keyframes: the frames to infer where not every frame is inferred."""

from __future__ import annotations

from math import floor

from pipeline.records import Frame
from pipeline.threads.slot import Slot


class Keyframes:
    """Every Nth frame, and no more than a rate allows. The first frame is a keyframe.

    Two instances choose the same frames of the same sequence.

    Args:
        every: N, 1 or more.
        fps: keyframes a second of the source's time at most; None for no limit.
    """

    def __init__(self, every: int = 1, fps: float | None = None) -> None:
        self._every = every
        self._fps = fps
        self._first: Frame | None = None
        self._period: int | None = None

    def is_key(self, frame: Frame) -> bool:
        """Whether to infer this frame. Frames come in order, each once."""
        if self._first is None:
            self._first = frame
        if (frame.index - self._first.index) % self._every:
            return False
        if self._fps is None:
            return True
        # The first frame in each period of 1 / fps is a keyframe. A little early counts as in time.
        period = floor((frame.pts_s - self._first.pts_s) * self._fps + 1e-6)
        if period == self._period:
            return False
        self._period = period
        return True


class KeyframeOutlet:
    """Passes only keyframes on to a slot."""

    def __init__(self, slot: Slot[Frame], keys: Keyframes) -> None:
        self._slot = slot
        self._keys = keys

    def put(self, frame: Frame) -> None:
        """See `Slot.put`."""
        if self._keys.is_key(frame):
            self._slot.put(frame)
