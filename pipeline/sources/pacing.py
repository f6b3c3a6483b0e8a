"""Waiting until a moment of an injected clock, in a way that another thread can end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipeline.sources.base import Clock

LONGEST_WAIT_S = 0.25
"""The clock is looked at again at least this often: a clock that is not the system's may run at another speed."""


class Pacer:
    """Waits on a clock until `interrupt()`.

    Args:
        clock: seconds, monotonic.
        wait: waits that many real seconds at most and says whether `interrupt()` was called; for tests, whose clock
            this call can move on. By default a wait that `interrupt()` ends.
    """

    def __init__(self, clock: Clock = time.monotonic, wait: Callable[[float], bool] | None = None) -> None:
        self._clock = clock
        self._interrupted = threading.Event()
        self._wait = wait if wait is not None else self._interrupted.wait

    @property
    def interrupted(self) -> bool:
        """True once `interrupt` was called."""
        return self._interrupted.is_set()

    def until(self, due_s: float) -> bool:
        """Wait until the clock shows `due_s` (not at all if it is past). False if `interrupt()` ended the wait."""
        while not self.interrupted:
            left_s = due_s - self._clock()
            if left_s <= 0:
                return True
            if self._wait(min(left_s, LONGEST_WAIT_S)):
                return False
        return False

    def interrupt(self) -> None:
        """End this and every later wait at once."""
        self._interrupted.set()
