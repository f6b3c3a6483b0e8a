"""Whole runs in which not every frame is inferred: real threads, real slots, fakes at both ends."""

import threading
import time

import pytest

from pipeline.errors import InputError, RunError
from pipeline.ledger import DropCause, DropStage, EndReason
from pipeline.records import SourceKind
from pipeline.sinks.base import Delivery
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSink, FakeSource
from tests.pipeline.runtime.test_stream import assert_accounted_for, stream_of

EVERY_SIXTH = {"motion": {"infer_every": 6}}


@pytest.mark.parametrize("carry", ["flow", "hold"])
def test_a_file_keeps_every_frame_and_infers_every_sixth(carry):
    segmenter, sink = FakeSegmenter(), FakeSink()
    values = {"motion": {"infer_every": 6, "carry": carry}}
    with stream_of(FakeSource(40), segmenter, [sink], values) as stream:
        assert stream.plan.smooth
        shown = list(stream)
    assert segmenter.seen == [0, 6, 12, 18, 24, 30, 36]
    assert [item.frame.index for item in shown] == sink.written == list(range(40))
    assert [item.instances_index for item in shown] == [index // 6 * 6 for index in range(40)]
    assert all(len(item.instances) == 1 for item in shown)
    stats = stream.summary().stats
    assert (stats.captured, stats.inferred, stats.presented, stats.dropped_total) == (40, 7, 40, 0)


def test_a_rate_goes_by_the_file_s_clock():
    segmenter = FakeSegmenter()
    with stream_of(FakeSource(26), segmenter, values={"motion": {"infer_fps": 5}}) as stream:  # of 25
        assert len(list(stream)) == 26
    assert segmenter.seen == [0, 5, 10, 15, 20, 25]


def test_frames_between_keys_wait_for_the_keyframe_s_result():
    release, shown = threading.Event(), []

    def think(index):
        if index == 6:
            assert release.wait(DEADLINE_S)

    sink = FakeSink(Delivery.MAIN_THREAD)
    # idle is called when no frame can be presented: with six shown, frame 6's result is what is missing
    sink.idle = lambda message: release.set() if len(shown) == 6 else None
    with stream_of(FakeSource(9), FakeSegmenter(before=think), [sink], EVERY_SIXTH) as stream:
        for item in stream:
            shown.append(item.instances_index)
            assert release.is_set() == (item.frame.index >= 6)
    assert shown == [0] * 6 + [6] * 3


def test_single_images_are_inferred_each():
    segmenter = FakeSegmenter()
    with stream_of(FakeSource(5, SourceKind.STILLS), segmenter, values=EVERY_SIXTH) as stream:
        assert not stream.plan.smooth
        assert [item.instances_index for item in stream] == [0, 1, 2, 3, 4]
    assert segmenter.seen == [0, 1, 2, 3, 4]


def test_a_live_source_offers_only_keyframes():
    segmenter, shown = FakeSegmenter(), []

    def gate(index):
        deadline = time.monotonic() + DEADLINE_S
        while len(shown) < index and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        return True

    source = FakeSource(20, SourceKind.LIVE, gate=gate, clock=time.monotonic)
    with stream_of(source, segmenter, values=EVERY_SIXTH) as stream:
        for item in stream:
            shown.append(item.frame.index)
    assert shown == list(range(20))
    assert set(segmenter.seen) <= {0, 6, 12, 18}
    assert_accounted_for(stream)


@pytest.mark.parametrize("motion", [{"infer_every": 2}, {"infer_fps": 5.0}])
@pytest.mark.parametrize("kind", [SourceKind.RECORDED, SourceKind.LIVE])
def test_exact_presentation_contradicts_carrying(motion, kind):
    source = FakeSource(5, kind)
    stream = stream_of(source, values={"presentation": "exact", "motion": motion})
    with pytest.raises(InputError, match=r"motion\.infer_\w+ .* presentation: exact"):
        stream.open()
    assert source.closed == 0, "it was not opened either"


def test_smooth_without_keyframes_infers_every_frame_of_a_file():
    with stream_of(FakeSource(8), values={"presentation": "smooth"}) as stream:
        assert [item.instances_index for item in stream] == list(range(8))


@pytest.mark.parametrize("stage", ["capture", "inference", "opening", "sink"])
def test_a_failure_anywhere_ends_everything_and_every_frame_is_accounted_for(stage):
    def fail(*_):
        raise ValueError("broken on purpose")

    source, segmenter, sinks = FakeSource(None), FakeSegmenter(), [FakeSink(name="good sink")]
    if stage == "capture":
        source = FakeSource(20, error=RunError("broken on purpose"))
    elif stage == "inference":
        segmenter = FakeSegmenter(before=lambda index: fail() if index == 12 else None)
    elif stage == "opening":
        segmenter = FakeSegmenter(opening=fail)
    else:
        sinks.append(FakeSink(on_write=lambda index: fail() if index == 8 else None, name="bad sink"))
    streams = []

    def run():
        streams.append(stream_of(source, segmenter, sinks, EVERY_SIXTH))
        with streams[0] as stream:
            for _ in stream:
                pass

    with pytest.raises(RunError, match="broken on purpose"):
        run()
    assert source.closed == segmenter.closed == sinks[0].closed == 1
    assert_accounted_for(streams[0])


@pytest.mark.parametrize("at", [0, 5, 6, 7])
def test_a_stop_while_frames_are_under_way_loses_no_count(at):
    with stream_of(FakeSource(None), values=EVERY_SIXTH) as stream:
        for item in stream:
            if item.frame.index == at:
                stream.stop()
    assert stream.summary().end is EndReason.STOPPED
    assert_accounted_for(stream)
    assert set(stream.summary().stats.dropped) <= {(DropStage.DISPLAY, DropCause.STOPPED)}


def test_a_stop_while_a_keyframe_s_result_is_missing_counts_that_frame():
    never, sink = threading.Event(), FakeSink(Delivery.MAIN_THREAD)

    def watch(message):
        sink.stop = True
        never.set()

    sink.idle = watch
    segmenter = FakeSegmenter(before=lambda index: never.wait(DEADLINE_S))
    with stream_of(FakeSource(None), segmenter, [sink], EVERY_SIXTH) as stream:
        assert len(list(stream)) == 0
    stats = stream.summary().stats
    assert stats.presented == 0
    assert stats.captured == stats.dropped_total > 0
