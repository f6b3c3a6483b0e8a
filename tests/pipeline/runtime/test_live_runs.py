"""Whole live runs: the newest frame wins, and what is lost is counted."""

import threading
import time

from pipeline.ledger import DropCause, DropStage
from pipeline.records import SourceKind
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSource
from tests.pipeline.runs import assert_accounted_for, stream_of


def test_live_exact_the_newest_frame_wins_and_drops_are_counted():
    started = threading.Event(), threading.Event()
    release, first_shown = threading.Event(), threading.Event()

    def think(index):
        if index > 0:
            first_shown.wait(DEADLINE_S)  # else its result may be pushed out by the next ones
        if index < 2:
            started[index].set()
        if index == 1:
            release.wait(DEADLINE_S)

    def gate(index):
        if index in (1, 2):
            started[index - 1].wait(DEADLINE_S)
        if index == 9:
            release.set()
        return True

    source = FakeSource(10, SourceKind.LIVE, gate=gate)
    with stream_of(source, FakeSegmenter(before=think), values={"presentation": "exact"}) as stream:
        assert stream.plan.live
        assert not stream.plan.smooth
        shown = []
        for item in stream:
            shown.append(item.frame.index)
            first_shown.set()
    assert shown[0] == 0
    assert shown[-1] == 9
    stats = stream.summary().stats
    assert stats.captured == 10
    assert stats.dropped[DropStage.INFERENCE, DropCause.BUSY] >= 6
    assert_accounted_for(stream)


def test_live_smooth_shows_frames_while_the_model_is_still_thinking():
    shown_five, finished = threading.Event(), threading.Event()

    def gate(index):
        # one frame at a time, so that the display never has reason to drop
        deadline = time.monotonic() + DEADLINE_S
        while sink_count() < index and time.monotonic() < deadline:
            finished.wait(0.001)
        return True

    shown = []

    def sink_count():
        return len(shown)

    def think(index):
        if index == 0:
            shown_five.wait(DEADLINE_S)

    source = FakeSource(12, SourceKind.LIVE, gate=gate)
    with stream_of(source, FakeSegmenter(before=think)) as stream:
        assert stream.plan.smooth
        for item in stream:
            shown.append(item)
            if item.frame.index == 5:
                shown_five.set()
    assert [item.frame.index for item in shown] == list(range(12))
    assert all(item.instances_index is None for item in shown[:6])
    assert all(len(item.instances) == 0 for item in shown[:6])
    indices = [item.instances_index for item in shown if item.instances_index is not None]
    assert indices == sorted(indices)
    stats = stream.summary().stats
    assert stats.presented == 12
    assert stats.inferred < 12
    assert_accounted_for(stream)


def test_policy_can_be_forced():
    with stream_of(FakeSource(30, SourceKind.LIVE), values={"source": {"policy": "recorded"}}) as stream:
        assert [item.frame.index for item in stream] == list(range(30))
    assert stream.summary().stats.dropped_total == 0


def test_frames_lost_while_the_model_loads_say_so():
    ready = threading.Event()

    def gate(index):
        if index == 5:
            ready.set()
        return True

    source = FakeSource(6, SourceKind.LIVE, gate=gate)
    segmenter = FakeSegmenter(opening=lambda: ready.wait(DEADLINE_S))
    with stream_of(source, segmenter, values={"presentation": "exact"}) as stream:
        list(stream)
    assert stream.summary().stats.dropped[DropStage.INFERENCE, DropCause.LOADING] >= 3
    assert_accounted_for(stream)
