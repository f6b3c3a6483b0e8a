"""A video file that is played: repeated at its end, or continued elsewhere when a viewer seeks."""

from __future__ import annotations

import logging
import math
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

from pipeline.errors import InputError, RunError
from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.sources.base import Source, SourceWarnings

log = logging.getLogger(__name__)

SEEK_GAP_S = 61.0
"""By how much the time of the frames advances over a seek: longer than any setting keeps an object or its mask (60 s),
so that nothing is carried over."""
END_MARGIN_S = 1.0
"""A seek leads no closer to the end than this, so that there is something to see."""
DEFAULT_FPS = 25.0


class PlayedSource(Source):
    """Reads parts of one file, one after another, as a single source: indices have no gaps, and pts only increases.

    Args:
        part: makes the unopened source that begins at a position, in seconds from the beginning of the file, and adds
            its problems to the given warnings.
        start_s: where to begin, and where to begin again.
        loops: whether to begin again at the end.
    """

    def __init__(
        self, part: Callable[[float, SourceWarnings], Source], start_s: float = 0.0, loops: bool = False
    ) -> None:
        self._part = part
        self._start_s = start_s
        self._loops = loops
        self._lock = threading.Lock()
        self._inner = part(start_s, self.warnings)
        self._target_s: float | None = None
        self._interrupted = self._ended = False
        self._last: Frame | None = None
        self._shift = self._gap = 0
        self._begins = False

    def open(self) -> SourceInfo:
        info = self._info = self._inner.open()
        if self._loops:
            # Sound is not repeated, and there is no end to count or measure up to.
            info = replace(info, audio=None, frame_count=None, duration_s=None)
        if info.kind is SourceKind.RECORDED:
            length_s = self._info.duration_s
            last_s = math.inf if length_s is None else max(self._start_s, self._start_s + length_s - END_MARGIN_S)
            info = replace(info, seekable_s=(self._start_s, last_s))
        return info

    def read(self) -> Frame | None:
        repeated = False
        while not self._interrupted:
            with self._lock:
                target_s, self._target_s = self._target_s, None
            if target_s is not None:
                self._seek(target_s)
                repeated = False
            frame = self._inner.read()
            if frame is not None:
                return self._continued(frame)
            with self._lock:
                # Without a frame between start and end, it would be repeated forever.
                self._ended = (repeated or not self._loops) and self._target_s is None
                if self._ended:
                    return None
            if self._target_s is None:
                self._repeat()
                repeated = True
        return None

    def seek(self, position_s: float) -> bool:
        """See `Source.seek`."""
        with self._lock:
            if self._ended:
                return False
            self._target_s = position_s
            self.state.fresh_from = sys.maxsize
            return True

    def interrupt(self) -> None:
        self._interrupted = True
        self._inner.interrupt()

    def close(self) -> None:
        self._inner.close()

    def _seek(self, position_s: float) -> None:
        """Continue at a position; without a frame at or after it, the file ends here."""
        try:
            self._continue_at(position_s, SEEK_GAP_S)
        except InputError as error:
            log.warning("%s", error)
        with self._lock:
            if self._target_s is None:
                self.state.fresh_from = self._next_index()

    def _repeat(self) -> None:
        """Begin again."""
        try:
            self._continue_at(self._start_s)
        except InputError as error:
            raise RunError(f"{self._info.source_id} cannot be repeated: {error}") from None

    def _continue_at(self, position_s: float, gap_s: float = 0.0) -> None:
        """Read from a position on.

        Raises:
            InputError: no frame can be read there; `read` of the part gives none either.
            RunError: the file is not the one that it was.
        """
        self._inner.close()
        self._inner = self._part(position_s, self.warnings)
        if self._interrupted:
            self._inner.interrupt()
        info = self._inner.open()
        if (info.width, info.height, info.time_base) != (self._info.width, self._info.height, self._info.time_base):
            raise RunError(f"{info.source_id} has changed since it was opened: it is {info.width}x{info.height} now")
        self._begins, self._gap = True, round(gap_s / info.time_base)

    def _continued(self, frame: Frame) -> Frame:
        """The frame with its place in the sequence of all parts."""
        last = self._last
        if self._begins and last is not None:
            step = last.duration or max(1, round(1 / ((self._info.fps or DEFAULT_FPS) * float(frame.time_base))))
            self._shift = last.pts + step + self._gap - frame.pts
        self._begins = False
        index = self._next_index()
        if self._shift or frame.index != index:
            frame = replace(frame, index=index, pts=frame.pts + self._shift, shift=self._shift)
        self._last = frame
        return frame

    def _next_index(self) -> int:
        return 0 if self._last is None else self._last.index + 1
