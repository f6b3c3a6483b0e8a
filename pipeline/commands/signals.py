"""Ctrl-C and SIGTERM: an open run ends cleanly; without one, an exception unwinds everything."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM without an open run; unwinds everything, as Ctrl-C does."""


def unwind(number: int, _: FrameType | None) -> NoReturn:
    """A handler: raises Terminated for SIGTERM, KeyboardInterrupt for any other signal."""
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def leave(number: int, _: FrameType | None) -> NoReturn:
    """A handler for while nothing is open: ends the process at once, without the traceback of an unfinished import."""
    os.write(2, b"stream_segment: terminated\n" if number == signal.SIGTERM else b"stream_segment: interrupted\n")
    os._exit(128 + number)


class StopRequest:
    """The first signal stops a run, the second unwinds everything, and so does the first while nothing is open.

    Args:
        stop: lets the run end in its own way; returns False if nothing is open.

    Attributes:
        signal: the number of the last signal; None before the first.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self.signal: int | None = None

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler."""
        again = self.signal is not None
        self.signal = number
        if again or not self._stop():
            unwind(number, None)


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Sends these signals to `handler` inside the block. Does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
