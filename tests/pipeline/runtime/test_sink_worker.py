import threading

import pytest

from pipeline.errors import RunError, StageStuckError
from pipeline.ledger import RunLedger
from pipeline.records import SegmentedFrame, SourceInfo, SourceKind, StageTimes
from pipeline.runtime.plan import Batching, JoinKind, SourcePlan
from pipeline.runtime.sink_worker import SinkWorker, buffer_frames
from pipeline.sinks.base import Delivery, Presentation, RunContext
from pipeline.threads.stage import FirstError, SlotClosed
from tests.pipeline.fakes import DEADLINE_S, FakeSink, make_frame, make_instances

HUGE = SourceInfo("fake", SourceKind.LIVE, 8000, 6000)
SMALL = SourceInfo("fake", SourceKind.LIVE, 80, 48)
CONTEXT = RunContext(SMALL, ("BG", "thing"))


def presentation(index):
    frame = make_frame(index)
    return Presentation(
        SegmentedFrame(frame, make_instances(), index, StageTimes(0.0, presented_at_s=1.0)), frame.image_bgr
    )


def worker_for(sink, source=HUGE, live=False, stopped=lambda: False):
    ledger, errors = RunLedger(), FirstError()
    plan = SourcePlan(source, live, JoinKind.EXACT, None, Batching(), 1)
    worker = SinkWorker(sink, plan, ledger, errors, stopped)
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
    worker.close()
    assert sink.closed == 1


def test_frames_that_a_sink_got_and_could_not_keep_are_counted_with_those_that_it_did_not_get():
    class Full(FakeSink):
        """Has no room for every other frame."""

        def open(self, context):
            super().open(context)
            self.on_loss = context.on_loss

        def write(self, presentation):
            super().write(presentation)
            if presentation.segmented.frame.index % 2:
                self.on_loss()

    worker, ledger, _ = worker_for(Full(Delivery.EVERY_FRAME))
    for index in range(5):
        worker.write(presentation(index))
    worker.close()
    assert ledger.overall().sink_dropped == {"fake sink": 2}


def test_every_frame_is_written_in_order_by_the_sinks_own_thread():
    sink = FakeSink(Delivery.EVERY_FRAME)
    worker, ledger, _ = worker_for(sink)
    for index in range(50):
        worker.write(presentation(index))
    worker.idle("not for me")
    worker.close()
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
    worker.close()
    assert sink.written == [0]
    assert set(threads) == {("stream_segment fake sink", "")}


def test_a_sink_that_wants_no_frames_gets_none_and_loses_none():
    sink = FakeSink(Delivery.EVERY_FRAME)
    worker, ledger, _ = worker_for(sink, live=True)
    for index in range(6):
        sink.wants_frames = index in (1, 2, 5)
        worker.write(presentation(index))
    worker.close()
    assert sink.written == [1, 2, 5]
    assert ledger.overall().sink_dropped == {}


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
    worker.close()
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
    worker.close()
    assert sink.written == [0, 5]
    assert ledger.overall().sink_dropped == {}


def test_a_failing_sink_is_reported_closed_and_takes_no_more():
    def fail(index):
        raise OSError("No space left on device")

    sink = FakeSink(Delivery.EVERY_FRAME, on_write=fail)
    worker, _, errors = worker_for(sink)
    with pytest.raises(SlotClosed):
        write_many(worker)
    worker.close()
    assert sink.closed == 1
    with pytest.raises(RunError, match="fake sink failed: OSError: No space left"):
        errors.raise_if_any()


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("stuck_in", ["write", "close"])
def test_a_sink_that_is_stuck_at_the_end_is_named(monkeypatch, stuck_in, stopped):
    release = threading.Event()
    limit = "STOPPED_CALL_LIMIT_S" if stopped else "CALL_LIMIT_S"
    monkeypatch.setattr(f"pipeline.runtime.sink_worker.{limit}", 0.05)

    class Stuck(FakeSink):
        def write(self, presentation):
            if stuck_in == "write":
                release.wait(DEADLINE_S)

        def close(self):
            release.wait(DEADLINE_S)

    worker, _, _ = worker_for(Stuck(Delivery.EVERY_FRAME), stopped=lambda: stopped)
    worker.write(presentation(0))
    with pytest.raises(StageStuckError, match="fake sink"):
        worker.close()
    release.set()


def test_a_stop_ends_the_wait_for_a_stuck_sink_and_counts_what_it_misses(monkeypatch):
    monkeypatch.setattr("pipeline.runtime.sink_worker.STOPPED_CALL_LIMIT_S", 0.05)
    release, busy, stop = threading.Event(), threading.Event(), threading.Event()

    def block(index):
        busy.set()
        release.wait(DEADLINE_S)

    sink = FakeSink(Delivery.EVERY_FRAME, on_write=block)
    worker, ledger, _ = worker_for(sink, stopped=stop.is_set)
    worker.write(presentation(0))
    assert busy.wait(DEADLINE_S)
    for index in range(1, 5):  # the buffer of these huge frames
        worker.write(presentation(index))
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(StageStuckError, match="fake sink"):
        worker.write(presentation(5))
    assert ledger.overall().sink_dropped == {"fake sink": 5}
    release.set()


def test_a_sink_that_is_slow_but_not_stuck_gets_every_frame_after_a_stop():
    sink = FakeSink(Delivery.EVERY_FRAME)
    worker, ledger, _ = worker_for(sink, stopped=lambda: True)
    for index in range(50):
        worker.write(presentation(index))
    worker.close()
    assert sink.written == list(range(50))
    assert ledger.overall().sink_dropped == {}


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
@pytest.mark.parametrize("fails_in", ["write", "close"])
def test_nothing_that_a_sink_raises_in_its_thread_is_lost(kind, fails_in):
    class Failing(FakeSink):
        def write(self, presentation):
            if fails_in == "write":
                raise kind("out")

        def close(self):
            if fails_in == "close":
                raise kind("out")

    worker, _, errors = worker_for(Failing(Delivery.EVERY_FRAME))
    if fails_in == "write":
        with pytest.raises(SlotClosed):
            write_many(worker)
    worker.close()
    with pytest.raises(RunError, match=f"fake sink failed: {kind.__name__}: out"):
        errors.raise_if_any()


def test_closing_twice_or_unopened():
    sink = FakeSink()
    worker, _, _ = worker_for(sink)
    worker.close()
    worker.close()
    assert sink.closed == 1
    plan = SourcePlan(SMALL, False, JoinKind.EXACT, None, Batching(), 1)
    unopened = SinkWorker(FakeSink(), plan, RunLedger(), FirstError(), lambda: False)
    unopened.close()
