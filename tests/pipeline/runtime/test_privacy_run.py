"""Privacy in whole runs: what reaches the sinks when the engine is slow, dead, not there yet, or blind."""

import threading
import time
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.privacy.redaction import Redactor
from pipeline.records import Frame, Instances, SegmentedFrame, SourceKind
from pipeline.runtime.stream import Stream
from pipeline.settings.output_settings import RecorderSettings, WindowSettings
from pipeline.settings.schema import Settings
from pipeline.sinks.base import Delivery
from pipeline.sinks.recorder import Recorder
from pipeline.sinks.window import Window
from tests.pipeline.fakes import DEADLINE_S, FakeSegmenter, FakeSink, FakeSource
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of
from tests.pipeline.sinks.presentations import flash_and_beep

HEIGHT, WIDTH = 90, 160
PERSON_BGR = (203, 7, 250)
COVER_BGR = (1, 255, 0)
SILHOUETTE = {"mode": "silhouette", "color": "#00ff01", "classes": ["other"], "late_after_s": 1.0}


def person_box(index):
    """Where somebody walks, 2 pixels a frame."""
    x = 10 + 2 * (index % 60)
    return x, 20, x + 24, 80


class Street(FakeSource):
    """Somebody of one color walks past a wall of noise, 25 frames a second; frame 0's number is in its first pixel."""

    def __init__(self, count, kind=SourceKind.RECORDED, gate=None):
        super().__init__(count, kind, gate, clock=time.monotonic)

    def open(self):
        info = super().open()
        return type(info)("fake", self.kind, WIDTH, HEIGHT, fps=25.0, time_base=Fraction(1, 1000))

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        image = np.random.default_rng(1).integers(90, 150, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        x1, y1, x2, y2 = person_box(frame.index)
        image[y1:y2, x1:x2] = PERSON_BGR
        image[0, 0] = frame.index % 256
        return Frame("fake", frame.index, frame.pts, frame.time_base, frame.captured_at_s, image)


class Finder(FakeSegmenter):
    """Finds the person of `Street`, of class 2 ("other"); `blind` frames find nothing."""

    def __init__(self, before=None, opening=None, blind=()):
        super().__init__(before, opening)
        self._blind = set(blind)

    def segment(self, image_bgr):
        super().segment(image_bgr)
        index = int(image_bgr[0, 0, 0])
        if index in self._blind:
            return Instances.empty()
        box = np.array([person_box(index)], np.float32)
        return Instances(box, np.array([2], np.int32), np.array([0.5], np.float32), np.ones((1, 28, 28), np.float32))


class Watcher(FakeSink):
    """Keeps what it got: everything that a presentation leads to."""

    def __init__(self, delivery=Delivery.EVERY_FRAME, wants_overlay=True):
        super().__init__(delivery, name=f"watcher {delivery.value}", wants_overlay=wants_overlay)
        self.got = []

    def write(self, presentation):
        assert type(presentation.segmented) is SegmentedFrame
        self.got.append((presentation.segmented.frame, presentation.annotated_bgr))

    def images(self):
        return [image for frame, annotated in self.got for image in (frame.image_bgr, annotated)]


def watchers():
    return [Watcher(delivery, wants) for delivery in Delivery for wants in (True, False)]


def stream_of(source, segmenter, sinks, /, **values):
    base = {"window": {"mode": "off"}, "privacy": SILHOUETTE, "overlay": {"status": False}}
    stream = Stream(Settings.model_validate({**base, **values}), source=source, segmenter=segmenter)
    for sink in sinks:
        stream.add_sink(sink)
    return stream


def shows_person(image):
    return bool((image == np.array(PERSON_BGR)).all(axis=2).any())


def all_covered(image):
    return bool((image == np.array(COVER_BGR)).all())


def assert_nobody_seen(sinks, shown=()):
    images = [image for sink in sinks for image in sink.images()] + [item.frame.image_bgr for item in shown]
    assert images
    assert not any(shows_person(image) for image in images)


def test_the_street_shows_the_person_without_privacy():
    sinks = watchers()
    with stream_of(Street(5), Finder(), sinks, privacy={}) as stream:
        list(stream)
    assert all(shows_person(image) for sink in sinks for image in sink.images()[::2])


@pytest.mark.parametrize("switches", [{}, {"masks": False, "boxes": False, "labels": False, "scores": False}])
def test_recorded_no_sink_and_no_caller_sees_the_person(switches):
    sinks = watchers()
    with stream_of(Street(30), Finder(blind=[4, 5, 11]), sinks, overlay={"status": False, **switches}) as stream:
        shown = list(stream)
    assert_nobody_seen(sinks, shown)
    assert len(sinks[0].got) == 30
    # The rest is to be seen: it is not all covered.
    assert not any(all_covered(item.frame.image_bgr) for item in shown)
    assert all(len(item.instances) or item.frame.index in (4, 5, 11) for item in shown)


def test_keyframes_only_the_frames_between_are_covered_too():
    sinks = watchers()
    with stream_of(Street(30), Finder(), sinks, motion={"infer_every": 5}) as stream:
        shown = list(stream)
    assert [item.frame.index for item in shown] == list(range(30))
    assert_nobody_seen(sinks, shown)


class Album(Street):
    """The frames of `Street` as single pictures, which all have pts 0."""

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        return Frame(f"{frame.index}.png", frame.index, 0, Fraction(1), frame.captured_at_s, frame.image_bgr)


def test_pictures_that_do_not_wait_for_an_engine_that_hangs_are_covered():
    hang, pace, sinks = threading.Event(), Pace(), watchers()

    def wait_from_3_on(index):
        if index >= 3:
            hang.wait(DEADLINE_S)

    def at(index):
        if index == 24:
            hang.set()

    finder = Finder(before=wait_from_3_on)
    source = Album(25, SourceKind.STILLS, gate=pace)
    with stream_of(source, finder, sinks, source={"policy": "live"}) as stream:
        run_live(stream, pace, at)
    assert [item.frame.index for item in pace.shown] == list(range(25))
    assert_nobody_seen(sinks, pace.shown)
    # A picture has a result of its own, or nothing of it is seen.
    own = [item.frame.index for item in pace.shown if not all_covered(item.frame.image_bgr)]
    assert set(own) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("values", "has_sound"),
    [
        ({}, False),
        ({"output": {"audio": "copy"}}, True),
        ({"output": {"audio": "off"}}, False),
        ({"privacy": {}}, True),
    ],
)
def test_the_sound_of_those_who_are_covered_is_recorded_only_on_request(tmp_path, caplog, values, has_sound):
    clip = flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0)
    planned, own = tmp_path / "planned.mp4", tmp_path / "own.mp4"
    output = {"path": str(planned), **values.get("output", {})}
    stream = stream_of(
        None,
        Finder(),
        [Recorder(RecorderSettings(path=str(own), audio=output.get("audio", "auto")))],
        **{**values, "output": output, "source": {"uri": str(clip)}},
    )
    with stream:
        list(stream)
    for path in (planned, own):
        with av.open(str(path)) as file:
            assert bool(file.streams.audio) == has_sound
    said = "privacy is on: the sound is left out" in caplog.text
    assert said == (values == {})


