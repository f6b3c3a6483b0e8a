"""The capture stage: reads a source and hands every frame on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Protocol

from pipeline.records import Frame
from pipeline.sources.base import Source
from pipeline.stats import RunStats
from pipeline.threads.opencv_process import one_opencv_thread
from pipeline.threads.slot import SlotClosed


class Outlet(Protocol):
    """Where captured frames go: a slot, or what lets some frames through to one."""

    def put(self, item: Frame, /) -> None:
        """Take the next frame; may wait. Raises SlotClosed."""
        ...


def capture(
    source: Source,
    outlets: Sequence[Outlet],
    stats: RunStats,
    on_undelivered: Callable[[Frame], None],
    fresh_from_s: float | None = None,
) -> None:
    """Read until the source ends, put each frame into every outlet, close the source in the end.

    While a live source is read, OpenCV keeps to the threads that call it: see `one_opencv_thread`.

    Args:
        source: an open source; it is closed here, in the thread that reads it.
        outlets: where the frames go; the last one decides whether the frame counts as delivered.
        stats: told of every frame captured.
        on_undelivered: called with the frame in hand when the outlets were closed under it, and with stale ones.
        fresh_from_s: for live sources: frames captured before this moment waited while the run was being set up; they
            are not handed on. Seconds on the run's clock.
    """
    live = fresh_from_s is not None
    try:
        with one_opencv_thread() if live else nullcontext():
            _hand_on(source, outlets, stats, on_undelivered, fresh_from_s)
    finally:
        source.close()


def _hand_on(
    source: Source,
    outlets: Sequence[Outlet],
    stats: RunStats,
    on_undelivered: Callable[[Frame], None],
    fresh_from_s: float | None,
) -> None:
    while (frame := source.read()) is not None:
        stats.captured(frame.captured_at_s)
        if fresh_from_s is not None and frame.captured_at_s < fresh_from_s:
            on_undelivered(frame)
            continue
        try:
            for outlet in outlets:
                outlet.put(frame)
        except SlotClosed:
            on_undelivered(frame)
            return
        del frame
