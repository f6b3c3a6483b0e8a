"""Plays a recorded file as if it were a camera."""

from __future__ import annotations

import time
from dataclasses import replace

from pipeline.records import Clock, Frame, SourceInfo, SourceKind
from pipeline.sources.base import Source
from pipeline.sources.pacing import Pacer
from pipeline.sources.wrapper import SourceWrapper


class RealtimeFile(SourceWrapper):
    """Delivers each frame of a file when it is due.

    Frames keep the file's timestamps and audio. A late frame is delivered at once: dropping frames is left to the slot
    behind the capture stage, which counts them.

    Args:
        inner: a recorded source.
        clock: seconds, monotonic.
        pacer: does the waiting; for tests.
    """

    def __init__(self, inner: Source, clock: Clock = time.monotonic, pacer: Pacer | None = None) -> None:
        super().__init__(inner)
        self._clock = clock
        self._pacer = pacer or Pacer(clock)

    def open(self) -> SourceInfo:
        info = self._inner.open()
        return replace(info, kind=SourceKind.LIVE, description=f"{info.description}, played in real time")

    def read(self) -> Frame | None:
        frame = self._inner.read()
        if frame is None or not self._pacer.until_due(frame.pts_s):
            return None
        return replace(frame, captured_at_s=self._clock())

    def interrupt(self) -> None:
        self._pacer.interrupt()
        self._inner.interrupt()
