import threading

import pytest

from pipeline.errors import RunError, StageStuckError
from pipeline.ledger import RunLedger
from pipeline.records import SegmentedFrame, SourceInfo, SourceKind, StageTimes
from pipeline.runtime.plan import Batching, JoinKind, SourcePlan
from pipeline.runtime.sink_worker import SinkWorker, buffer_frames
from pipeline.sinks.base import Delivery, Presentation, RunContext
from pipeline.threads.slot import SlotClosed
from pipeline.threads.stage import FirstError
from tests.pipeline.fakes import DEADLINE_S, FakeSink, make_frame, make_instances

HUGE = SourceInfo("fake", SourceKind.LIVE, 8000, 6000)
SMALL = SourceInfo("fake", SourceKind.LIVE, 80, 48)
CONTEXT = RunContext(SMALL, ("BG", "thing"))


def presentation(index):
    frame = make_frame(index)
    return Presentation(
        SegmentedFrame(frame, make_instances(), index, StageTimes(0.0, presented_at_s=1.0)), frame.image_bgr
    )


def worker_for(sink, source=HUGE, live=False):
    ledger, errors = RunLedger(), FirstError()
    plan = SourcePlan(source, live, JoinKind.EXACT, None, Batching(), 1)
    worker = SinkWorker(sink, plan, ledger, errors)
    worker.open(CONTEXT)
    return worker, ledger, errors


def write_many(worker):
    for index in range(1000):
        worker.write(presentation(index))


def test_buffers_are_bounded_by_memory():
    assert buffer_frames(HUGE) == 4
    assert buffer_frames(SMALL) == 60
    assert buffer_frames(SourceInfo("fake", SourceKind.LIVE, 1280, 720)) == 18


def test_a_main_thread_sink_is_called_directly():
    sink = FakeSink(Delivery.MAIN_THREAD)
    worker, _, _ = worker_for(sink)
    worker.write(presentation(0))
    worker.idle("waiting")
    assert sink.written == [0]
    assert sink.threads == {threading.current_thread().name}
    assert sink.messages == ["waiting"]
    worker.close(DEADLINE_S)
    assert sink.closed == 1


def test_every_frame_is_written_in_order_by_the_sinks_own_thread():
    sink = FakeSink(Delivery.EVERY_FRAME)
    worker, ledger, _ = worker_for(sink)
    for index in range(50):
        worker.write(presentation(index))
    worker.idle("not for me")
    worker.close(DEADLINE_S)
    assert sink.written == list(range(50))
    assert sink.threads == {"stream_segment fake sink"}
    assert "not for me" not in sink.messages
    assert sink.closed == 1
    assert ledger.overall().sink_dropped == {}


def test_a_sink_with_a_thread_of_its_own_is_told_there_that_no_frame_comes(monkeypatch):
    told, threads = threading.Event(), []

    class Waiting(FakeSink):
        def idle(self, message):
            threads.append((threading.current_thread().name, message))
            told.set()

    monkeypatch.setattr("pipeline.runtime.sink_worker.IDLE_S", 0.01)
    sink = Waiting(Delivery.EVERY_FRAME)
    worker, _, _ = worker_for(sink)
    assert told.wait(DEADLINE_S)
    worker.write(presentation(0))
    worker.close(DEADLINE_S)
    assert sink.written == [0]
    assert set(threads) == {("stream_segment fake sink", "")}


def test_a_slow_sink_of_a_live_source_loses_frames_and_they_are_counted():
    release, busy = threading.Event(), threading.Event()

    def block(index):
        busy.set()
        release.wait(DEADLINE_S)

    sink = FakeSink(Delivery.EVERY_FRAME, on_write=block)
    worker, ledger, _ = worker_for(sink, live=True)
    worker.write(presentation(0))
    assert busy.wait(DEADLINE_S)
    for index in range(1, 11):
        worker.write(presentation(index))
    release.set()
    worker.close(DEADLINE_S)
    assert sink.written == [0, 7, 8, 9, 10]
    assert ledger.overall().sink_dropped == {"fake sink": 6}


def test_a_slow_viewer_gets_only_the_newest_and_nothing_is_counted_as_lost():
    release, busy = threading.Event(), threading.Event()

    def block(index):
        busy.set()
        release.wait(DEADLINE_S)

    sink = FakeSink(Delivery.NEWEST, on_write=block)
    worker, ledger, _ = worker_for(sink)
    worker.write(presentation(0))
    assert busy.wait(DEADLINE_S)
    for index in range(1, 6):
        worker.write(presentation(index))
    release.set()
    worker.close(DEADLINE_S)
    assert sink.written == [0, 5]
    assert ledger.overall().sink_dropped == {}


def test_a_failing_sink_is_reported_closed_and_takes_no_more():
    def fail(index):
        raise OSError("No space left on device")

    sink = FakeSink(Delivery.EVERY_FRAME, on_write=fail)
    worker, _, errors = worker_for(sink)
    with pytest.raises(SlotClosed):
        write_many(worker)
    worker.close(DEADLINE_S)
    assert sink.closed == 1
    with pytest.raises(RunError, match="fake sink failed: OSError: No space left"):
        errors.raise_if_any()


def test_a_stuck_sink_is_named():
    release = threading.Event()
    sink = FakeSink(Delivery.EVERY_FRAME, on_write=lambda _: release.wait(DEADLINE_S))
    worker, _, _ = worker_for(sink)
    worker.write(presentation(0))
    with pytest.raises(StageStuckError, match="fake sink"):
        worker.close(0.05)
    release.set()


def test_closing_twice_or_unopened():
    sink = FakeSink()
    worker, _, _ = worker_for(sink)
    worker.close(DEADLINE_S)
    worker.close(DEADLINE_S)
    assert sink.closed == 1
    plan = SourcePlan(SMALL, False, JoinKind.EXACT, None, Batching(), 1)
    unopened = SinkWorker(FakeSink(), plan, RunLedger(), FirstError())
    unopened.close(DEADLINE_S)
