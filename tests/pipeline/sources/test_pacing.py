"""Waiting on a clock that the test moves, and being woken."""

from __future__ import annotations

import threading
import time

from pipeline.sources.pacing import MAX_WAIT_S, Pacer
from tests.pipeline.sources.conftest import ManualClock


def test_waits_exactly_until_the_moment(clock: ManualClock) -> None:
    pacer = Pacer(clock, clock.wait)
    assert pacer.until(clock.now_s + 2.1)
    assert abs(clock.now_s - 102.1) < 1e-9
    assert max(clock.waits) <= MAX_WAIT_S


def test_a_moment_that_is_past_costs_nothing(clock: ManualClock) -> None:
    assert Pacer(clock, clock.wait).until(clock.now_s - 1)
    assert clock.waits == []


def test_interrupt_wakes_a_waiter_at_once_and_for_good() -> None:
    pacer = Pacer()
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(pacer.until(time.monotonic() + 3600)))
    thread.start()
    pacer.interrupt()
    thread.join(1.0)
    assert results == [False]
    assert not pacer.until(0)
