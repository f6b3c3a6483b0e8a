import numpy as np
import pytest

from pipeline.meters import LatencyHistogram, RateMeter


def test_rate_is_intervals_over_time():
    meter = RateMeter()
    for tick in range(11):
        meter.tick(5.0 + 0.1 * tick)
    assert meter.overall() == pytest.approx(10.0)
    assert meter.recent(6.0) == pytest.approx(10.0)


def test_rate_needs_two_events():
    meter = RateMeter()
    assert meter.overall() is None
    meter.tick(1.0)
    assert meter.overall() is None
    assert meter.recent(1.0) is None


def test_recent_rate_follows_a_change_and_falls_to_zero():
    meter = RateMeter(window_s=2.0)
    for tick in range(100):
        meter.tick(tick * 0.1)
    for tick in range(100):
        meter.tick(9.9 + (tick + 1) * 0.02)
    assert meter.recent(11.9) == pytest.approx(50.0, rel=0.02)
    assert meter.recent(20.0) == 0.0
    assert meter.overall() == pytest.approx(199 / 11.9)


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_against_numpy(q):
    durations = np.random.default_rng(7).lognormal(-3, 1.2, 5001)
    histogram = LatencyHistogram()
    for duration in durations:
        histogram.add(float(duration))
    expected = np.quantile(durations, q, method="inverted_cdf")
    assert histogram.quantile(q) == pytest.approx(expected, rel=0.0101)


def test_quantile_of_nothing_and_out_of_range():
    histogram = LatencyHistogram()
    assert histogram.quantile(0.5) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        histogram.quantile(1.5)
    histogram.add(0.0)
    assert histogram.quantile(0.5) == pytest.approx(1e-5, rel=0.011)
