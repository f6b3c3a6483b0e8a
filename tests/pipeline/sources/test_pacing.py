"""Waiting on a clock that the test controls, and being interrupted."""

from __future__ import annotations

import threading
import time

from pipeline.sources.pacing import MAX_WAIT_S, Pacer
from tests.pipeline.sources.conftest import ManualClock


def test_waits_exactly_until_due(clock: ManualClock) -> None:
    pacer = Pacer(clock, clock.wait)
    assert pacer.until(clock.now_s + 2.1)
    assert abs(clock.now_s - 102.1) < 1e-9
    assert max(clock.waits) <= MAX_WAIT_S


def test_a_past_time_does_not_wait(clock: ManualClock) -> None:
    assert Pacer(clock, clock.wait).until(clock.now_s - 1)
    assert clock.waits == []


def test_interrupt_ends_current_and_later_waits() -> None:
    pacer = Pacer()
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(pacer.until(time.monotonic() + 3600)))
    thread.start()
    pacer.interrupt()
    thread.join(1.0)
    assert results == [False]
    assert not pacer.until(0)
