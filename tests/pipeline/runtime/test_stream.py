"""Whole runs with fakes at both ends: real threads, real slots."""

import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.controls import DisplayChange
from pipeline.errors import InputError, RunError
from pipeline.ledger import EndReason
from pipeline.records import SourceKind
from pipeline.runtime.stream import Stream
from pipeline.segmentation.detection_filter import DetectionFilter
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery
from pipeline.sinks.window import Window
from pipeline.sources.base import SourceState
from tests.pipeline.fakes import DEADLINE_S, HEIGHT, WIDTH, FakeSegmenter, FakeSink, FakeSource, make_instances
from tests.pipeline.runs import HEADLESS, assert_accounted_for, stream_of
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of


def test_recorded_every_frame_in_order_with_its_own_instances():
    sink = FakeSink()
    source = FakeSource(40)
    with stream_of(source, sinks=[sink]) as stream:
        shown = list(stream)
    assert [item.frame.index for item in shown] == list(range(40))
    assert [item.instances.track_ids.tolist() for item in shown[1:]] == [[1]] * 39
    assert [item.instances_index for item in shown] == list(range(40))
    assert [item.instances.boxes_xyxy[0, 0] for item in shown] == list(range(40))
    assert sink.written == list(range(40))
    assert source.closed == 1
    summary = stream.summary()
    assert summary.end is EndReason.FINISHED
    assert not summary.live
    assert (summary.stats.captured, summary.stats.inferred, summary.stats.presented) == (40, 40, 40)
    assert summary.outputs == ["fake.out"]
    assert_accounted_for(stream)


def test_objects_of_videos_are_tracked_and_those_of_single_images_are_not():
    with stream_of(FakeSource(40)) as stream:
        ids = [item.instances.track_ids.tolist() for item in stream]
    assert ids == [[0]] + [[1]] * 39  # one object that moves a pixel a frame; no id before it is seen again
    with stream_of(FakeSource(3, SourceKind.STILLS)) as stream:
        assert [item.instances.track_ids for item in stream] == [None] * 3


def test_lines_zones_and_counts_reach_frames_pictures_and_summary():
    # The object's anchor goes from x = 5 to x = 44, a pixel a frame.
    places = {
        "lines": [{"name": "gate", "points": [[25, 48], [25, 0]]}],
        "zones": [{"name": "yard", "points": [[10, 0], [30, 0], [30, 48], [10, 48]]}],
    }
    pictures = []
    with stream_of(FakeSource(40), values=places) as stream:
        shown = list(stream)
        pictures = [stream.draw(shown[20]), stream.draw(replace(shown[20], scene=None))]
    events = [(event.kind.value, event.place) for item in shown for event in item.scene.events]
    assert events == [("appeared", None), ("entered", "yard"), ("crossed", "gate"), ("left", "yard")]
    assert shown[-1].scene.now == {"thing": 1}
    summary = stream.summary().scene
    assert summary is shown[-1].scene
    assert summary.seen == {"thing": 1}
    assert (summary.lines[0].crossed_in, summary.lines[0].crossed_out) == (1, 0)
    assert summary.zones[0].entered == 1
    assert summary.zones[0].dwell_max_s == pytest.approx(0.8, abs=0.15)  # 20 pixels
    assert (pictures[0] != pictures[1]).any()


def test_a_segmenter_of_ones_own_brings_its_thresholds():
    class Choosy(FakeSegmenter):
        detections = DetectionFilter(high_score=0.7)

        def segment(self, image_bgr):
            return make_instances(3)  # scores 0.9, 0.7, 0.5

    values = {"tracking": {"enabled": False}}
    with stream_of(FakeSource(2), Choosy(), values=values) as stream:
        assert [(len(item.instances), item.instances.min_score) for item in stream] == [(2, 0.7)] * 2


def test_settings_may_be_a_dictionary_with_paths(tmp_path):
    values = {"source": {"uri": tmp_path / "a.mp4"}, "output": {"path": tmp_path / "b.mp4"}}
    stream = Stream(values, source=FakeSource(1))
    assert stream.settings.source.uri.reveal() == str(tmp_path / "a.mp4")
    assert stream.settings.output.path == str(tmp_path / "b.mp4")
    assert Stream(3, source=FakeSource(1)).settings.source.uri.reveal() == "3"
    with pytest.raises(InputError, match="expected settings, or a dictionary of them, got a value of type NoneType"):
        Stream(None)


def test_settings_with_cameras_are_not_those_of_a_stream():
    settings = Settings.model_validate({"cameras": [{"name": "hall", "uri": "test:"}]})
    with pytest.raises(InputError, match="these settings have cameras: use Cameras"):
        Stream(settings)