@pytest.mark.parametrize("has_window", [True, False])
def test_where_a_key_starts_recordings_a_line_says_that_they_have_no_sound(tmp_path, monkeypatch, caplog, has_window):
    window = Window(WindowSettings(speed="full"), desktop=desktop_of(FakeGui())) if has_window else None
    monkeypatch.setattr("pipeline.runtime.stream.make_window", lambda *_: window)
    clip = flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0)
    with stream_of(None, Finder(), (), source={"uri": str(clip)}) as stream:
        list(stream)
    assert ("privacy is on: the sound is left out" in caplog.text) == has_window


class Pace:
    """Lets a live source give a frame once the one before was shown; opens doors at given frames."""

    def __init__(self):
        self.shown = []
        self.more = threading.Event()

    def __call__(self, index):
        deadline = time.monotonic() + DEADLINE_S
        while len(self.shown) < index and time.monotonic() < deadline:
            self.more.wait(0.001)
        return True


def run_live(stream, pace, at=None):
    for item in stream:
        pace.shown.append(item)
        if at is not None:
            at(item.frame.index)


@pytest.mark.parametrize("stuck_in", ["opening", "first inference"])
def test_live_while_the_engine_warms_up_everything_is_covered(stuck_in):
    release, pace, sinks = threading.Event(), Pace(), watchers()

    def wait(*_):
        release.wait(DEADLINE_S)

    finder = Finder(opening=wait) if stuck_in == "opening" else Finder(before=wait)
    with stream_of(Street(20, SourceKind.LIVE, gate=pace), finder, sinks) as stream:
        assert stream.plan.smooth
        run_live(stream, pace, lambda index: release.set() if index == 19 else None)
    assert len(pace.shown) == 20
    assert all(all_covered(item.frame.image_bgr) for item in pace.shown)
    assert_nobody_seen(sinks, pace.shown)
    for sink in sinks:
        assert all(all_covered(image) for image in sink.images()[::2])


