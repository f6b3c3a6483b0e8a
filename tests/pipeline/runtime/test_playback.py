"""When frames of a recorded source are presented: pacing, pauses, seeks; alone and in whole runs."""

from __future__ import annotations

import math
import sys
import threading
from dataclasses import replace

import cv2
import pytest

from pipeline.controls import Controls
from pipeline.ledger import DropCause, DropStage, EndReason
from pipeline.records import SourceKind
from pipeline.runtime.plan import plan_run
from pipeline.runtime.playback import MAX_LAG_S, Playback
from pipeline.settings.output_settings import OverlaySettings, WindowSettings
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery
from pipeline.sinks.window import Window
from pipeline.sources.base import SourceState
from pipeline.sources.images import ImagesSource
from pipeline.threads.stage import THREAD_PREFIX
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSegmenter, FakeSink, FakeSource, make_frame
from tests.pipeline.runs import assert_accounted_for, stream_of
from tests.pipeline.sinks.fake_gui import LEFT, FakeGui, desktop_of
from tests.pipeline.sinks.presentations import picture


def playback_of(*sinks, kind=SourceKind.RECORDED, clock=None, source=None, controls=None, discard=None, ended=False):
    source = source or FakeSource(1, kind)
    plan = plan_run(Settings()).for_source(source.open())
    discard = (lambda: None) if discard is None else discard
    controls = controls or Controls(OverlaySettings())
    return Playback(source, plan, sinks, controls, discard, lambda: ended, clock or FakeClock())


def viewer(paced=True, paused=False):
    sink = FakeSink(Delivery.MAIN_THREAD)
    sink.paced, sink.paused = paced, paused
    return sink


def test_a_frame_is_due_when_its_time_has_come_since_the_first():
    clock = FakeClock(100.0)
    playback = playback_of(viewer(), clock=clock)
    assert playback.wait_s(make_frame(10)) == 0  # 0.4 s into the recording
    assert playback.wait_s(make_frame(11)) == pytest.approx(0.04)
    clock.now_s = 100.03
    assert playback.wait_s(make_frame(11)) == pytest.approx(0.01)
    assert playback.wait_s(make_frame(110)) == pytest.approx(3.97)  # a picture may stand for long
    clock.now_s = 100.045
    assert playback.wait_s(make_frame(11)) == 0
    assert playback.wait_s(make_frame(12)) == pytest.approx(0.035)  # being late does not add up


def test_what_is_too_late_does_not_catch_up():
    clock = FakeClock(100.0)
    playback = playback_of(viewer(), clock=clock)
    playback.wait_s(make_frame(0))
    clock.now_s = 100.04 + MAX_LAG_S + 0.01
    assert playback.wait_s(make_frame(1)) == 0
    assert playback.wait_s(make_frame(2)) == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("sinks", "kind"),
    [((), SourceKind.RECORDED), ((viewer(paced=False),), SourceKind.RECORDED), ((viewer(),), SourceKind.STILLS)],
)
def test_without_a_viewer_who_wants_it_nothing_waits(sinks, kind):
    playback = playback_of(*sinks, kind=kind)
    assert [playback.wait_s(make_frame(i)) for i in (0, 5, 100)] == [0, 0, 0]


def test_a_pause_holds_recorded_sources_only():
    paused = viewer(paused=True)
    assert playback_of(viewer(), paused).wait_s(make_frame(0)) == math.inf
    live = playback_of(paused, kind=SourceKind.LIVE)
    assert (live.paused, live.wait_s(make_frame(0)), live.wait_s(make_frame(9))) == (False, 0, 0)


def test_a_seek_is_passed_on_once_and_what_was_read_before_is_stale():
    class Seekable(FakeSource):
        state = SourceState()

        def seek(self, position_s):
            steps.append(position_s)
            self.state.fresh_from = sys.maxsize
            return True

    steps, source, controls, clock = [], Seekable(1), Controls(OverlaySettings()), FakeClock(100.0)
    playback = playback_of(
        viewer(), source=source, controls=controls, clock=clock, discard=lambda: steps.append("discard")
    )
    playback.wait_s(make_frame(0))
    playback.seek_if_requested()
    controls.seek(3.0)
    controls.seek(7.0)
    playback.seek_if_requested()
    playback.seek_if_requested()
    assert steps == ["discard", 7.0]
    assert playback.is_stale(make_frame(4))
    source.state.fresh_from = 5
    assert [playback.is_stale(make_frame(i)) for i in (4, 5, 6)] == [True, False, False]
    assert playback.wait_s(make_frame(400)) == 0  # however much later it is in time
    assert playback.wait_s(make_frame(401)) == pytest.approx(0.04)


