"""Settings of OpenCV and Python that hold for the whole process, changed only while a caller needs them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import cv2

T = TypeVar("T")


class _Held(Generic[T]):
    """A setting that several threads may hold at a value; when the last one leaves, the old value returns.

    Args:
        read, write: get and set it.
        value: the value inside `held`.
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], object], value: T) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock = threading.Lock()
        self._holders = 0
        self._before = value

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

quick_thread_switches = _Held(sys.getswitchinterval, sys.setswitchinterval, 0.0005).held
"""Context manager: a thread that waits for Python's lock gets it after half a millisecond inside the block.

With dozens of threads, Python's five milliseconds are added to most steps of the network, which then stands still while
cores are idle: with eight cameras it computed 35 frames a second instead of 50.
"""
