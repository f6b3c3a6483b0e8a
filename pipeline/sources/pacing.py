"""Paces frames by an injected clock; another thread can interrupt the wait."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from pipeline.records import Clock

MAX_WAIT_S = 0.25
"""How often the clock is read at least: an injected clock may run at another speed than the system's."""


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
