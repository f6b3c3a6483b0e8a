"""A camera's sub-stream: the same scene in a smaller picture, which the network gets in place of the main stream's."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace

from pipeline.records import Clock, Frame
from pipeline.runtime.stream_lag import StreamLag
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.base import Source
from pipeline.sources.factory import make_detect_source
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed, Stage
from pipeline.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

STALE_S = 1.0
"""Without a picture for longer, the network gets the frames of the main stream; redaction covers the whole frame when
results are two seconds old."""
MOST_ARRIVED = 16
"""Pictures kept that arrive between two frames of the main stream."""
MOST_HELD_BYTES = 64 << 20
"""Memory for frames of the main stream that wait for a sub-stream that is later."""
CLOSE_DEADLINE_S = 2.0
"""How long an interrupted source may take to return; then its thread is left behind, and closes it whenever it does."""


class Substream:
    """Reads a sub-stream in a thread, and pairs its pictures with frames of the main stream.

    Args:
        source: closed; a live one that reconnects by itself.
        errors: where a failure of the thread is reported. A stream that is lost is none.
        clock: seconds, monotonic.
    """

    def __init__(self, source: Source, errors: FirstError, clock: Clock = time.monotonic) -> None:
        self._source = source
        self._arrived: Slot[Frame] = Slot(MOST_ARRIVED, Overflow.DROP_OLDEST)
        self._stage = Stage("sub-stream", self._read, errors, outlets=(self._arrived,))
        self._lag = StreamLag()
        self._pictures: deque[Frame] = deque()  # that the main stream has not caught up with
        self._frames: deque[Frame] = deque()  # the newest of the main stream
        self._last_index = -1
        self._arrived_at_s: float | None = None
        self._lost = False
        self._has_come = False
        self._log = ThrottledLog(log, clock)

    def start(self) -> None:
        """Open and read the sub-stream, in a thread."""
        self._stage.start()

    def interrupt(self) -> None:
        """End the thread soon; from any thread."""
        self._source.interrupt()

    def close(self) -> None:
        """End the thread. May be called without `start`."""
        self.interrupt()
        self._stage.wait(CLOSE_DEADLINE_S)
        self._log.summarize(at_end=True)

    def to_infer(self, frame: Frame) -> Frame | None:
        """Returns what to infer now that the main stream has given a frame; None: nothing new.

        It is the frame nearest in time to the newest picture, this one or an earlier one, with the picture as its
        `substitute`; without a sub-stream, the frame itself. Each picture and each frame is inferred once at most.

        Args:
            frame: the next captured one, in order.
        """
        self._lag.see_frame(frame)
        self._hold(frame)
        picture = self._due(frame)
        self._note_loss(frame)
        if self._lost:
            chosen = frame
        elif picture is not None:
            chosen = min((replace(one, substitute=picture) for one in self._frames), key=lambda one: one.skew_s)
        else:
            return None
        if chosen.index <= self._last_index:
            return None
        self._last_index = chosen.index
        return chosen

    def _hold(self, frame: Frame) -> None:
        """Keep the frame, and those before it that a picture may still be nearest to; at least the last one."""
        self._frames.append(frame)
        behind_s = max(0.0, -self._lag.seconds)
        most = max(2, MOST_HELD_BYTES // frame.image_bgr.nbytes)
        while len(self._frames) > 2 and (
            len(self._frames) > most or self._frames[1].captured_at_s < frame.captured_at_s - behind_s
        ):
            self._frames.popleft()

    def _due(self, frame: Frame) -> Frame | None:
        """The newest picture that the main stream has caught up with, at the time at which it does."""
        with suppress(SlotClosed):
            for picture in self._arrived.get_all():
                self._arrived_at_s = picture.captured_at_s
                self._has_come = True
                self._lag.see_picture(picture)
                self._pictures.append(picture)
        due = None
        while self._pictures and self._pictures[0].captured_at_s + self._lag.seconds <= frame.captured_at_s:
            due = self._pictures.popleft()
        return None if due is None else replace(due, captured_at_s=due.captured_at_s + self._lag.seconds)

    def _note_loss(self, frame: Frame) -> None:
        self._log.summarize()
        if self._arrived_at_s is None:
            self._arrived_at_s = frame.captured_at_s  # it has as long to appear as it may be silent later
        lost = frame.captured_at_s - self._arrived_at_s > STALE_S
        if lost is self._lost:
            return
        self._lost = lost
        name = frame.camera or frame.source_id
        if lost and not self._has_come:  # an RTSP stream takes longer than that to open
            self._log.write(logging.INFO, f"{name}: the network gets the main stream until the sub-stream is there")
        elif lost:
            text = f"{name}: no picture of the sub-stream for {STALE_S:g} s; the network gets the main stream"
            self._log.write(logging.WARNING, text)
        else:
            self._log.write(logging.WARNING, f"{name}: the network gets the sub-stream")

    def _read(self) -> None:
        try:
            self._source.open()
            while (picture := self._source.read()) is not None:
                self._arrived.put(picture)
        finally:
            self._source.close()


def make_substream(settings: SourceSettings, errors: FirstError, clock: Clock) -> Substream | None:
    """The sub-stream that the settings name; None without one. Raises InputError if it cannot be one."""
    source = make_detect_source(settings, clock)
    return None if source is None else Substream(source, errors, clock)