def test_a_stream_runs_once():
    source = FakeSource(3)
    with stream_of(source) as stream:
        assert len(list(stream)) == 3
    with pytest.raises(RuntimeError, match="make a new one"), stream:
        pass
    assert (source.given, source.closed) == (3, 1)


def test_a_stream_whose_loop_is_left_was_stopped():
    with stream_of(FakeSource(None)) as stream:
        for _ in stream:
            break
    assert stream.summary().end is EndReason.STOPPED
    assert_accounted_for(stream)


def test_untracked_runs_have_no_scene():
    with stream_of(FakeSource(3), values={"tracking": {"enabled": False}}) as stream:
        assert [item.scene for item in stream] == [None] * 3
    assert stream.summary().scene is None
    with pytest.raises(InputError, match=r"tracking\.enabled"):
        stream_of(
            FakeSource(3), values={"tracking": {"enabled": False}, "lines": [{"name": "a", "points": [[0, 0], [1, 1]]}]}
        ).open()


def test_sinks_get_the_drawn_frame_and_the_labels():
    seen = []

    class Looker(FakeSink):
        def write(self, presentation):
            seen.append(presentation)

    sink = Looker(wants_overlay=True)
    with stream_of(FakeSource(2), sinks=[sink]) as stream:
        shown = list(stream)
        drawn = stream.draw(shown[0])
    assert sink.context.labels[1] == "thing"
    assert seen[0].annotated_bgr.shape == (HEIGHT, WIDTH, 3)
    assert not seen[0].annotated_bgr.flags.writeable
    assert (seen[0].annotated_bgr != seen[0].segmented.frame.image_bgr).any()
    assert (drawn != shown[0].frame.image_bgr).any()


def test_without_a_sink_that_wants_it_nothing_is_drawn():
    class Looker(FakeSink):
        def write(self, presentation):
            assert presentation.annotated_bgr is presentation.segmented.frame.image_bgr
            super().write(presentation)

    sink = Looker(wants_overlay=False)
    with stream_of(FakeSource(3), sinks=[sink]) as stream:
        assert len(list(stream)) == 3
    assert sink.written == [0, 1, 2]


def test_frames_have_the_pixel_aspect_of_the_source_also_when_it_comes_back_with_another():
    class Returning(FakeSource):
        def open(self):
            self.first = replace(super().open(), sample_aspect_ratio=Fraction(64, 45))
            self.back = replace(self.first, sample_aspect_ratio=Fraction(16, 15))
            return self.first

        @property
        def state(self):
            return SourceState(reopened_as=self.back if self.given > 1 else None)

    with stream_of(Returning(3), values={"privacy": {"mode": "blur", "classes": ["thing"]}}) as stream:
        aspects = [item.frame.sample_aspect_ratio for item in stream]
    assert aspects == [Fraction(64, 45), Fraction(16, 15), Fraction(16, 15)]


def test_latency_runs_from_capture_to_presentation():
    now = [50.0]
    clock = lambda: now[0]  # noqa: E731

    def think(index):
        now[0] += 0.5

    settings = Settings.model_validate(HEADLESS)
    source = FakeSource(3, clock=clock)
    with Stream(settings, source=source, segmenter=FakeSegmenter(before=think), clock=clock) as stream:
        for item in stream:
            assert item.times.latency_s >= 0.5
            assert item.times.inference_ended_at_s - item.times.inference_started_at_s == 0.5
    assert stream.summary().stats.latency_p50_s >= 0.5


def test_an_unopened_stream_says_how_to_use_it():
    stream = stream_of(FakeSource(1))
    for look in (lambda: stream.info, lambda: next(iter(stream)), lambda: stream.draw(None)):
        with pytest.raises(RuntimeError, match="`with` block"):
            look()
    with stream:
        with pytest.raises(RuntimeError, match="before the stream is opened"):
            stream.add_sink(FakeSink())
        list(stream)


def test_controls_hold_from_the_next_frame_on_and_leave_the_results_alone():
    seen = []

    class Looker(FakeSink):
        def write(self, presentation):
            seen.append(presentation)

    stream = stream_of(FakeSource(4), sinks=[Looker(wants_overlay=True)], values={"overlay": {"status": False}})
    with stream:
        frames = iter(stream)
        next(frames)
        stream.controls.change_display(DisplayChange(masks=False, boxes=False, labels=False, scores=False, ids=False))
        next(frames)
        stream.controls.change_display(DisplayChange(masks=True, min_score=0.95))
        next(frames)
        stream.controls.change_display(DisplayChange(min_score=0.5))
        next(frames)
    drawn = [(one.annotated_bgr != one.segmented.frame.image_bgr).any() for one in seen]
    assert drawn == [True, False, False, True]
    assert [one.controls.min_score for one in seen] == [0.0, 0.0, 0.95, 0.5]
    assert [len(one.segmented.instances) for one in seen] == [1, 1, 1, 1]


