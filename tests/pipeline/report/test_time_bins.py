"""Numbers by interval, against sums and maxima of the whole list."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.time_bins import MAX_BINS, TimeBins


def test_the_largest_number_of_each_interval():
    bins = TimeBins(np.maximum, 1.0)
    for at, count in ((0.0, 2), (0.9, 3), (2.5, 1), (2.6, 0)):
        bins.add(at, "person", count)
    bins.add(1.5, "dog", 4)
    series = bins.series(4.2)
    assert (series.width, series.until) == (1.0, 5.0)
    assert series.values["person"].tolist() == [3, 0, 1, 0, 0]
    assert series.values["dog"].tolist() == [0, 4, 0, 0, 0]


@pytest.mark.parametrize("merge", [np.add, np.maximum])
@pytest.mark.parametrize("end", [10.0, 74.0, 76.0, 5000.0])
def test_intervals_widen_with_the_time_and_lose_nothing(merge, end):
    rng = np.random.default_rng(3)
    times, numbers = np.sort(rng.uniform(0, end, 400)), rng.integers(1, 9, 400)
    bins = TimeBins(merge)
    for at, number in zip(times, numbers, strict=True):
        bins.add(at, "x", number)
    series = bins.series(end)
    assert len(series.values["x"]) <= MAX_BINS
    assert series.until > end >= series.until - series.width
    expected = np.zeros(len(series.values["x"]))
    merge.at(expected, (times // series.width).astype(int), numbers)
    assert series.values["x"].tolist() == expected.tolist()
    assert series.width == 0.125 * 2 ** max(0, np.ceil(np.log2(end / 75)))


def test_times_before_the_start_and_nothing_at_all():
    bins = TimeBins(np.add)
    assert bins.series(0.25).values == {}
    bins.add(-3.0, "x", 1)
    assert bins.series(0.25).values["x"].tolist() == [1, 0, 0]
