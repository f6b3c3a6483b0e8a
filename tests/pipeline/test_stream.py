"""Whole runs with fakes at both ends: real threads, real slots."""

import threading
import time
from dataclasses import replace

import pytest

from pipeline.controls import DisplayChange
from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.settings import Settings
from pipeline.sinks.base import Delivery
from pipeline.stats import DropCause, DropStage
from pipeline.stream import Stream
from pipeline.summary import EndReason
from tests.pipeline.fakes import DEADLINE_S, HEIGHT, WIDTH, FakeSegmenter, FakeSink, FakeSource

HEADLESS = {"window": {"mode": "off"}}


def stream_of(source, segmenter=None, sinks=(), values=None):
    settings = Settings.model_validate({**HEADLESS, **(values or {})})
    stream = Stream(settings, source=source, segmenter=segmenter or FakeSegmenter())
    for sink in sinks:
        stream.add_sink(sink)
    return stream


def assert_accounted_for(stream):
    stats = stream.summary().stats
    assert stats.captured == stats.presented + stats.dropped_total


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


def test_live_exact_the_newest_frame_wins_and_drops_are_counted():
    started, release, first_shown = threading.Event(), threading.Event(), threading.Event()

    def think(index):
        if index == 0:
            started.set()
            release.wait(DEADLINE_S)
        else:
            first_shown.wait(DEADLINE_S)  # else its result may be pushed out by the next ones

    def gate(index):
        if index == 1:
            started.wait(DEADLINE_S)
        if index == 9:
            release.set()
        return True

    source = FakeSource(10, SourceKind.LIVE, gate=gate)
    with stream_of(source, FakeSegmenter(before=think), values={"presentation": "exact"}) as stream:
        assert stream.live
        assert not stream.smooth
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
        assert stream.smooth
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

    began = time.monotonic()
    with pytest.raises(RunError, match="broken on purpose"):
        run()
    assert time.monotonic() - began < 1.5
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
            assert item.times.inference_s == 0.5
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
