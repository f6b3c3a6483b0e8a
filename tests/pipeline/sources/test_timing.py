"""Repaired timestamps, worked out by hand; waiting on a clock that the test controls, and being interrupted."""

from __future__ import annotations

import math
import threading
import time
from fractions import Fraction

import pytest

from pipeline.sources.timing import MAX_WAIT_S, Pacer, PtsClock
from tests.pipeline.sources.conftest import ManualClock

MS = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("stamps", "expected", "repaired"),
    [
        ([], [], 0),
        ([1400, 1433, 1500, 9000], [0, 33, 100, 7600], 0),
        ([None, None, None], [0, 40, 80], 3),
        ([1400, None, None, 1533], [0, 40, 80, 133], 2),
        ([1400, 1440, 1440, 1480], [0, 40, 41, 80], 1),
        ([1400, 1440, 1420, 1500], [0, 40, 41, 100], 1),
        # Two recordings joined: the second one starts one frame later and keeps that offset.
        ([5400, 5440, 100, 140, 190], [4000, 4040, 4080, 4120, 4170], 1),
        ([1390, 1400], [-10, 0], 0),
    ],
)
def test_repairs(stamps: list[int | None], expected: list[int], repaired: int) -> None:
    clock = PtsClock(1400, MS, 40)
    times = [(clock.next(stamp, None), clock.repaired) for stamp in stamps]
    assert [ticks for ticks, _ in times] == expected
    assert [was_repaired for _, was_repaired in times].count(True) == repaired
    assert clock.last == (expected[-1] if expected else None)


def test_arrival_times_increase_even_if_the_clock_stands_still() -> None:
    stamps = PtsClock(None, Fraction(1, 1_000_000), 1)
    arrivals_us = (10_000_000, 10_000_000, 10_000_000, 9_500_000, 10_500_000)
    assert [stamps.next(value) for value in arrivals_us] == [0, 1, 2, 3, 500_000]


def test_without_an_origin_the_first_frame_is_at_zero() -> None:
    assert [PtsClock(None, MS, 40).next(pts) for pts in (1400, -7, None)] == [0, 0, 0]


def test_a_missing_stamp_follows_the_duration_of_the_frame_before() -> None:
    clock = PtsClock(0, MS, 40)
    assert [clock.next(0, 100), clock.next(None, 0), clock.next(None, 7), clock.next(None, None)] == [0, 100, 140, 147]


def test_a_step_below_one_tick_still_advances() -> None:
    clock = PtsClock(0, Fraction(1, 10), 0)
    assert [clock.next(None, None) for _ in range(3)] == [0, 1, 2]


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
