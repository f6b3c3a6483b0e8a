"""A source whose frames have the timestamps that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.sources.base import Source

MS = Fraction(1, 1000)


class FakeSource(Source):
    """Frames with the given pts in milliseconds."""

    def __init__(self, pts_ms: Sequence[int], kind: SourceKind = SourceKind.RECORDED, **info: object) -> None:
        self.info = replace(SourceInfo("fake", kind, 4, 3, time_base=MS, description="a fake"), **info)
        self.pts_ms = list(pts_ms)
        self.index = 0
        self.interrupted = self.closed = False
        self.state.text, self.state.reconnects = "fake is gone", 3

    def open(self) -> SourceInfo:
        return self.info

    def read(self) -> Frame | None:
        if self.interrupted or self.index == len(self.pts_ms):
            return None
        self.index += 1
        pts = self.pts_ms[self.index - 1]
        return Frame("fake", self.index - 1, pts, MS, -1.0, np.full((3, 4, 3), self.index - 1, np.uint8))

    def close(self) -> None:
        self.closed = True

    def interrupt(self) -> None:
        self.interrupted = True
