"""Which frames are inferred when not every frame is."""

from __future__ import annotations

from math import floor

from pipeline.records import Frame
from pipeline.threads.slot import Slot


class KeyFrames:
    """Every Nth frame, and no more of them than a rate allows. The first frame is a key frame.

    Two of them that are asked about the same frames, each in order, give the same answers.

    Args:
        every: N, 1 or more.
        fps: key frames a second of the source's time at most; None for no limit.
    """

    def __init__(self, every: int = 1, fps: float | None = None) -> None:
        self._every = every
        self._fps = fps
        self._first: Frame | None = None
        self._turn: int | None = None

    def is_key(self, frame: Frame) -> bool:
        """Whether this frame, the next one, is to be inferred."""
        if self._first is None:
            self._first = frame
        if (frame.index - self._first.index) % self._every:
            return False
        if self._fps is None:
            return True
        # Time is cut into turns of 1 / fps; the first frame in each is a key frame. A little early is in time.
        turn = floor((frame.pts_s - self._first.pts_s) * self._fps + 1e-6)
        if turn == self._turn:
            return False
        self._turn = turn
        return True


class KeyFrameOutlet:
    """Lets only key frames through to a slot.

    Args:
        slot: where they go.
        keys: which they are.
    """

    def __init__(self, slot: Slot[Frame], keys: KeyFrames) -> None:
        self._slot = slot
        self._keys = keys

    def put(self, frame: Frame) -> None:
        """See `Slot.put`."""
        if self._keys.is_key(frame):
            self._slot.put(frame)
