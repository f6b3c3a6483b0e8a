"""How many threads OpenCV's functions use."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2

_lock = threading.Lock()
_inside = 0
_threads_before = 0


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """OpenCV computes in the calling thread inside; when the last of several has left, in as many as before.

    The setting belongs to the process. With more threads OpenCV's pool waits actively between calls: for the hundreds
    of small calls a second of a live run that costs far more processor time than the calls themselves.
    """
    global _inside, _threads_before
    with _lock:
        if _inside == 0:
            _threads_before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                cv2.setNumThreads(_threads_before)
