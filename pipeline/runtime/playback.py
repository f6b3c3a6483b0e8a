"""When the frames of a recorded source are presented: at their own speed for a viewer, not while one pauses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pipeline.controls import Controls
from pipeline.records import Clock, Frame, SourceKind
from pipeline.runtime.plan import SourcePlan
from pipeline.sinks.base import Sink
from pipeline.sources.base import Pacer, Source

MAX_LAG_S = 0.25
"""A file that the machine segments more slowly than it plays, or that was paused, does not catch up beyond this."""


class Playback:
    """Delays the frames of a recorded source, and passes seeks on to it; in the thread that presents.

    Args:
        source: seeks.
        plan: live frames are not delayed.
        sinks: pause, or want a file at its own speed.
        controls: hold the seek that a viewer has requested.
        discard: drops the frames that wait for inference.
        ended: whether the source was read to its end, so that it cannot be sought in.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: Source,
        plan: SourcePlan,
        sinks: Sequence[Sink],
        controls: Controls,
        discard: Callable[[], None],
        ended: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._source = source
        self._live = plan.live
        self._paced = not plan.live and plan.source.kind is SourceKind.RECORDED and any(sink.paced for sink in sinks)
        self._sinks = sinks
        self._controls = controls
        self._discard = discard
        self._ended = ended
        self._clock = clock
        self._pacer = Pacer(clock)

    @property
    def paused(self) -> bool:
        """Whether a sink holds the source."""
        return not self._live and any(sink.paused for sink in self._sinks)

    def seek_if_requested(self) -> None:
        """Seek where a viewer wants to; a source that has ended stays there, and its viewers are told."""
        if self._ended():
            self._controls.end_seeking()
        position_s = self._controls.take_seek()
        if position_s is not None:
            self._discard()  # first: what comes afterwards may be from there already
            self._source.seek(position_s)
            self._pacer = Pacer(self._clock)

    def is_stale(self, frame: Frame) -> bool:
        """Whether the frame was read before the last seek."""
        return frame.index < self._source.state.fresh_from

    def wait_s(self, frame: Frame) -> float:
        """How long to wait before this frame is presented, seconds; 0 if it is due."""
        if self.paused:
            return math.inf
        return max(0.0, self._pacer.lead_s(frame.pts_s, MAX_LAG_S)) if self._paced else 0.0
