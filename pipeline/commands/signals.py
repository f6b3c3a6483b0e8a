"""What Ctrl-C and SIGTERM do: the run ends in order where there is one, else everything unwinds."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

Handler = Callable[[int, FrameType | None], None]


class Terminated(KeyboardInterrupt):
    """SIGTERM while there is no run that could be ended in order: everything unwinds, as with Ctrl-C."""


def unwind(number: int, _: FrameType | None) -> NoReturn:
    """A handler: raises Terminated for SIGTERM, KeyboardInterrupt for any other signal."""
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


@contextlib.contextmanager
def handled(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """These signals go to `handler` inside the block. Outside of the main thread, nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
