"""OpenCV without its own lines on the terminal: what went wrong is told once, by us."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2

_lock = threading.Lock()
_inside = 0
_level_before = 0


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV logs nothing inside. Several threads may be inside; when the last one leaves, it is as loud as before."""
    global _inside, _level_before
    opencv_logging = cv2.utils.logging
    with _lock:
        if _inside == 0:
            _level_before = opencv_logging.getLogLevel()
            opencv_logging.setLogLevel(opencv_logging.LOG_LEVEL_SILENT)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                opencv_logging.setLogLevel(_level_before)
