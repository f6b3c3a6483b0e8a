"""Repaired timestamps, worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from pipeline.sources.timestamps import PtsClock

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


def test_a_missing_stamp_follows_the_duration_of_the_frame_before() -> None:
    clock = PtsClock(0, MS, 40)
    assert [clock.next(0, 100), clock.next(None, 0), clock.next(None, 7), clock.next(None, None)] == [0, 100, 140, 147]


def test_a_step_below_one_tick_still_advances() -> None:
    clock = PtsClock(0, Fraction(1, 10), 0)
    assert [clock.next(None, None) for _ in range(3)] == [0, 1, 2]
