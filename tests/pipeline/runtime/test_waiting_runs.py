"""What a run says and does while no frame comes."""

import threading

from pipeline.records import SourceKind
from pipeline.sinks.base import Delivery
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSink, FakeSource
from tests.pipeline.runs import stream_of


def test_a_paused_sink_holds_a_recorded_source():
    class Pausing(FakeSink):
        paused = False

        def write(self, presentation):
            super().write(presentation)
            self.paused = len(self.written) == 3

        def idle(self, message):
            super().idle(message)
            self.paused = len(self.messages) < 4

    sink, source = Pausing(Delivery.MAIN_THREAD), FakeSource(30)
    given_while_paused = []
    with stream_of(source, sinks=[sink]) as stream:
        for item in stream:
            if item.frame.index == 3:
                given_while_paused.append(source.given)
    assert sink.written == list(range(30))
    assert len(sink.messages) >= 4
    assert given_while_paused[0] < 30


def test_while_no_frame_comes_the_sinks_hear_why():
    sink = FakeSink(Delivery.MAIN_THREAD)
    source = FakeSource(None, SourceKind.LIVE, gate=lambda _: not source.interrupted.wait(DEADLINE_S))
    source.text = "camera 0 is gone, trying again"

    def watch(message):
        FakeSink.idle(sink, message)
        sink.stop = len(sink.messages) >= 3

    sink.idle = watch
    with stream_of(source, sinks=[sink]) as stream:
        assert list(stream) == []
    assert sink.messages == ["camera 0 is gone, trying again"] * 3


def test_while_the_model_loads_the_sinks_hear_it():
    sink, release = FakeSink(Delivery.MAIN_THREAD), threading.Event()

    def watch(message):
        FakeSink.idle(sink, message)
        if len(sink.messages) == 2:
            release.set()

    sink.idle = watch
    with stream_of(FakeSource(1), FakeSegmenter(opening=lambda: release.wait(DEADLINE_S)), [sink]) as stream:
        assert len(list(stream)) == 1
    assert sink.messages[:2] == ["loading the model"] * 2


def test_while_frames_come_no_slate_covers_them():
    """The network has no result yet; the frames come slower than the sinks are polled."""
    prepared, sink, gaps = threading.Event(), FakeSink(Delivery.MAIN_THREAD), []

    def gate(index):
        count = len(sink.messages)
        while index > 0 and len(sink.messages) < count + 2 and not source.interrupted.wait(0.001):
            pass
        return True

    def watch(message):
        FakeSink.idle(sink, message)
        if sink.written:
            gaps.append(message)

    sink.idle = watch
    source = FakeSource(4, SourceKind.LIVE, gate=gate)
    with stream_of(source, FakeSegmenter(before=lambda _: prepared.wait(DEADLINE_S)), [sink]) as stream:
        for item in stream:
            if item.frame.index == 3:
                prepared.set()
    assert gaps
    assert set(gaps) == {""}


def test_what_is_waited_for_is_said_in_the_words_of_the_settings():
    ready, told = threading.Event(), []

    class Listener(FakeSink):
        def idle(self, message):
            told.append(message)
            if len(told) == 3:
                source.text = "camera 0 is gone"
            if len(told) == 6:
                ready.set()
                stream.stop()

    source = FakeSource(None, SourceKind.LIVE, gate=lambda _: not ready.wait(DEADLINE_S))
    slate = {"source": "No camera!", "loading": "One moment"}
    sinks = [Listener(Delivery.MAIN_THREAD)]
    stream = stream_of(source, FakeSegmenter(opening=lambda: ready.wait(DEADLINE_S)), sinks, {"slate": slate})
    with stream:
        list(stream)
    assert told[:6] == ["One moment"] * 3 + ["No camera!"] * 3