def test_problems_with_the_data_reach_the_summary():
    source = FakeSource(4)
    with stream_of(source) as stream:
        source.warnings.add("corrupt data at", "00:01.0")
        assert len(list(stream)) == 4
    assert stream.summary().source_warnings == ["corrupt data at 00:01.0"]


@pytest.mark.parametrize("paused", [False, True])
def test_stop_may_interrupt_the_thread_that_iterates_wherever_it_holds_a_lock(paused):
    """As a signal handler does: a lock that this thread holds at that moment must let it in again."""

    class Window(FakeSink):
        paused = False

        def idle(self, message):
            self.paused = False

    window = Window(Delivery.MAIN_THREAD, name="window")
    stream = stream_of(FakeSource(None), sinks=[window])
    interrupted = set()

    def at_every_line(frame, event, _):
        file, function = Path(frame.f_code.co_filename).stem, frame.f_code.co_name
        if event == "line" and file in ("threading", "ledger", "stage") and function != "is_set":
            interrupted.add(function)
            stream.stop()
        return at_every_line

    def iterate():
        with stream:
            for segmented in stream:
                if segmented.frame.index == 3:
                    window.paused = paused
                    sys.settrace(at_every_line)

    thread = threading.Thread(target=iterate, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert interrupted >= {"stopped", "close"} if paused else interrupted >= {"get", "stopped", "close"}
    assert stream.summary().end is EndReason.STOPPED


def test_frames_come_with_their_objects_ready_to_use():
    with stream_of(FakeSource(3)) as stream:
        shown = list(stream)
    assert [repr(item.instances) for item in shown] == ["<1 thing in 80x48>"] * 3
    for item in shown:
        assert item.instances.image_bgr is item.frame.image_bgr
        assert (item.instances.draw() == stream.draw(item))[:20].all()  # above the status line


def test_a_path_is_enough_for_a_stream(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"content")
    stream = Stream(tmp_path / "clip.mp4")
    assert stream.settings.source.uri.reveal() == str(tmp_path / "clip.mp4")
    assert stream.settings.window.mode.value == "off"
    with pytest.raises(InputError, match=r"absent\.mp4 does not exist"):
        Stream("absent.mp4")


@pytest.mark.parametrize(
    ("settings", "is_early"),
    [
        ({"window": {"fullscreen": True}}, True),
        ({"attract": {"after_s": 5.0, "classes": ["thing"]}}, True),
        ({}, False),
    ],
)
def test_the_window_of_a_kiosk_is_there_before_the_source_is_open(monkeypatch, settings, is_early):
    drawn, shown_while_opening = threading.Event(), []

    class WatchedGui(FakeGui):
        def imshow(self, title, image):
            super().imshow(title, image)
            if image.any():  # more than the black of the beginning
                drawn.set()

    class SlowSource(FakeSource):
        def open(self):
            shown_while_opening.append(drawn.wait(DEADLINE_S if is_early else 0))
            return super().open()

    gui = WatchedGui()

    settings = {"slate": {"loading": "Just a moment"}, **settings}
    window = window_on(gui, Settings.model_validate(settings))
    monkeypatch.setattr("pipeline.runtime.stream.make_window", lambda *_: window)
    with stream_of(SlowSource(2), values=settings) as stream:
        assert stream.sinks[0] is window
        assert len(list(stream)) == 2
    assert shown_while_opening == [is_early]
    assert not gui.windows


def test_a_window_that_appeared_early_is_closed_when_nothing_can_be_opened(monkeypatch):
    class Missing(FakeSource):
        def open(self):
            raise InputError("camera 7 does not exist")

    gui, settings = FakeGui(), {"window": {"fullscreen": True}}
    window = window_on(gui, Settings.model_validate(settings))
    monkeypatch.setattr("pipeline.runtime.stream.make_window", lambda *_: window)
    with pytest.raises(InputError, match="camera 7"):
        stream_of(Missing(1), values=settings).open()
    assert gui.shown
    assert not gui.windows


def test_q_ends_a_run_whose_source_is_still_being_opened(monkeypatch):
    class Stuck(FakeSource):
        def open(self):
            self.interrupted.wait(DEADLINE_S)
            raise InputError("interrupted")

    gui, settings = FakeGui(), {"window": {"fullscreen": True}}
    window = window_on(gui, Settings.model_validate(settings))
    monkeypatch.setattr("pipeline.runtime.stream.make_window", lambda *_: window)
    gui.press(-1, "q")
    with pytest.raises(RunError, match="stopped before the source was open"):
        stream_of(Stuck(None), values=settings).open()
    assert not gui.windows


def window_on(gui, settings):
    return Window(settings.window, attract=settings.attract, desktop=desktop_of(gui, clock=time.monotonic))
