"""Presentation times as a file gives them, turned into a clock that starts near 0 and only runs forward."""

from __future__ import annotations

from fractions import Fraction

JUMP_BACK_S = 1.0
"""A step back of more than this is a new beginning (recordings joined end to end), not a frame out of order."""


class PtsClock:
    """Repairs time stamps one frame after the other.

    The rules, in ticks of the stream's time base:

    - `pts - origin` is kept as it is wherever it is larger than the frame before: variable frame rates stay.
    - A missing pts becomes the frame before plus that frame's duration.
    - A pts that repeats or steps back by at most JUMP_BACK_S becomes the frame before plus one tick: one bad value does
      not move the frames after it.
    - A pts that steps back further starts a new count: this frame comes one frame duration after the one before, and
      all later ones are moved by the same amount.

    Args:
        origin: what is subtracted from every pts, in ticks.
        time_base: seconds per tick.
        step: the nominal frame duration in ticks, 1 or more, for frames that do not say theirs.
    """

    def __init__(self, origin: int, time_base: Fraction, step: int) -> None:
        self._origin = origin
        self._jump_back = max(1, round(Fraction(JUMP_BACK_S) / time_base))
        self._step = max(1, step)
        self._last: int | None = None
        self._last_duration = self._step
        self.repaired = 0
        """How many time stamps were missing or ran backwards."""

    @property
    def last(self) -> int | None:
        """The newest frame's time in ticks; None before the first."""
        return self._last

    def next(self, pts: int | None, duration: int | None) -> int:
        """The time of the next frame in ticks from the origin, larger than every time before."""
        ticks = self._ticks(pts)
        self._last = ticks
        self._last_duration = duration if duration is not None and duration > 0 else self._step
        return ticks

    def _ticks(self, pts: int | None) -> int:
        last = self._last
        if pts is None:
            self.repaired += 1
            return 0 if last is None else last + self._last_duration
        ticks = pts - self._origin
        if last is None or ticks > last:
            return ticks
        self.repaired += 1
        if last - ticks <= self._jump_back:
            return last + 1
        ticks = last + self._last_duration
        self._origin = pts - ticks
        return ticks
