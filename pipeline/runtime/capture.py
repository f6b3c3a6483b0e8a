"""Opens a source and reads it, in threads: `stop()` and signals need not wait for a server or a driver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from pipeline.errors import RunError
from pipeline.ledger import RunLedger
from pipeline.records import Frame, SourceInfo
from pipeline.runtime.wiring import Outlet
from pipeline.sources.base import Source
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.stage import FirstError, Overflow, Slot, SlotClosed, Stage

POLL_S = 1 / 30
INTERRUPT_LIMIT_S = 1.0
"""How long an interrupted source may take to return; then its thread is left behind and closes it whenever it does."""


class Opening:
    """Opens a source in a thread of its own; `close` releases it, also while it is still being opened.

    Args:
        source: closed.
        errors: where a failure to open is reported.
        stopped: whether the run was stopped meanwhile; called again and again while the source is being opened.
    """

    def __init__(self, source: Source, errors: FirstError, stopped: Callable[[], bool]) -> None:
        self._source = source
        self._stopped = stopped
        self._opened: Slot[SourceInfo] = Slot(1, Overflow.WAIT)
        self._stage = Stage("source", self._open, errors, outlets=(self._opened,))
        self._first_has_ended = threading.Lock()

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
        self._close_as_second()

    def _open(self) -> None:
        try:
            self._opened.put(self._source.open())
        finally:
            self._close_as_second()

    def _close_as_second(self) -> None:
        """Of the thread that opens and the caller of `close`, whichever comes second closes the source."""
        if not self._first_has_ended.acquire(blocking=False):
            self._source.close()


def capture(
    source: Source,
    outlets: Sequence[Outlet],
    ledger: RunLedger,
    on_loss: Callable[[], None],
    on_reopened: Callable[[SourceInfo], None],
    fresh_from_s: float | None = None,
    mark: Callable[[Frame], Frame] = lambda frame: frame,
) -> None:
    """Read until the source ends, put each frame into every outlet, and close the source in the end.

    While a live source is read, OpenCV keeps to the threads that call it: see `one_opencv_thread`.

    Args:
        source: an open source; it is closed in the thread that reads it.
        outlets: where the frames go; the last one decides whether the frame counts as delivered.
        ledger: every captured frame is entered.
        on_loss: called for the frame in hand when the outlets were closed under it, and for stale ones.
        on_reopened: called when the source came back as something else, before the first frame that it then gives.
        fresh_from_s: for live sources: frames captured before this moment waited while the run was being set up; they
            are not handed on. Seconds on the run's clock.
        mark: gives every frame what the run knows of it; called after `on_reopened`.
    """
    reopened_as = None
    try:
        with one_opencv_thread() if fresh_from_s is not None else nullcontext():
            while (frame := source.read()) is not None:
                before, reopened_as = reopened_as, source.state.reopened_as
                if reopened_as is not None and reopened_as is not before:
                    on_reopened(reopened_as)
                frame = mark(frame)
                ledger.captured(frame.captured_at_s)
                if fresh_from_s is not None and frame.captured_at_s < fresh_from_s:
                    on_loss()
                    continue
                try:
                    for put in outlets:
                        put(frame)
                except SlotClosed:
                    on_loss()
                    return
                del frame
    finally:
        source.close()
