"""What a source inherits from the base class, and its warnings: one line per problem, however many there are."""

from __future__ import annotations

import math
import threading
import time
from fractions import Fraction

import pytest

from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.sources.base import MAX_PLACES, MAX_WAIT_S, Pacer, PtsClock, Source, SourceWarnings, position_text
from tests.pipeline.sources.conftest import ManualClock


class Smallest(Source):
    """Only the abstract methods."""

    closed = False

    def open(self) -> SourceInfo:
        return SourceInfo("smallest", SourceKind.RECORDED, 2, 1)

    def read(self) -> Frame | None:
        return None

    def close(self) -> None:
        self.closed = True

    def interrupt(self) -> None:
        pass


def test_defaults_and_context_manager() -> None:
    source = Smallest()
    with source as opened:
        assert opened is source
        assert source.state.text == ""
        assert (source.state.reconnects, source.warnings.texts()) == (0, [])
        assert not source.closed
    assert source.closed


def test_an_error_in_the_block_closes_the_source_and_propagates() -> None:
    source = Smallest()
    with pytest.raises(KeyError), source:
        raise KeyError
    assert source.closed


def test_one_line_per_problem_with_the_first_places_and_a_count() -> None:
    warnings = SourceWarnings()
    assert warnings.texts() == []
    for second in range(MAX_PLACES + 2):
        warnings.add("corrupt data at", position_text(second))
    warnings.add("unreadable images skipped:", "a.png")
    assert warnings.texts() == [
        "corrupt data at 00:00.0, 00:01.0, 00:02.0, 00:03.0, 00:04.0 and 2 more",
        "unreadable images skipped: a.png",
    ]


def test_only_the_first_of_each_kind_is_worth_a_log_line() -> None:
    warnings = SourceWarnings()
    assert warnings.add("corrupt data at", "00:01.0")
    assert not warnings.add("corrupt data at", "00:01.0")
    assert not warnings.add("corrupt data at", "00:02.0")
    assert warnings.add("repaired timestamps at", "00:02.0")
    assert warnings.texts() == ["corrupt data at 00:01.0, 00:02.0", "repaired timestamps at 00:02.0"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1e-9, "00:00.0"),
        (12.44, "00:12.4"),
        (59.96, "01:00.0"),
        (3599.94, "59:59.9"),
        (3599.96, "1:00:00.0"),
        (36_123.4, "10:02:03.4"),
    ],
)
def test_positions(seconds: float, text: str) -> None:
    assert position_text(seconds) == text


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