@pytest.mark.parametrize("presentation", ["exact", "smooth"])
def test_live_somebody_who_is_found_only_while_the_caller_is_busy_stays_covered(presentation):
    inferred = threading.Semaphore(0)

    class Glimpse(Finder):
        def segment(self, image_bgr):
            inferred.release()
            index = int(image_bgr[0, 0, 0])
            return super().segment(image_bgr) if index == 5 else Instances.empty()

    class Inferred(Street):
        def read(self):
            frame = super().read()
            while frame is not None and frame.index and not self.interrupted.is_set():
                if inferred.acquire(timeout=0.01):  # so that each of them is inferred
                    break
            return frame

    source = Inferred(30, SourceKind.LIVE)
    with stream_of(source, Glimpse(), [], presentation=presentation) as stream:
        frames = iter(stream)
        next(frames)
        deadline = time.monotonic() + DEADLINE_S
        while source.given < 20 and time.monotonic() < deadline:
            time.sleep(0.001)  # the caller is busy
        later = next(frame for frame in frames if frame.frame.index > 5 and frame.instances_index is not None)
    x1, y1, x2, y2 = person_box(5)
    assert 5 < later.frame.index < 30
    assert all_covered(later.frame.image_bgr[y1:y2, x1:x2])
    assert not all_covered(later.frame.image_bgr)


def test_live_an_engine_that_hangs_is_noticed_and_everything_is_covered():
    hang, pace, sinks = threading.Event(), Pace(), watchers()
    looked_at = threading.Semaphore(0)

    class Hanging(Finder):
        def segment(self, image_bgr):
            if len(self.seen) >= 3:
                hang.wait(DEADLINE_S)
            looked_at.release()
            return super().segment(image_bgr)

    def gate(index):
        if index < 4:
            looked_at.acquire(timeout=DEADLINE_S if index else 0)  # so that each of them is inferred
        return pace(index)

    with stream_of(Street(60, SourceKind.LIVE, gate=gate), Hanging(), sinks) as stream:
        run_live(stream, pace, lambda index: hang.set() if index == 59 else None)
    assert_nobody_seen(sinks, pace.shown)
    # 25 frames a second, late after one: the result in hand is of frame 2 at the latest.
    late = [item for item in pace.shown if 2 + 26 <= item.frame.index < 59]
    assert len(late) >= 20
    assert all(all_covered(item.frame.image_bgr) for item in late)
    assert any(not all_covered(item.frame.image_bgr) for item in pace.shown)


def test_live_a_slow_engine_never_lets_the_person_be_seen():
    pace, sinks, turns = Pace(), watchers(), threading.Semaphore(0)

    class Slow(Finder):
        def segment(self, image_bgr):
            turns.acquire(timeout=DEADLINE_S)
            return super().segment(image_bgr)

    def at(index):
        if index % 9 == 8 or index == 59:
            turns.release()

    with stream_of(Street(60, SourceKind.LIVE, gate=pace), Slow(), sinks) as stream:
        run_live(stream, pace, at)
    assert_nobody_seen(sinks, pace.shown)


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_an_engine_that_dies_ends_the_run_with_nobody_seen(kind):
    sinks = watchers()

    def die(index):
        if index >= 3:
            raise ValueError("killed on purpose")

    stream = stream_of(Street(None, kind), Finder(die), sinks)
    with pytest.raises(RunError, match="killed on purpose"), stream:
        list(stream)
    assert not any(shows_person(image) for sink in sinks for image in sink.images())


@pytest.mark.parametrize("kind", [SourceKind.LIVE, SourceKind.RECORDED])
def test_an_error_in_the_cover_ends_the_run_before_the_frame_is_seen(kind, monkeypatch):
    sinks, good = watchers(), Redactor.apply

    def apply(self, captured):
        if captured.frame.index >= 2:
            raise ZeroDivisionError("broken on purpose")
        return good(self, captured)

    monkeypatch.setattr(Redactor, "apply", apply)
    shown = []
    stream = stream_of(Street(None, kind), Finder(), sinks)
    with pytest.raises(RunError, match="privacy failed: ZeroDivisionError: broken on purpose"), stream:
        shown.extend(stream)
    assert all(item.frame.index < 2 for item in shown)
    assert not any(shows_person(image) for sink in sinks for image in sink.images())
    stats = stream.summary().stats
    assert stats.captured == stats.presented + stats.dropped_total


def test_background_and_privacy_together_show_nobody_and_no_wall():
    sinks = watchers()
    background = {"mode": "color", "color": "#0000ff", "classes": ["other"]}
    with stream_of(Street(6), Finder(), sinks, background=background) as stream:
        shown = list(stream)
    assert_nobody_seen(sinks, shown)
    corner = shown[3].frame.image_bgr[85:, 150:]
    assert (corner == (255, 0, 0)).all()
