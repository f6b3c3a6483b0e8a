import numpy as np
import pytest

from benchmarks.measuring import at_most
from benchmarks.rows import live
from pipeline.records import SegmentedFrame, StageTimes
from tests.pipeline.fakes import make_frame, make_instances


def shown(index, captured_s, presented_s, result=None, ended_s=None):
    frame = make_frame(index, captured_at_s=captured_s)
    return SegmentedFrame(frame, make_instances(1), result, StageTimes(captured_s, None, ended_s, presented_s))


def test_a_result_counts_once_from_its_own_frame():
    watch = live.FrameLog(begin_s=2.0)
    watch.frame(shown(0, 1.0, 1.1))
    watch.frame(shown(1, 1.5, 1.6))
    watch.frame(shown(2, 1.9, 2.0, result=0, ended_s=1.95))  # of frame 0, captured at 1.0
    watch.frame(shown(3, 2.4, 2.6, result=0, ended_s=1.95))
    watch.frame(shown(4, 2.8, 2.9, result=1, ended_s=2.7))
    assert watch.presented_s == [2.0, 2.6, 2.9]
    assert watch.ready_s == pytest.approx([0.95, 1.2])
    assert watch.shown_s == pytest.approx([1.0, 1.4])
    assert watch.display_s == pytest.approx([0.1, 0.2, 0.1])


def test_what_came_before_the_run_was_warm_does_not_count():
    watch = live.FrameLog()
    watch.frame(shown(0, 1.0, 1.1, result=0, ended_s=1.05))
    assert watch.ready_s == watch.presented_s == []


def test_p95_in_milliseconds():
    value = live.p95("latency", [i / 1000 for i in range(101)], at_most(200))
    assert (value.spread.median, value.spread.low, value.spread.high) == (95, 0, 100)
    assert value.note == "median 50 ms"


def test_processor_time_is_told_by_thread():
    before = live.thread_seconds()
    numbers = np.random.default_rng(0).random((700, 700))
    while live.thread_seconds().get("MainThread", 1.0) <= before.get("MainThread", 0.0):
        numbers @ numbers
    assert set(live.thread_seconds()) >= {"MainThread"} or not before
