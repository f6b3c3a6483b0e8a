from dataclasses import replace

import numpy as np
import pytest

from pipeline.ledger import DropCause, DropStage, LatencyHistogram, RateMeter, RunLedger
from pipeline.records import SegmentedFrame, StageTimes
from tests.pipeline.fakes import make_frame, make_instances


def test_counts_of_a_run():
    ledger = RunLedger()
    for index in range(4):
        ledger.captured(10.0 + index)
    ledger.inferred(11.0, 0.2)
    ledger.ready()
    ledger.dropped(DropStage.INFERENCE)
    ledger.dropped(DropStage.INFERENCE)
    ledger.stopped()
    ledger.dropped(DropStage.DISPLAY)
    ledger.sink_dropped("recorder")
    frame = make_frame(0, captured_at_s=10.0)
    ledger.presented(SegmentedFrame(frame, make_instances(), 0, StageTimes(10.0, presented_at_s=10.5)))
    now = ledger.overall()
    assert (now.captured, now.inferred, now.presented, now.dropped_total) == (4, 1, 1, 3)
    assert now.captured == now.presented + now.dropped_total
    assert now.dropped[DropStage.INFERENCE, DropCause.BUSY] == 2
    assert now.dropped[DropStage.DISPLAY, DropCause.STOPPED] == 1
    assert now.sink_dropped == {"recorder": 1}
    assert now.capture_fps == pytest.approx(1.0)
    assert now.latency_p50_s == pytest.approx(0.5, rel=0.011)
    assert ledger.recent(13.0).last_latency_s == 0.5


def test_a_presented_frame_needs_its_time():
    segmented = SegmentedFrame(make_frame(0), make_instances(), 0, StageTimes(10.0))
    with pytest.raises(ValueError, match="presented_at_s"):
        RunLedger().presented(segmented)


def test_latencies_lately_and_as_a_histogram():
    ledger = RunLedger()
    assert ledger.latency(0.0, (0.1,)).recent_p50_s is None
    assert ledger.last_presented_s is None
    segmented = SegmentedFrame(make_frame(0), make_instances(), 0, StageTimes(0.0))
    # Twenty old frames of 3 s, then from 100 s on a hundred of 10, 20 … 1000 ms.
    for presented_at_s, latency_s in [(50.0, 3.0)] * 20 + [(100.0 + n / 100, n / 100) for n in range(1, 101)]:
        times = StageTimes(presented_at_s - latency_s, presented_at_s=presented_at_s)
        ledger.presented(replace(segmented, times=times))
    latency = ledger.latency(101.0, (0.005, 0.505, 2.0, 4.0))
    assert latency.recent_p50_s == pytest.approx(0.50)
    assert latency.recent_p95_s == pytest.approx(0.95)
    assert latency.count == 120
    assert latency.total_s == pytest.approx(20 * 3.0 + 50.5)
    assert latency.counts_up_to == [0, pytest.approx(50, abs=1), 100, 120]
    assert ledger.last_presented_s == pytest.approx(101.0)
    assert ledger.latency(200.0).recent_p95_s is None


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ((), DropCause.LOADING),
        (("ready",), DropCause.BUSY),
        (("ready", "stopped"), DropCause.STOPPED),
        (("stopped", "ready"), DropCause.STOPPED),
        (("ready", "failed"), DropCause.FAILED),
        (("failed", "stopped"), DropCause.FAILED),
        (("stopped", "failed"), DropCause.FAILED),
    ],
)
def test_a_lost_frame_has_the_cause_that_holds_at_that_moment(events, cause):
    ledger = RunLedger()
    for event in events:
        getattr(ledger, event)()
    ledger.dropped(DropStage.INFERENCE)
    assert ledger.overall().dropped == {(DropStage.INFERENCE, cause): 1}
    assert ledger.loading == (cause is DropCause.LOADING)


def test_decisions_are_entered_between_the_frames_that_they_lie_between():
    ledger = RunLedger()
    ledger.record("camera 0, 640x480")
    for index in range(3):
        ledger.captured(float(index))
    ledger.record("camera 0, 1280x720")
    assert [(entry.after_frames, entry.text) for entry in ledger.entries] == [
        (0, "camera 0, 640x480"),
        (3, "camera 0, 1280x720"),
    ]


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


def test_a_burst_is_no_rate():
    meter = RateMeter()
    for tick in range(10):  # what has waited during the start
        meter.tick(5.0 + 0.01 * tick)
    assert meter.recent(5.1) is None
    for tick in range(10):
        meter.tick(5.2 + 0.1 * tick)
    assert meter.recent(6.1) == pytest.approx(19 / 1.1)


def test_recent_rate_follows_a_change_and_falls_to_zero():
    meter = RateMeter()
    for tick in range(100):
        meter.tick(tick * 0.1)
    for tick in range(150):  # as long as the window, 3 s
        meter.tick(9.9 + (tick + 1) * 0.02)
    assert meter.recent(12.9) == pytest.approx(50.0, rel=0.02)
    assert meter.recent(20.0) == 0.0
    assert meter.overall() == pytest.approx(249 / 12.9)


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_quantiles_against_numpy(q):
    durations = np.random.default_rng(7).lognormal(-3, 1.2, 5001)
    histogram = LatencyHistogram()
    for duration in durations:
        histogram.add(float(duration))
    expected = np.quantile(durations, q, method="inverted_cdf")
    assert histogram.quantile(q) == pytest.approx(expected, rel=0.0101)


def test_quantile_of_nothing_and_of_zero():
    histogram = LatencyHistogram()
    assert histogram.quantile(0.5) is None
    histogram.add(0.0)
    assert histogram.quantile(0.5) == pytest.approx(1e-5, rel=0.011)
