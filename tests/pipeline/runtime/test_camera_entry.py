"""What viewers read of a camera."""

import threading
from datetime import datetime, timedelta

import pytest

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.runtime.camera_entry import CameraEntry, CameraHost
from pipeline.runtime.stream import Stream
from pipeline.settings.camera_settings import CameraSettings
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import DEADLINE_S, FakeClock, FakeSegmenter, FakeSink, FakeSource
from tests.pipeline.runs import HEADLESS


class Host(CameraHost):
    """Makes streams of the sources that it is given; `seen` are the numbers of the frames presented."""

    def __init__(self, *sources, sinks=(), clock=None, segmenter=None):
        self.sources, self.sinks, self.clock = list(sources), sinks, clock
        self.segmenter = segmenter or FakeSegmenter()
        self.settings, self.seen, self.failed = [], [], []
        self.came = threading.Event()

    def make_stream(self, entry, settings):
        self.settings.append(settings)
        more = {} if self.clock is None else {"clock": self.clock}
        return Stream(settings, source=self.sources.pop(0), segmenter=self.segmenter, camera=entry.name, **more)

    def make_sinks(self, entry):
        return self.sinks

    def present(self, entry, segmented):
        self.seen.append(segmented.frame.index)
        self.came.set()

    def on_failure(self, entry):
        self.failed.append(str(entry.error))


def entry_of(host, wall_clock=lambda: datetime(2026, 3, 14, 14, 3, 30), **values):
    camera = CameraSettings.model_validate({"name": "hall", "uri": "test:"})
    return CameraEntry(camera, Settings.model_validate({**HEADLESS, **values}), host, wall_clock)


def test_a_camera_runs_from_its_start_to_the_end_of_its_source():
    host = Host(FakeSource(5))
    entry = entry_of(host)
    assert (entry.state, entry.controls, entry.live) == ("disabled", None, True)
    assert (entry.view.source(), entry.view.waiting_for()) == (None, "disabled")
    assert entry.ledger.overall().captured == 0
    entry.start()
    entry.join()
    assert host.seen == list(range(5))
    assert (entry.state, entry.enabled, entry.live, entry.error) == ("ended", True, False, None)
    assert entry.ledger.overall().presented == 5
    assert entry.view.ledger is entry.ledger
    assert entry.controls.state.overlay == entry.settings.overlay
    assert [run.stats.captured for run in entry.summaries] == [5]


def test_started_again_it_replaces_nothing_that_it_has_recorded():
    host = Host(FakeSource(2), FakeSource(3))
    entry = entry_of(host, output={"overwrite": True})
    for count in (2, 3):
        entry.start()
        entry.join()
        assert entry.summaries[-1].stats.captured == count
    assert [settings.output.overwrite for settings in host.settings] == [True, False]


def test_until_the_networks_first_result_frames_come_and_the_state_says_why_they_have_no_masks():
    prepared, answered, seen = threading.Event(), threading.Event(), []

    def think(index):
        seen.append(index)
        if len(seen) == 1:
            prepared.wait(DEADLINE_S)
        else:
            answered.set()

    host = Host(FakeSource(None, SourceKind.LIVE), segmenter=FakeSegmenter(before=think))
    entry = entry_of(host, slate={"loading": "One moment"})
    entry.start()
    assert host.came.wait(DEADLINE_S)
    assert entry.state == "One moment"
    prepared.set()
    assert answered.wait(DEADLINE_S)
    assert entry.state == ""
    entry.disable()
    entry.join()


def test_a_lost_source_is_offline_since_its_last_frame():
    clock = FakeClock(1000.0)
    waiting = threading.Event()

    class Watch(FakeSink):
        def idle(self, message):
            waiting.set()

    class Lost(FakeSource):
        def read(self):
            if self.given == 1:
                waiting.wait(DEADLINE_S)
                waiting.clear()
                clock.now_s += 90.0
                self.text = "gone"
                self.interrupted.wait(DEADLINE_S)
            return super().read()

    watch = Watch(delivery=FakeSink(name="x").delivery.MAIN_THREAD)
    host = Host(Lost(None, SourceKind.LIVE, clock=clock), sinks=[watch], clock=clock)
    now = datetime(2026, 3, 14, 14, 3, 30)
    entry = entry_of(host, lambda: now)
    entry.start()
    assert host.came.wait(DEADLINE_S)
    for _ in range(3):  # the watch of the entry comes before it: after two more, it has seen the text
        waiting.clear()
        assert waiting.wait(DEADLINE_S)
    while not entry.state.startswith("offline"):
        assert waiting.wait(DEADLINE_S)
    assert entry.state == "offline since 14:02"  # 90 s before 14:03:30
    now += timedelta(hours=10)
    assert entry.state == "offline since 2026-03-14 14:02"
    entry.disable()
    entry.join()
    assert entry.state == "disabled"


def test_its_own_thread_may_read_its_state():
    states = []
    host = Host(FakeSource(3))
    entry = entry_of(host)
    host.sinks = [
        FakeSink(FakeSink().delivery.MAIN_THREAD, on_write=lambda _: states.append((entry.running, entry.state)))
    ]
    entry.start()
    entry.join()
    assert entry.error is None
    assert [running for running, _ in states] == [True] * 3
    assert "ended" not in {state for _, state in states}


def test_a_failure_is_kept_and_told():
    host = Host(FakeSource(3, error=InputError("broken")), FakeSource(2))
    entry = entry_of(host)
    entry.start()
    entry.join()
    assert (str(entry.error), entry.state, host.failed) == ("broken", "failed: broken", ["broken"])
    entry.start()
    entry.join()
    assert (entry.error, entry.state) == (None, "ended")


@pytest.mark.parametrize("count", [1, 3])
def test_it_ends_when_it_is_disabled(count):
    host = Host(*(FakeSource(None) for _ in range(count)))
    entry = entry_of(host)
    for _ in range(count):
        host.came.clear()
        entry.start()
        entry.start()  # it runs already
        assert host.came.wait(DEADLINE_S)
        entry.disable()
        entry.join()
    assert len(entry.summaries) == count
    assert host.failed == []
