"""A device that plays the steps of a test."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from pipeline.errors import RunError
from pipeline.records import SourceInfo, SourceKind
from pipeline.sources.live import Device, Picture

Step = Picture | BaseException | Callable[[], None] | None


def picture(captured_at_s: float, value: int = 0, size_wh: tuple[int, int] = (32, 24)) -> Picture:
    """A picture of one gray value."""
    return Picture(np.full((size_wh[1], size_wh[0], 3), value, np.uint8), captured_at_s)


class FakeDevice(Device):
    """Plays its steps, one per `grab`: a picture is returned, an exception raised, None ends the device regularly; a
    callable is called (it may block) and the next step follows at once. After the last step the device is lost.
    """

    def __init__(self, steps: Iterable[Step] = (), open_error: Exception | None = None, name: str = "camera 7") -> None:
        self.name = name
        self.steps = deque(steps)
        self.open_error = open_error
        self.closed = threading.Event()
        self.aborted = threading.Event()

    def open(self) -> SourceInfo:
        if self.open_error is not None:
            raise self.open_error
        return SourceInfo(self.name, SourceKind.LIVE, 32, 24, 30.0, description=f"{self.name}: 32x24")

    def grab(self) -> Picture | None:
        while self.steps:
            step = self.steps.popleft()
            if isinstance(step, BaseException):
                raise step
            if step is None or isinstance(step, Picture):
                return step
            step()
        raise RunError(f"{self.name} was unplugged")

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.aborted.set()
