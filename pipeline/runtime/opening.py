"""Opens a source in a thread of its own, so that `stop()` and signals need not wait for a server or a driver."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.errors import RunError
from pipeline.records import SourceInfo
from pipeline.sources.base import Source
from pipeline.threads.slot import Overflow, Slot, SlotClosed
from pipeline.threads.stage import FirstError, Stage

POLL_S = 1 / 30
INTERRUPT_LIMIT_S = 1.0
"""How long an interrupted source may take to return; then its thread is left behind and closes it whenever it does."""


class Opening:
    """Opens a source; `close` releases it, also while it is still being opened.

    Args:
        source: closed.
        errors: where a failure to open is reported.
        stopped: whether the run was stopped meanwhile.
    """

    def __init__(self, source: Source, errors: FirstError, stopped: Callable[[], bool]) -> None:
        self._source = source
        self._errors = errors
        self._stopped = stopped
        self._opened: Slot[SourceInfo] = Slot(1, Overflow.WAIT)
        self._stage = Stage("source", self._open, errors, outlets=(self._opened,))
        self._lock = threading.Lock()
        self._returned = False
        self._abandoned = False

    def info(self) -> SourceInfo:
        """Open the source and return what it is.

        Raises:
            SlotClosed: it failed, which was reported.
            RunError: the run was stopped before the source was open.
        """
        self._stage.start()
        while not self._stopped():
            try:
                return self._opened.get(POLL_S)
            except TimeoutError:
                continue
            except SlotClosed:
                if not self._stopped():
                    raise
        raise RunError("stopped before the source was open")

    def close(self) -> None:
        """Close the source: now, or when it returns from being opened."""
        self._source.interrupt()
        self._stage.wait(INTERRUPT_LIMIT_S)
        with self._lock:
            self._abandoned = True
            returned = self._returned
        if returned:
            self._source.close()

    def _open(self) -> None:
        try:
            self._opened.put(self._source.open())
        finally:
            with self._lock:
                self._returned = True
                abandoned = self._abandoned
            if abandoned:
                self._source.close()