def test_what_was_read_to_its_end_is_not_sought_in():
    controls = Controls(OverlaySettings())
    controls.seek(3.0)
    playback_of(viewer(), controls=controls, discard=pytest.fail, ended=True).seek_if_requested()
    assert (controls.take_seek(), controls.state.seekable) == (None, False)


@pytest.mark.parametrize("paused_at", [0, 4])
def test_an_arrow_after_the_last_frame_was_read_neither_skips_frames_nor_ends_the_run(monkeypatch, paused_at):
    class Keyboard(FakeGui):
        """Pauses at a frame, presses the left arrow when all frames were read, and goes on."""

        def waitKeyEx(self, delay):
            if not self.inputs and not self.titles and stream.ledger.overall().presented == paused_at + 1:
                self.inputs = [ord(" ")]
            elif not self.inputs and len(self.titles) == 1 and not stream.controls.state.seekable:
                self.inputs = [LEFT, LEFT, -1, ord(" ")]
            return super().waitKeyEx(delay)

    class Recording(FakeSource):
        def open(self):
            return replace(super().open(), seekable_s=(0.0, 10.0))

        def seek(self, position_s):
            return pytest.fail("sought")

    def window_on(settings, controls):
        gui = Keyboard()
        gui.titles = titles
        return Window(WindowSettings(speed="full"), controls, desktop=desktop_of(gui))

    monkeypatch.setattr("pipeline.runtime.stream.make_window", window_on)
    titles, sink = [], FakeSink(Delivery.MAIN_THREAD)
    stream = stream_of(Recording(5), sinks=[sink])
    with stream:
        list(stream)
    assert sink.written == list(range(5))
    assert stream.summary().end is EndReason.FINISHED
    assert titles == ["stream_segment (paused)", "stream_segment"]


def test_a_run_takes_as_long_as_the_recording_where_somebody_watches():
    """Four frames at 25 a second: the last is due 0.12 s after the first."""
    shown, sink = [], viewer()
    with stream_of(FakeSource(4), sinks=[sink]) as stream:
        for segmented in stream:
            shown.append((segmented.frame.pts_s, stream.clock()))
    assert [pts_s for pts_s, _ in shown] == [0.0, 0.04, 0.08, 0.12]
    assert all(now_s - shown[0][1] >= pts_s - 1e-3 for pts_s, now_s in shown)
    assert stream.summary().end is EndReason.FINISHED


def test_a_recorder_gets_every_frame_of_a_file_that_is_watched():
    recorder, sink = FakeSink(), viewer()
    with stream_of(FakeSource(12), sinks=[recorder, sink]) as stream:
        list(stream)
    assert recorder.written == sink.written == list(range(12))


@pytest.mark.parametrize("bad", [{1}, {0, 2}, {1, 2}])
def test_the_window_holds_the_last_image_that_can_be_read(monkeypatch, tmp_path, bad):
    class Keyboard(FakeGui):
        """Presses Enter at the third look at the last image, after the end of the source."""

        looks = 0

        def waitKeyEx(self, delay):
            if stream.ledger.overall().presented == 3 - len(bad) and not infers():
                self.looks += 1
                self.press(*[13] * (self.looks == 3))
            return super().waitKeyEx(delay)

    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        path.write_bytes(b"nonsense" if number in bad else cv2.imencode(".png", picture(number))[1].tobytes())
    gui = Keyboard()
    window = Window(WindowSettings(), desktop=desktop_of(gui), is_alone=False)
    stream = stream_of(ImagesSource(paths, "photos"), sinks=[window])
    with stream:
        assert len(list(stream)) == 3 - len(bad)
    assert gui.looks >= 3
    assert stream.summary().end is EndReason.FINISHED


