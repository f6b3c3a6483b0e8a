"""Reopens a lost live source indefinitely, with exponential backoff."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from pipeline.errors import InputError, RunError
from pipeline.records import Clock, Frame, SourceInfo
from pipeline.settings.source_settings import ReconnectSettings
from pipeline.sources.base import Source
from pipeline.sources.live import TIME_BASE, LiveSource
from pipeline.sources.timing import Pacer, PtsClock

log = logging.getLogger(__name__)

MAX_STUCK = 2
"""How many connections may hang in a driver; with so many, one has to end before another is tried."""


class ReconnectingSource(Source):
    """Makes and opens live sources, the next one whenever one is lost.

    If the first `open` fails, that is an error, unless `settings.at_start` allows the source to appear later. After
    that, a read that fails or times out closes the connection, and the next one is tried after `first_delay_s`; each
    further failure doubles the delay, up to `longest_delay_s`, and a frame resets it. Indices and timestamps continue
    across connections, with the measured gap between the timestamps. A source that ends regularly ends this one too.

    Args:
        make: returns a new, unopened source whose frames carry `captured_at_s`.
        settings: the delays.
        clock: seconds, monotonic.
        pacer: does the waiting; for tests.
        expected: stands for the source until it appears; required for `settings.at_start`.
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
        self._opened = False
        self._state_text = ""
        self._name = ""
        self._delay_s = settings.first_delay_s
        self._timestamps = PtsClock(None, TIME_BASE, step=1)
        self._index = 0
        self._reconnects = 0
        self._stuck: list[LiveSource] = []
        self._expected = expected if settings.at_start else None
        self._never_connected = False
        self._reopened_as: SourceInfo | None = None

    def open(self) -> SourceInfo:
        try:
            info = self._connect()
        except (InputError, RunError) as error:
            if self._expected is None:
                raise
            info = self._expected
            self._never_connected = True
            self._lose(str(error), f"{info.source_id} is not connected yet, retrying …")
        self._name = info.source_id
        self._opened = True
        return replace(info, time_base=TIME_BASE)

    def read(self) -> Frame | None:
        while self._opened and not self._pacer.interrupted:
            if self._state_text and not self._reconnect():
                continue
            assert self._source is not None
            try:
                frame = self._source.read()
            except RunError as error:
                self._lose(str(error), f"{self._name} is disconnected, retrying …")
                continue
            return None if frame is None else self._renumber(frame)
        return None

    def close(self) -> None:
        self._opened = False
        self._state_text = ""
        self._drop()

    def interrupt(self) -> None:
        self._pacer.interrupt()
        with self._lock:
            source = self._source
        if source is not None:
            source.interrupt()

    @property
    def state_text(self) -> str:
        return self._state_text

    @property
    def reopened_as(self) -> SourceInfo | None:
        return self._reopened_as

    @property
    def reconnects(self) -> int:
        return self._reconnects

    def _connect(self) -> SourceInfo:
        source = self._make()
        with self._lock:
            self._source = source
        # An `interrupt` that came a moment earlier has not reached this source.
        if self._pacer.interrupted:
            source.interrupt()
        return source.open()

    def _drop(self) -> None:
        with self._lock:
            source, self._source = self._source, None
        if source is not None:
            source.close()
            self.warnings.merge(source.warnings)
            self._stuck.append(source)

    def _lose(self, reason: str, state_text: str) -> None:
        self._state_text = state_text
        log.warning("%s; retrying", reason)
        self._drop()

    def _reconnect(self) -> bool:
        if not self._pacer.until(self._clock() + self._delay_s):
            return False
        self._delay_s = min(2 * self._delay_s, self._settings.longest_delay_s)
        self._stuck = [source for source in self._stuck if source.stuck]
        if len(self._stuck) >= MAX_STUCK:
            return False
        try:
            self._reopened_as = replace(self._connect(), time_base=TIME_BASE)
        except (InputError, RunError) as error:
            log.info("%s", error)
            self._drop()
            return False
        self._reconnects += 0 if self._never_connected else 1
        self._never_connected = False
        self._state_text = ""
        return True

    def _renumber(self, frame: Frame) -> Frame:
        self._delay_s = self._settings.first_delay_s
        pts = self._timestamps.next(round(frame.captured_at_s / TIME_BASE))
        renumbered = replace(frame, index=self._index, pts=pts, time_base=TIME_BASE)
        self._index += 1
        return renumbered
