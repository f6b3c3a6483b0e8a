"""Settings of OpenCV that hold for the whole process, changed only while a caller needs them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import cv2


class _Held:
    """A setting that several threads may hold at a value; when the last one leaves, the old value returns.

    Args:
        read, write: get and set it.
        value: the value inside `held`.
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


quiet_opencv = _Held(
    cv2.utils.logging.getLogLevel, cv2.utils.logging.setLogLevel, cv2.utils.logging.LOG_LEVEL_SILENT
).held
"""Context manager: OpenCV prints nothing inside the block, since our own error says what went wrong, once."""

one_opencv_thread = _Held(cv2.getNumThreads, cv2.setNumThreads, 1).held
"""Context manager: OpenCV computes in the calling thread inside the block.

With more threads OpenCV's pool busy-waits between calls: for the hundreds of small calls a second of a live run
that costs far more processor time than the calls themselves.
"""
