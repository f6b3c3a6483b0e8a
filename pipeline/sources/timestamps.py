"""Turns the timestamps of a file into a clock that starts near 0 and only runs forward."""

from __future__ import annotations

from fractions import Fraction

JUMP_BACK_S = 1.0
"""A larger step back starts a new recording (files joined end to end); a smaller one is a frame out of order."""


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
        origin: subtracted from every pts, in ticks.
        time_base: seconds per tick.
        step: the nominal frame duration in ticks, 1 or more, for frames without a duration.
    """

    def __init__(self, origin: int, time_base: Fraction, step: int) -> None:
        self._origin = origin
        self._jump_back = max(1, round(Fraction(JUMP_BACK_S) / time_base))
        self._step = max(1, step)
        self._last_duration = self._step
        self.last: int | None = None
        """Time of the newest frame in ticks; None before the first."""
        self.repaired = False
        """Whether the newest frame's pts was missing or ran backward."""

    def next(self, pts: int | None, duration: int | None) -> int:
        """The time of the next frame in ticks from the origin, larger than every earlier time."""
        last, self.repaired = self.last, True
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