def test_after_its_last_image_a_run_waits_for_the_viewer():
    class Viewer(FakeSink):
        """Looks at each image while it is asked three times, and then goes on."""

        paused = False
        left = 0

        def write(self, presentation):
            super().write(presentation)
            self.paused, self.left = True, 3

        def idle(self, message):
            super().idle(message)
            self.left -= 1
            self.paused = self.left > 0

    sink = Viewer(Delivery.MAIN_THREAD)
    with stream_of(FakeSource(2, SourceKind.STILLS), sinks=[sink]) as stream:
        assert len(list(stream)) == 2
    assert sink.written == [0, 1]
    assert len(sink.messages) >= 6
    assert stream.summary().end is EndReason.FINISHED


def infers():
    """Whether results may still come."""
    return any(thread.name == f"{THREAD_PREFIX}inference" for thread in threading.enumerate())


@pytest.mark.parametrize(("given", "end"), [(1, EndReason.FINISHED), (5, EndReason.STOPPED)])
def test_closing_the_window_over_the_last_image_interrupts_nothing(given, end):
    class Viewer(FakeSink):
        paused = False

        def write(self, presentation):
            super().write(presentation)
            self.paused = True

        def idle(self, message):
            self.stop = self.paused and (given > 1 or not infers())

    sink = Viewer(Delivery.MAIN_THREAD)
    stream = stream_of(FakeSource(given, SourceKind.STILLS), sinks=[sink])
    with stream:
        list(stream)
    assert sink.written == [0]
    assert stream.summary().end is end
    assert_accounted_for(stream)


class SeekableSource(FakeSource):
    """Numbers from 0 on; after a seek those from 100 on, with the indices continued."""

    def __init__(self, count, **more):
        super().__init__(count, **more)
        self._state = SourceState()
        self._requested = threading.Event()

    @property
    def state(self):
        return self._state

    def seek(self, position_s):
        self._state.fresh_from = sys.maxsize
        self._requested.set()
        return True

    def read(self):
        if self._requested.is_set():
            self._requested.clear()
            self._state.fresh_from = self.given
        return super().read()


@pytest.mark.parametrize("motion", [{}, {"infer_every": 3}])
def test_after_a_seek_nothing_of_before_is_shown_and_everything_is_accounted_for(motion):
    source, sink = SeekableSource(60), FakeSink(Delivery.MAIN_THREAD)
    with stream_of(source, sinks=[sink], values={"motion": motion}) as stream:
        frames = iter(stream)
        for _ in range(5):
            next(frames)
        stream.controls.seek(1.0)
        rest = [segmented.frame.index for segmented in frames]
    fresh = source.state.fresh_from
    assert 5 <= fresh < 60
    assert rest == list(range(fresh, 60))
    dropped = stream.summary().stats.dropped
    assert sum(dropped.values()) == fresh - 5
    assert {cause for _, cause in dropped} <= {DropCause.SEEK}
    assert_accounted_for(stream)


def test_a_seek_does_not_wait_for_what_is_not_inferred_yet():
    """The network holds frame 1 when the seek comes; frames 2 to 4 wait for it, and are never inferred."""
    queued, go_on = threading.Event(), threading.Event()

    def before(index):
        assert index != 1 or go_on.wait(DEADLINE_S)

    def gate(index):
        if index == 5:
            queued.set()
        return True

    source = SeekableSource(30, gate=gate)
    segmenter, sink = FakeSegmenter(before), FakeSink(Delivery.MAIN_THREAD)
    with stream_of(source, segmenter, [sink], {"model": {"workers": 1}}) as stream:
        frames = iter(stream)
        next(frames)
        assert queued.wait(DEADLINE_S)
        stream.controls.seek(1.0)
        sink.idle = lambda message: go_on.set()
        rest = [segmented.frame.index for segmented in frames]
    assert rest == list(range(source.state.fresh_from, 30))
    assert not {2, 3, 4} & set(segmenter.seen)
    assert stream.summary().stats.dropped[DropStage.INFERENCE, DropCause.SEEK] >= 3
    assert_accounted_for(stream)


def test_a_run_that_is_stopped_while_a_frame_waits_counts_it():
    class Viewer(FakeSink):
        paused = False

        def write(self, presentation):
            super().write(presentation)
            self.paused = True

        def idle(self, message):
            waited.append(message)
            self.stop = len(waited) >= 3

    waited, sink = [], Viewer(Delivery.MAIN_THREAD)
    with stream_of(FakeSource(30), sinks=[sink]) as stream:
        list(stream)
    assert sink.written == [0]
    assert_accounted_for(stream)
