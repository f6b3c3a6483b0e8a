"""Settings of OpenCV that belong to the process, for as long as somebody needs them to be different."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import cv2


class _Held:
    """A setting that several threads may hold at a value: when the last one leaves, it is as it was before.

    Args:
        read, write: of the setting.
        value: what it is held at.
    """

    def __init__(self, read: Callable[[], int], write: Callable[[int], object], value: int) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock = threading.Lock()
        self._holders = 0
        self._before = 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            if self._holders == 0:
                self._before = self._read()
                self._write(self._value)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if self._holders == 0:
                    self._write(self._before)


_log_level = _Held(cv2.utils.logging.getLogLevel, cv2.utils.logging.setLogLevel, cv2.utils.logging.LOG_LEVEL_SILENT)
_threads = _Held(cv2.getNumThreads, cv2.setNumThreads, 1)


def quiet_opencv() -> contextlib.AbstractContextManager[None]:
    """OpenCV writes nothing on the terminal inside: what went wrong is told once, by us."""
    return _log_level.held()


def one_opencv_thread() -> contextlib.AbstractContextManager[None]:
    """OpenCV computes in the calling thread inside.

    With more threads OpenCV's pool waits actively between calls: for the hundreds of small calls a second of a live run
    that costs far more processor time than the calls themselves.
    """
    return _threads.held()
