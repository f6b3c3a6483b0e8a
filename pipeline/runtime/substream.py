"""A camera's sub-stream: the same scene in a smaller picture, which the network gets in place of the main stream's."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from pipeline.records import Frame
from pipeline.sources.base import Source
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed, Stage

log = logging.getLogger(__name__)

STALE_S = 1.0
"""Without a picture for longer, the network gets the frames of the main stream; redaction covers the whole frame when
results are two seconds old."""
MOST_SKEW_S = 0.1
"""A picture further in time from every frame of the main stream is not inferred: its masks would lie beside a moving
object. Half an interval of a main stream of 5 frames a second."""
CLOSE_DEADLINE_S = 2.0
"""How long `close` waits for the thread; a connection that hangs is left behind by the source."""


class Substream:
    """Reads a sub-stream in a thread, and pairs its newest picture with a frame of the main stream.

    Args:
        source: closed; a live one that reconnects by itself.
        errors: where a failure of the thread is reported. A stream that is lost is none.
    """

    def __init__(self, source: Source, errors: FirstError) -> None:
        self._source = source
        self._newest: Slot[Frame] = Slot(1, Overflow.DROP_OLDEST)
        self._stage = Stage("sub-stream", self._read, errors, outlets=(self._newest,))
        self._before: Frame | None = None
        self._last_index = -1
        self._picture_at_s: float | None = None
        self._lost = False

    def start(self) -> None:
        """Open and read the sub-stream, in a thread."""
        self._stage.start()

    def interrupt(self) -> None:
        """End the thread soon; from any thread."""
        self._source.interrupt()

    def close(self) -> None:
        """End the thread. May be called without `start`."""
        self.interrupt()
        self._stage.join(CLOSE_DEADLINE_S)

    def to_infer(self, frame: Frame) -> Frame | None:
        """Returns what to infer now that the main stream has given a frame; None: nothing new.

        It is the frame nearest in time to the newest picture, this one or the one before, with the picture as its
        `substitute`; without a sub-stream, the frame itself. Each picture and each frame is inferred once at most.

        Args:
            frame: the next captured one, in order.
        """
        before, self._before = self._before, frame
        picture = self._take()
        if picture is not None:
            self._picture_at_s = picture.captured_at_s
        elif self._picture_at_s is None:
            self._picture_at_s = frame.captured_at_s  # it has as long to appear as it may be silent later
        self._note_loss(frame)
        if self._lost:
            return self._chosen(frame)
        if picture is None:
            return None
        candidates = [one for one in (before, frame) if one is not None and one.index > self._last_index]
        paired = min((replace(one, substitute=picture) for one in candidates), key=lambda one: one.skew_s)
        return self._chosen(paired) if paired.skew_s <= MOST_SKEW_S else None

    def _chosen(self, frame: Frame) -> Frame:
        self._last_index = frame.index
        return frame

    def _take(self) -> Frame | None:
        with suppress(SlotClosed):
            return next(iter(self._newest.get_all()), None)
        return None

    def _note_loss(self, frame: Frame) -> None:
        assert self._picture_at_s is not None
        lost = frame.captured_at_s - self._picture_at_s > STALE_S
        if lost is self._lost:
            return
        self._lost = lost
        name = frame.camera or frame.source_id
        if lost:
            log.warning("%s: no picture of the sub-stream for %g s; the network gets the main stream", name, STALE_S)
        else:
            log.warning("%s: the sub-stream is back", name)

    def _read(self) -> None:
        try:
            self._source.open()
            while (picture := self._source.read()) is not None:
                self._newest.put(picture)
        finally:
            self._source.close()
