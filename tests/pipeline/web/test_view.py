import json
from dataclasses import replace

import pytest

from pipeline.controls import Controls, DisplayChange
from pipeline.ledger import DropStage, RunLedger
from pipeline.records import SegmentedFrame, SourceKind, StageTimes
from pipeline.settings.output_settings import OverlaySettings, ServeSettings
from pipeline.sinks.base import Presentation
from pipeline.web.feed import Feed
from pipeline.web.view import RunView
from tests.pipeline.fakes import FakeClock, make_frame, make_instances
from tests.pipeline.sinks.presentations import context


class Watched:
    def __init__(self, kind=SourceKind.LIVE):
        self.clock = FakeClock()
        self.ledger, self.controls = RunLedger(), Controls(OverlaySettings())
        self.waiting, self.live = "", True
        opened = context(kind=kind, source_id="camera 0")
        view = RunView(
            self.ledger,
            self.controls,
            self.clock,
            source=lambda: opened.source,
            live=lambda: self.live,
            model=lambda: "a model",
            least_score=lambda: 0.7,
            waiting_for=lambda: self.waiting,
            reconnects=lambda: 3,
        )
        self.feed = Feed(ServeSettings(stalled_after_s=5.0), lambda: view)
        self.monitor = self.feed.monitor
        self.monitor.labels = opened.labels

    def present(self, count=2, latency_s=0.25):
        times = StageTimes(self.clock.now_s - latency_s, presented_at_s=self.clock.now_s)
        segmented = SegmentedFrame(make_frame(0), make_instances(count), 0, times)
        self.ledger.presented(segmented)
        self.monitor.presented(Presentation(segmented, segmented.frame.image_bgr, self.controls.state))


def test_health_at_the_start_during_a_stall_and_after_it():
    run = Watched()
    run.waiting = "loading the model"
    assert (run.monitor.health().ok, run.monitor.health().reason) == (
        False,
        "no frame shown yet: loading the model",
    )
    run.waiting = ""
    run.present()
    assert run.monitor.health().ok
    run.clock.now_s += 5.0
    assert run.monitor.health().ok
    run.clock.now_s += 2.0
    health = run.monitor.health()
    assert (health.ok, health.reason, health.frame_age_s) == (False, "no frame shown for 7 s", 7.0)
    run.waiting = "camera 0 is gone"
    assert run.monitor.health().reason == "no frame shown for 7 s: camera 0 is gone"
    assert run.monitor.health().trouble == "no frame shown for 7 s"
    run.present()
    assert run.monitor.health().ok


def test_objects_are_those_drawn_and_classes_stay_at_zero():
    run = Watched()
    assert run.monitor.objects() == {}
    run.present(count=3)  # classes 1, 2, 3 with scores 0.9, 0.7, 0.5; only two have a label
    assert run.monitor.objects() == {"class 3": 1, "dog": 1, "person": 1}
    run.controls.change_display(DisplayChange(min_score=0.65))
    run.present(count=3)
    assert run.monitor.objects() == {"class 3": 0, "dog": 1, "person": 1}
    run.present(count=0)
    assert run.monitor.objects() == {"class 3": 0, "dog": 0, "person": 0}


def test_objects_are_unknown_while_the_source_is_lost():
    run = Watched()
    run.present(count=1)
    run.clock.now_s += 1.5
    assert run.monitor.objects() == {"person": 1}  # it may be a slow camera
    run.waiting = "camera 0 is disconnected"
    assert run.monitor.objects() == {}
    run.monitor.sample()
    assert run.monitor.history[-1]["objects"] == {}
    run.present(count=0)  # what was on its way when the camera was lost
    assert run.monitor.objects() == {"person": 0}
    run.waiting = ""
    run.clock.now_s += 5.5  # longer than stalled_after_s
    assert run.monitor.objects() == {}
    run.live = False  # a video that is paused, or an image
    assert run.monitor.objects() == {"person": 0}
    run.waiting = "ended"
    assert run.monitor.objects() == {}


def test_status_is_complete_and_json():
    run = Watched()
    run.ledger.captured(run.clock.now_s)
    for latency_s in [0.1] * 18 + [0.5] * 2:
        run.present(latency_s=latency_s)
    run.ledger.dropped(DropStage.DISPLAY)
    run.ledger.dropped(DropStage.DISPLAY)
    run.ledger.ready()
    run.ledger.dropped(DropStage.INFERENCE)
    run.ledger.sink_dropped("recorder")
    run.controls.set_recording(True)
    run.controls.recording_to("/home/somebody/films/a.mp4")
    run.clock.now_s += 1.0
    status = json.loads(json.dumps(run.monitor.status(viewers=4)))
    assert status["source"] == {"name": "camera 0", "live": True, "width": 96, "height": 64, "fps": 25.0}
    assert status["model"] == "a model"
    assert status["uptime_s"] == 1.0
    assert status["frame_age_s"] == 1.0
    assert status["frames"] == {"captured": 1, "inferred": 0, "presented": 20}
    assert status["latency_ms"] == {"p50": pytest.approx(100, abs=0.1), "p95": pytest.approx(500, abs=0.1)}
    assert status["drops"] == [
        {"stage": "display", "cause": "still loading", "count": 2},
        {"stage": "inference", "cause": "busy", "count": 1},
    ]
    assert status["sink_drops"] == {"recorder": 1}
    assert (status["viewers"], status["reconnects"]) == (4, 3)
    assert status["recording"] == {"possible": True, "on": True, "file": "a.mp4", "saved": None, "error": ""}
    assert status["display"]["masks"] is True


def test_single_images_cannot_be_recorded():
    assert not Watched(SourceKind.STILLS).monitor.can_record
    assert Watched(SourceKind.RECORDED).monitor.can_record


def test_a_presentation_of_your_own_has_no_threshold():
    run = Watched()
    segmented = SegmentedFrame(make_frame(0), make_instances(1), 0, StageTimes(0.0, presented_at_s=run.clock.now_s))
    run.ledger.presented(segmented)
    run.monitor.presented(replace(Presentation(segmented, segmented.frame.image_bgr), controls=None))
    assert run.monitor.objects() == {"person": 1}


def test_the_threshold_is_at_least_that_of_the_run():
    run = Watched()
    for given, shown in ((0.0, 0.7), (0.5, 0.7), (0.8, 0.8)):
        run.controls.change_display(DisplayChange(min_score=given))
        display = run.monitor.status(0)["display"]
        assert (display["min_score"], display["least_score"]) == (shown, 0.7)


def test_the_history_is_the_last_minute_of_what_is_plotted():
    run = Watched()
    assert run.monitor.history == []
    for second in range(100):
        run.clock.now_s += 1.0
        run.present(count=second % 3)
        run.ledger.dropped(DropStage.DISPLAY)
        for _ in range(2):  # twice a second
            run.monitor.sample()
    history = json.loads(json.dumps(run.monitor.history))
    assert len(history) == 120
    assert [sample["drops"][0]["count"] for sample in history] == [count for count in range(41, 101) for _ in range(2)]
    assert history[-1]["objects"] == {"dog": 0, "person": 0}  # 99 % 3 is 0
    assert history[-3]["objects"] == {"dog": 1, "person": 1}
    status = run.monitor.status(0)
    assert history[-1] == {name: status[name] for name in ("fps", "latency_ms", "objects", "drops", "sink_drops")}
