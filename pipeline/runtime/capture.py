"""The capture stage: reads a source and hands every frame on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Protocol

from pipeline.ledger import RunLedger
from pipeline.records import Frame, SourceInfo
from pipeline.sources.base import Source
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.slot import SlotClosed


class Outlet(Protocol):
    """Where captured frames go: a slot, or what lets some frames through to one."""

    def put(self, item: Frame, /) -> None:
        """Take the next frame; may wait. Raises SlotClosed."""
        ...


class CaptureStage:
    """Reads until the source ends, puts each frame into every outlet, and closes the source in the end.

    Args:
        source: an open source; it is closed by `run`, in the thread that reads it.
        outlets: where the frames go; the last one decides whether the frame counts as delivered.
        ledger: every captured frame is entered.
        on_loss: called for the frame in hand when the outlets were closed under it, and for stale ones.
        on_reopened: called when the source came back as something else, before the first frame that it then gives.
        fresh_from_s: for live sources: frames captured before this moment waited while the run was being set up; they
            are not handed on. Seconds on the run's clock.
    """

    def __init__(
        self,
        source: Source,
        outlets: Sequence[Outlet],
        ledger: RunLedger,
        on_loss: Callable[[], None],
        on_reopened: Callable[[SourceInfo], None],
        fresh_from_s: float | None = None,
    ) -> None:
        self._source = source
        self._outlets = outlets
        self._ledger = ledger
        self._on_loss = on_loss
        self._on_reopened = on_reopened
        self._fresh_from_s = fresh_from_s

    def run(self) -> None:
        """Capture. While a live source is read, OpenCV keeps to the threads that call it: see `one_opencv_thread`."""
        live = self._fresh_from_s is not None
        try:
            with one_opencv_thread() if live else nullcontext():
                self._hand_on()
        finally:
            self._source.close()

    def _hand_on(self) -> None:
        reopened_as: SourceInfo | None = None
        while (frame := self._source.read()) is not None:
            if self._source.reopened_as is not reopened_as:
                reopened_as = self._source.reopened_as
                if reopened_as is not None:
                    self._on_reopened(reopened_as)
            self._ledger.captured(frame.captured_at_s)
            if self._fresh_from_s is not None and frame.captured_at_s < self._fresh_from_s:
                self._on_loss()
                continue
            try:
                for outlet in self._outlets:
                    outlet.put(frame)
            except SlotClosed:
                self._on_loss()
                return
            del frame
