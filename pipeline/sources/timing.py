"""The time of frames: timestamps that only run forward, and waiting until a frame is due."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from fractions import Fraction

from pipeline.records import Clock

ROUNDING_S = 1e-9
"""Tolerance for the rounding of sums of floating-point seconds."""

JUMP_BACK_S = 1.0
"""A larger step back starts a new recording (files joined end to end); a smaller one is a frame out of order."""

MAX_WAIT_S = 0.25
"""How often the clock is read at least: an injected clock may run at another speed than the system's."""


class PtsClock:
    """Repairs timestamps frame by frame.

    The rules, in ticks of the stream's time base:

    - `pts - origin` is kept wherever it is larger than the previous time: variable frame rates survive.
    - A missing pts becomes the previous time plus the previous frame's duration.
    - A pts that repeats or steps back by at most JUMP_BACK_S becomes the previous time plus one tick: one bad value
      does not shift the frames after it.
    - A pts that steps back further moves the origin: this frame follows the previous one by that frame's duration, and
      all later ones shift by the same amount.

    Args:
        origin: subtracted from every pts, in ticks; None for the first pts, so that the first frame is at 0.
        time_base: seconds per tick.
        step: the nominal frame duration in ticks, 1 or more, for frames without a duration.
    """

    def __init__(self, origin: int | None, time_base: Fraction, step: int) -> None:
        self._origin = origin
        self._jump_back = max(1, round(Fraction(JUMP_BACK_S) / time_base))
        self._step = max(1, step)
        self._last_duration = self._step
        self.last: int | None = None
        """Time of the newest frame in ticks; None before the first."""
        self.repaired = False
        """Whether the newest frame's pts was missing or ran backward."""

    def next(self, pts: int | None, duration: int | None = None) -> int:
        """The time of the next frame in ticks from the origin, larger than every earlier time."""
        last, self.repaired = self.last, True
        if self._origin is None:
            self._origin = pts or 0
        if pts is None:
            ticks = 0 if last is None else last + self._last_duration
        elif last is None or pts - self._origin > last:
            ticks, self.repaired = pts - self._origin, False
        elif last - (pts - self._origin) <= self._jump_back:
            ticks = last + 1
        else:
            ticks = last + self._last_duration
            self._origin = pts - ticks
        self.last = ticks
        self._last_duration = duration if duration is not None and duration > 0 else self._step
        return ticks


class Pacer:
    """Waits on a clock until `interrupt()`.

    Args:
        clock: seconds, monotonic.
        wait: waits at most that many real seconds and returns whether `interrupt()` was called. Tests substitute one
            that advances their clock.
    """

    def __init__(self, clock: Clock = time.monotonic, wait: Callable[[float], bool] | None = None) -> None:
        self._clock = clock
        self._interrupted = threading.Event()
        self._wait = wait if wait is not None else self._interrupted.wait
        self._offset_s: float | None = None

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._interrupted.is_set()

    def until(self, due_s: float) -> bool:
        """Wait until the clock reaches `due_s`, if it has not yet. Returns False if `interrupt()` ended the wait."""
        while not self.interrupted:
            left_s = due_s - self._clock()
            if left_s <= 0:
                return True
            if self._wait(min(left_s, MAX_WAIT_S)):
                return False
        return False

    def until_due(self, pts_s: float, max_lag_s: float = math.inf) -> bool:
        """Wait until a frame is due, counting from the first one. Returns False if `interrupt()` ended the wait.

        Args:
            pts_s: presentation time of the frame, seconds.
            max_lag_s: a frame that is earlier or later than this resynchronizes, rather than catching up.
        """
        now_s = self._clock()
        if self._offset_s is None or abs(self._offset_s + pts_s - now_s) > max_lag_s:
            self._offset_s = now_s - pts_s
        return self.until(self._offset_s + pts_s)

    def interrupt(self) -> None:
        """End the current and every later wait at once."""
        self._interrupted.set()
