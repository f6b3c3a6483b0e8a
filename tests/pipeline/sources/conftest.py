"""Shared fixtures: a check that device threads end, and a clock that tests advance."""

from __future__ import annotations

import threading
import time

import pytest


@pytest.fixture(autouse=True)
def no_pump_left_behind():
    """Every thread that waits for a device has ended, at the latest when its read timed out."""
    yield
    deadline_s = time.monotonic() + 5
    pumps = [thread for thread in threading.enumerate() if thread.name.startswith("pump ")]
    for thread in pumps:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    assert not [thread.name for thread in pumps if thread.is_alive()]


class ManualClock:
    """A clock advanced only by `wait` and `advance`; `wait` takes no real time."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds

    def wait(self, seconds: float) -> bool:
        """Stands in for the wait of a Pacer."""
        self.waits.append(seconds)
        self.now_s += seconds
        return False


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
