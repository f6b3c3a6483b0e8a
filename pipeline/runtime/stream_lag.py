"""How much later than its sub-stream a camera's main stream arrives, measured on what moves in both."""

from __future__ import annotations

from collections import deque
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.records import Frame, Image

LONGEST_S = 0.4
"""Lags up to this, of either stream, are found: large frames take longer to send and to decode."""
_THUMBNAIL_WH = (64, 36)
_SAMPLES = 256
"""Pixels across a frame from which its thumbnail is made; all of a large one would take milliseconds."""
_LEAST_RATIO, _LEAST_DIFFERENCE = 1.5, 0.2
"""The worst match must be worse than the best by this factor and by these gray levels: else nothing moves."""
_KEPT = 15
"""Pictures of whose lags the median counts: one is only as exact as the interval of the main stream."""

_Thumbnail = tuple[float, NDArray[np.float32]]
"""Time of capture, and float32 (36, 64), 0 … 255: the whole picture in gray, whatever its aspect ratio."""


class StreamLag:
    """Finds, for each picture of a sub-stream, the frame of the main stream that looks most like it.

    Attributes:
        seconds: by how much the main stream is later, negative if it is earlier; 0 until something has moved.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._frames: deque[_Thumbnail] = deque()
        self._pictures: deque[_Thumbnail] = deque()
        self._found: deque[float] = deque(maxlen=_KEPT)

    def see_picture(self, picture: Frame) -> None:
        """Take the next picture of the sub-stream."""
        self._pictures.append(_thumbnail(picture))

    def see_frame(self, frame: Frame) -> None:
        """Take the next frame of the main stream."""
        self._frames.append(_thumbnail(frame))
        while self._pictures and self._pictures[0][0] < frame.captured_at_s - LONGEST_S:
            self._match(*self._pictures.popleft())
        while self._frames[0][0] < frame.captured_at_s - 2 * LONGEST_S:
            self._frames.popleft()

    def _match(self, at_s: float, gray: NDArray[np.float32]) -> None:
        near = [one for one in self._frames if abs(one[0] - at_s) <= LONGEST_S]
        found = [(float(np.abs(gray - other).mean()), frame_at_s - at_s) for frame_at_s, other in near]
        if not found:
            return
        (best, lag_s), (worst, _) = min(found), max(found)
        if worst > _LEAST_RATIO * best and worst > best + _LEAST_DIFFERENCE:
            self._found.append(lag_s)
            self.seconds = median(self._found)


def _thumbnail(frame: Frame) -> _Thumbnail:
    step = max(1, frame.width // _SAMPLES)
    sampled: Image = np.ascontiguousarray(frame.image_bgr[step // 2 :: step, step // 2 :: step])
    small = cv2.resize(cv2.cvtColor(sampled, cv2.COLOR_BGR2GRAY), _THUMBNAIL_WH, interpolation=cv2.INTER_AREA)
    return frame.captured_at_s, np.asarray(small, np.float32)
