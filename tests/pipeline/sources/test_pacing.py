"""Waiting on a clock that the test controls, and being interrupted."""

from __future__ import annotations

import math
import threading
import time

import pytest

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


@pytest.mark.parametrize(("max_lag_s", "expected"), [(3.0, [100, 102, 110, 111]), (math.inf, [100, 102, 110, 110])])
def test_frames_are_due_by_their_distance_to_the_first(
    clock: ManualClock, max_lag_s: float, expected: list[float]
) -> None:
    pacer = Pacer(clock, clock.wait)
    delivered = []
    for pts_s in (5.0, 7.0, 8.0, 9.0):
        if pts_s == 8.0:
            clock.now_s = 110.0  # due at 103: too late to catch up if at most 3 s may be lost
        assert pacer.until_due(pts_s, max_lag_s)
        delivered.append(clock.now_s)
    assert delivered == pytest.approx(expected)
    pacer.interrupt()
    assert not pacer.until_due(10.0, max_lag_s)
