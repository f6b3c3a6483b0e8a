"""The slot before inference in a smooth live run, which prefers the frame about to come to one that has waited."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from statistics import median

from pipeline.records import Clock, Frame
from pipeline.threads.stage import Overflow, Slot, SlotClosed

LARGEST_SHARE = 0.25
"""The longest wait for the next frame, as a share of the time that inference takes."""
FRESH = 0.25
"""A frame whose age is less than this share of the interval between frames is not worth a wait."""
LATE = 0.25
"""How much later than expected, in intervals, the next frame may come."""
INTERVALS = 9


class FreshFrames(Slot[Frame]):
    """Holds the newest frame; `get` may wait for the next one when that is due soon.

    A result is shown from the next captured frame on. An inference that begins with a frame just captured ends before
    that frame; one that begins with a frame half an interval old often ends after it, and is shown an interval later.

    Args:
        clock: seconds, monotonic; that of `Frame.captured_at_s`.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(1, Overflow.DROP_OLDEST)
        self._clock = clock
        self._captured_at_s: float | None = None
        self._intervals_s: deque[float] = deque(maxlen=INTERVALS)
        self._given_at_s: float | None = None

    def put(self, item: Frame, timeout_s: float | None = None) -> None:
        """See `Slot.put`."""
        with self._changed:
            if self._captured_at_s is not None:
                self._intervals_s.append(item.captured_at_s - self._captured_at_s)
            self._captured_at_s = item.captured_at_s
        super().put(item, timeout_s)

    def get(self, timeout_s: float | None = None) -> Frame:
        """See `Slot.get`. Without a timeout it waits for the next frame instead of returning one that has waited."""
        asked_at_s = self._clock()
        frame = super().get(timeout_s)
        if timeout_s is None and (wait_s := self._wait_s(frame, asked_at_s)) > 0:
            with suppress(TimeoutError, SlotClosed):
                frame = super().get(wait_s)
        self._given_at_s = self._clock()
        return frame

    def _wait_s(self, frame: Frame, asked_at_s: float) -> float:
        """How long to wait for the frame after this one; 0 to take this one."""
        with self._changed:
            intervals_s = list(self._intervals_s)
        if self._given_at_s is None or len(intervals_s) < INTERVALS:
            return 0.0
        interval_s = median(intervals_s)
        left_s = frame.captured_at_s + interval_s - asked_at_s
        longest_s = LARGEST_SHARE * (asked_at_s - self._given_at_s)
        if asked_at_s - frame.captured_at_s < FRESH * interval_s or left_s > longest_s:
            return 0.0
        return max(0.0, left_s + LATE * interval_s)
