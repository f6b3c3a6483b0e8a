"""What a soak test finds in the files that a run has written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.soak_verdict import Recording


def decoded(path: Path, look: Callable[[NDArray[np.uint8]], None] = lambda _: None) -> Recording:
    """Decode a file to its end with OpenCV, and count with PyAV the frames that its container lists.

    Args:
        path: the file.
        look: called with each frame, uint8 (H, W, 3) BGR.
    """
    video, count = cv2.VideoCapture(str(path)), 0
    while (read := video.read())[0]:
        look(np.asarray(read[1], np.uint8))
        count += 1
    video.release()
    try:
        with av.open(str(path)) as container:
            listed = sum(packet.size > 0 for packet in container.demux(video=0))
    except av.FFmpegError as error:
        return Recording(path.name, count, 0, f"cannot be opened: {error.strerror}")
    return Recording(path.name, count, listed)


def whole_lines(path: Path) -> int:
    """Lines of a JSON Lines file; raises ValueError where one is no JSON."""
    if not path.is_file():
        return 0
    with path.open(encoding="utf-8") as lines:
        return sum(1 for line in lines if json.loads(line))
