"""How whole runs end: failures, stops, sinks that have had enough."""

import threading

import pytest

from pipeline.errors import InputError, RunError
from pipeline.ledger import DropCause, EndReason
from pipeline.records import SourceKind
from pipeline.sinks.base import Delivery
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSink, FakeSource
from tests.pipeline.runs import assert_accounted_for, stream_of


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
@pytest.mark.parametrize("stage", ["capture", "inference", "opening", "sink", "main thread sink"])
def test_a_failure_anywhere_ends_everything_within_a_second(kind, stage):
    def fail(*_):
        raise ValueError("broken on purpose")

    sinks = [FakeSink(name="good sink")]
    source, segmenter = FakeSource(None, kind), FakeSegmenter()
    if stage == "capture":
        source = FakeSource(3, kind, error=RunError("broken on purpose"))
    elif stage == "inference":
        segmenter = FakeSegmenter(before=lambda index: fail() if index >= 3 else None)
    elif stage == "opening":
        segmenter = FakeSegmenter(opening=fail)
    elif stage == "sink":
        sinks.append(FakeSink(on_write=fail, name="bad sink"))
    else:
        sinks.append(FakeSink(Delivery.MAIN_THREAD, on_write=fail, name="bad sink"))

    def run():
        with stream_of(source, segmenter, sinks) as stream:
            for _ in stream:
                pass

    with pytest.raises(RunError, match="broken on purpose"):
        run()
    assert source.closed == 1
    assert segmenter.closed == 1
    assert sinks[0].closed == 1


def test_the_error_of_a_segmenter_keeps_its_kind():
    def refuse():
        raise InputError("weights do not fit")

    with (
        pytest.raises(InputError, match="do not fit"),
        stream_of(FakeSource(3), FakeSegmenter(opening=refuse)) as stream,
    ):
        list(stream)
    assert stream.summary().end is EndReason.FAILED


@pytest.mark.parametrize("presentation", ["exact", "smooth"])
@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_frames_that_are_lost_to_a_failed_inference_have_a_cause_of_their_own(kind, presentation):
    def fail(index):
        if index >= 4:
            raise ValueError("broken on purpose")

    stream = stream_of(FakeSource(None, kind), FakeSegmenter(before=fail), values={"presentation": presentation})

    def run():
        with stream:
            list(stream)

    with pytest.raises(RunError, match="broken on purpose"):
        run()
    assert_accounted_for(stream)
    causes = {cause for _, cause in stream.summary().stats.dropped}
    assert DropCause.STOPPED not in causes
    if kind is SourceKind.RECORDED:
        assert causes == {DropCause.FAILED}


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_stop_from_another_thread_ends_cleanly_and_counts_what_was_under_way(kind):
    source, sink = FakeSource(None, kind), FakeSink()
    with stream_of(source, sinks=[sink]) as stream:
        for count, _ in enumerate(stream):
            if count == 5:
                threading.Thread(target=stream.stop).start()
    assert stream.summary().end is EndReason.STOPPED
    assert sink.closed == 1
    assert_accounted_for(stream)


def test_a_source_that_waits_for_ever_is_interrupted():
    source = FakeSource(None, SourceKind.LIVE, gate=lambda index: index < 2 or not source.interrupted.wait(DEADLINE_S))
    with stream_of(source, values={"source": {"policy": "recorded"}}) as stream:
        for item in stream:
            if item.frame.index == 1:
                stream.stop()
    assert source.closed == 1


def test_breaking_out_of_the_loop_is_a_clean_end():
    sink = FakeSink()
    with stream_of(FakeSource(None), sinks=[sink]) as stream:
        for item in stream:
            if item.frame.index == 3:
                break
    assert sink.closed == 1
    assert sink.written[:4] == [0, 1, 2, 3]


def test_a_sink_can_end_the_run():
    sink = FakeSink(Delivery.MAIN_THREAD)
    with stream_of(FakeSource(None), sinks=[sink]) as stream:
        for item in stream:
            sink.stop = item.frame.index >= 2
    assert stream.summary().end is EndReason.STOPPED
    assert sink.written[-1] == 3


def test_a_sink_that_cannot_open_leaves_nothing_behind():
    class Refuses(FakeSink):
        def open(self, context):
            raise InputError("the folder does not exist")

    source, good = FakeSource(5), FakeSink()
    stream = stream_of(source, sinks=[good, Refuses()])
    with pytest.raises(InputError, match="folder"):
        stream.open()
    assert source.closed == 1
    assert good.closed == 1
    assert not stream.opened
    stream.close()
