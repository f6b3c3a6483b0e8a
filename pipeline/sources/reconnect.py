"""A live source that goes away is opened again, for ever, with growing pauses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from pipeline.errors import InputError, RunError
from pipeline.records import Frame, SourceInfo
from pipeline.settings.source_settings import ReconnectSettings
from pipeline.sources.base import Clock, Source, SourceState
from pipeline.sources.live import TIME_BASE, ArrivalStamps, LiveSource
from pipeline.sources.pacing import Pacer

log = logging.getLogger(__name__)

MOST_STUCK = 2
"""So many connections may hang in a driver; before a further one is tried, one of them has to end."""


class ReconnectingSource(Source):
    """Wraps a maker of live sources: when one is lost, it makes and opens the next.

    The first `open` that fails is an error, unless `settings.at_start` says to wait for it. Later, a read that fails
    or times out closes the source; after `first_delay_s` it is made anew, and after each further failure the pause
    doubles up to `longest_delay_s`. Indices and time stamps go on: the gap in the time stamps is the true one. A frame
    resets the pause. A source that ends by itself ends this one too.

    Args:
        make: makes a closed source whose frames carry `captured_at_s`.
        settings: the pauses.
        clock: seconds, monotonic.
        pacer: what waits; for tests.
        expected: what is said of the source while it was never there; needed for `settings.at_start`.
    """

    def __init__(
        self,
        make: Callable[[], LiveSource],
        settings: ReconnectSettings,
        clock: Clock = time.monotonic,
        pacer: Pacer | None = None,
        expected: SourceInfo | None = None,
    ) -> None:
        self._make = make
        self._settings = settings
        self._clock = clock
        self._pacer = pacer or Pacer(clock)
        self._lock = threading.Lock()
        self._source: LiveSource | None = None
        self._state = SourceState.CLOSED
        self._state_text = ""
        self._name = ""
        self._delay_s = settings.first_delay_s
        self._stamps = ArrivalStamps()
        self._index = 0
        self._reconnects = 0
        self._stuck: list[LiveSource] = []
        self._expected = expected if settings.at_start else None
        self._never_there = False
        self._reopened_as: SourceInfo | None = None

    def open(self) -> SourceInfo:
        source = self._take(self._make())
        try:
            info = source.open()
        except (InputError, RunError) as error:
            if self._expected is None:
                raise
            return self._wait_for_first(self._expected, str(error))
        self._name = info.source_id
        self._state = SourceState.RUNNING
        return replace(info, time_base=TIME_BASE)

    def read(self) -> Frame | None:
        while not self._pacer.interrupted and self._state is not SourceState.CLOSED:
            if self._state is SourceState.RECONNECTING and not self._reopen():
                continue
            assert self._source is not None
            try:
                frame = self._source.read()
            except RunError as error:
                self._lose(str(error))
                continue
            return None if frame is None else self._renumber(frame)
        return None

    def close(self) -> None:
        self._state = SourceState.CLOSED
        self._state_text = ""
        self._drop()

    def interrupt(self) -> None:
        self._pacer.interrupt()
        with self._lock:
            source = self._source
        if source is not None:
            source.interrupt()

    @property
    def state(self) -> SourceState:
        return self._state

    @property
    def state_text(self) -> str:
        return self._state_text

    @property
    def reopened_as(self) -> SourceInfo | None:
        return self._reopened_as

    @property
    def reconnects(self) -> int:
        return self._reconnects

    def _take(self, source: LiveSource) -> LiveSource:
        """Make it the current one, so that `interrupt` reaches it even if it came a moment earlier."""
        with self._lock:
            self._source = source
        if self._pacer.interrupted:
            source.interrupt()
        return source

    def _wait_for_first(self, expected: SourceInfo, reason: str) -> SourceInfo:
        """Go on without it: `read` will open it as if it had been lost."""
        self._name = expected.source_id
        self._never_there = True
        self._lose(reason)
        self._state_text = f"{self._name} is not there yet, trying again …"
        return replace(expected, time_base=TIME_BASE)

    def _drop(self) -> None:
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.close()
            self._stuck.append(source)

    def _lose(self, reason: str) -> None:
        self._state_text = f"{self._name} is gone, trying again …"
        self._state = SourceState.RECONNECTING
        log.warning("%s; trying again", reason)
        self._drop()

    def _reopen(self) -> bool:
        if not self._pacer.until(self._clock() + self._delay_s):
            return False
        self._delay_s = min(2 * self._delay_s, self._settings.longest_delay_s)
        self._stuck = [source for source in self._stuck if source.stuck]
        if len(self._stuck) >= MOST_STUCK:
            return False
        source = self._take(self._make())
        try:
            self._reopened_as = replace(source.open(), time_base=TIME_BASE)
        except (InputError, RunError) as error:
            log.info("%s", error)
            self._drop()
            return False
        self._reconnects += 0 if self._never_there else 1
        self._never_there = False
        self._state = SourceState.RUNNING
        self._state_text = ""
        return True

    def _renumber(self, frame: Frame) -> Frame:
        self._delay_s = self._settings.first_delay_s
        pts = self._stamps.next(frame.captured_at_s)
        renumbered = replace(frame, index=self._index, pts=pts, time_base=TIME_BASE)
        self._index += 1
        return renumbered
