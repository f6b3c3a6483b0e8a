"""Whole runs with a sub-stream: two HTTP cameras that show one moving scene at two sizes."""

import logging
import threading
import time
from contextlib import contextmanager

import av
import cv2
import numpy as np
import pytest

from pipeline.geometry import iou_matrix
from pipeline.records import Instances
from pipeline.runtime.camera_group import Cameras
from pipeline.runtime.stream import Stream
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import FakeSegmenter
from tests.pipeline.runs import assert_accounted_for
from tests.pipeline.sources.clips import write_clip
from tests.pipeline.sources.mjpeg_server import MjpegServer
from tests.pipeline.sources.rtsp_server import RtspServer

LIMIT_S = 30.0
MAIN_WH, SUB_WH = (320, 180), (176, 144)
"""The sub-stream is anamorphic, as those of real cameras."""
QUICK = {"reconnect": {"read_timeout_s": 2.0, "first_delay_s": 0.05, "longest_delay_s": 0.1}}
HEADLESS = {"window": {"mode": "off"}, "motion": {"blend_s": 0, "fade_s": 0}}
GOOD_IOU = 0.75
"""What a mask reaches whose object has moved on by 9 of its 64 pixels, which takes it nearly half a second."""


class SceneServer(MjpegServer):
    """A camera that shows a bright square on a textured wall, which moves."""

    def __init__(self, size_wh):
        super().__init__()
        self.size_wh = size_wh

    def jpeg(self, _number):
        return cv2.imencode(".jpg", resized(place(time.monotonic()), self.size_wh))[1].tobytes()


INTRA = {"g": "1", "preset": "ultrafast"}
"""Every picture is a keyframe: a viewer may come at any time."""
WALL = cv2.resize(np.random.default_rng(5).integers(40, 110, (18, 32, 3)).astype(np.uint8), MAIN_WH)


def scene(x):
    image = WALL.copy()
    image[60:124, round(x) : round(x) + 64] = 255
    return image


def place(seconds):
    """Where the square is at a time: it moves back and forth once in 20 seconds."""
    return 30 + 19.5 * abs(seconds % 20 - 10)


def resized(x, size_wh):
    return cv2.resize(scene(x), size_wh, interpolation=cv2.INTER_AREA)


def boxes_of_squares(image_bgr):
    """float32 (N, 4): of the square, 0 or 1."""
    x, y, width, height = cv2.boundingRect((image_bgr.min(axis=2) > 180).view(np.uint8))
    return np.array([[x, y, x + width, y + height]] if width else [], np.float32).reshape(-1, 4)


class SquareFinder(FakeSegmenter):
    """Finds the square, and remembers the sizes of the pictures that it got."""

    def __init__(self):
        super().__init__()
        self.sizes_wh = []

    def segment(self, image_bgr):
        self.sizes_wh.append(image_bgr.shape[1::-1])
        boxes = boxes_of_squares(image_bgr)
        count = len(boxes)
        found = np.ones(count, np.int32), np.full(count, 0.99, np.float32), np.ones((count, 28, 28), np.float32)
        return Instances(boxes, *found)


class Watched:
    """A stream, and how well the masks that it shows lie on the square."""

    def __init__(self, stream, segmenter, sub):
        self.stream, self.segmenter, self.sub = stream, segmenter, sub
        self._frames = iter(stream)

    def until(self, condition, of=None):
        """Show frames until a condition holds.

        Returns: the intersections over union of the frames with a mask, or what `of` makes of each frame.
        """
        found = []
        until_s = time.monotonic() + LIMIT_S
        for segmented in self._frames:
            found += overlaps(segmented) if of is None else [of(segmented.frame)]
            if condition():
                return found
            assert time.monotonic() < until_s, self.segmenter.sizes_wh[-5:]
        raise AssertionError("the run has ended")

    def until_more(self, size_wh, count=5, of=None):
        """Show frames until so many more pictures of this size were inferred; returns what `until` does."""
        before = self.segmenter.sizes_wh.count(size_wh)
        return self.until(lambda: self.segmenter.sizes_wh.count(size_wh) >= before + count, of)


def overlaps(segmented):
    """How well the masks of a frame lie on the square: one number, or none where one of both is missing."""
    truth = boxes_of_squares(segmented.frame.image_bgr)
    both = len(segmented.instances) and len(truth)
    return [float(iou_matrix(segmented.instances.boxes_xyxy, truth).max())] if both else []


@contextmanager
def watched(main, sub, **values):
    segmenter = SquareFinder()
    source = {"uri": main.url, "detect_uri": sub.url, **QUICK, **values.pop("source", {})}
    with Stream(Settings.model_validate({**HEADLESS, "source": source, **values}), segmenter=segmenter) as stream:
        yield Watched(stream, segmenter, sub)
        stream.stop()
    assert_accounted_for(stream)


@pytest.fixture
def main():
    with SceneServer(MAIN_WH) as server:
        yield server


@pytest.fixture
def sub():
    with SceneServer(SUB_WH) as server:
        yield server


@pytest.fixture
def patient(monkeypatch):
    """Under load, a picture may take longer than a second."""
    monkeypatch.setattr("pipeline.runtime.substream.STALE_S", LIMIT_S)


@pytest.mark.usefixtures("patient")
def test_masks_found_in_the_sub_stream_lie_on_the_objects_of_the_main_one(main, sub):
    with watched(main, sub) as run:
        ious = run.until_more(SUB_WH, 25)
    assert set(run.segmenter.sizes_wh) == {SUB_WH}
    assert np.median(ious) > GOOD_IOU
    assert run.stream.info.width == MAIN_WH[0]


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_both_streams_may_come_by_rtsp(tmp_path):
    seconds, rate = 60, 15
    places = [place(number / rate) for number in range(seconds * rate)]
    clips = [
        write_clip(tmp_path / f"{size_wh[0]}.ts", [resized(x, size_wh) for x in places], rate=rate, options=INTRA)
        for size_wh in (MAIN_WH, SUB_WH)
    ]
    began_s = time.monotonic()
    with RtspServer(clips[0], None, seconds, began_s) as main, RtspServer(clips[1], None, seconds, began_s) as sub:
        with watched(main, sub) as run:
            ious = run.until_more(SUB_WH, 15)
    assert np.median(ious) > GOOD_IOU
    assert run.stream.info.width == MAIN_WH[0]


def test_while_the_sub_stream_is_silent_the_network_gets_the_main_one(main, sub, monkeypatch, caplog):
    monkeypatch.setattr("pipeline.runtime.substream.STALE_S", 0.3)
    caplog.set_level(logging.WARNING, "pipeline.runtime.substream")
    with watched(main, sub) as run:
        run.until_more(SUB_WH)
        sub.running.clear()
        run.until_more(MAIN_WH)
        ious = run.until_more(MAIN_WH)
        sub.running.set()
        run.until_more(SUB_WH)
        ious += run.until_more(SUB_WH)
    assert np.median(ious) > GOOD_IOU
    assert any("the network gets the main stream" in message for message in caplog.messages)
    assert any("the network gets the sub-stream" in message for message in caplog.messages)


def test_a_sub_stream_that_is_not_there_at_the_start_comes_later(main, sub, monkeypatch):
    monkeypatch.setattr("pipeline.runtime.substream.STALE_S", 0.1)
    sub.refuse = True
    with watched(main, sub) as run:
        run.until_more(MAIN_WH)
        sub.refuse = False
        run.until_more(SUB_WH)


@pytest.mark.usefixtures("patient")
def test_either_stream_may_change_its_size_and_the_main_one_come_back(main, sub):
    with watched(main, sub) as run:
        run.until_more(SUB_WH)
        sub.size_wh = (160, 120)
        run.until_more((160, 120))
        assert np.median(run.until_more((160, 120), 10)) > GOOD_IOU
        main.size_wh = (240, 136)
        main.drop()
        run.until(lambda: run.stream.summary().reconnects >= 1)
        run.until_more((160, 120))
        assert np.median(run.until_more((160, 120), 10)) > GOOD_IOU
    assert run.stream.info.width == 240


@pytest.mark.usefixtures("patient")
def test_a_recording_has_every_frame_of_the_main_stream(main, sub, tmp_path):
    path = tmp_path / "out.mkv"
    with watched(main, sub, output={"path": str(path)}) as run:
        run.until_more(SUB_WH, 15)
    with av.open(str(path)) as video:
        sizes = [(frame.width, frame.height) for frame in video.decode(video=0)]
    stats = run.stream.summary().stats
    assert set(sizes) == {MAIN_WH}
    assert len(sizes) == stats.presented - sum(stats.sink_dropped.values())


PRIVACY = {"mode": "silhouette", "color": "#000000", "classes": ["thing"], "late_after_s": LIMIT_S}


@pytest.mark.usefixtures("patient")
def test_what_is_found_in_the_sub_stream_is_covered_in_the_main_one(main, sub):
    with watched(main, sub, privacy=PRIVACY) as run:
        shown = run.until_more(SUB_WH, 10, of=lambda frame: frame.image_bgr)
    assert not any((image.min(axis=2) > 180).any() for image in shown)
    assert any(image.any() for image in shown)  # not everything is covered all the time


@pytest.mark.usefixtures("patient")
def test_a_sub_stream_of_another_camera_covers_everything(main):
    with MjpegServer() as other, watched(main, other, privacy=PRIVACY) as run:
        shown = run.until_more(other.size_wh, 10, of=lambda frame: frame.image_bgr)
    assert len(shown) > 5
    assert not any(image.any() for image in shown)


@pytest.mark.usefixtures("patient")
def test_a_camera_of_several_may_have_one(main, sub):
    segmenter = SquareFinder()
    with SceneServer((200, 112)) as other:
        settings = {
            **HEADLESS,
            "source": QUICK,
            "cameras": [
                {"name": "hall", "uri": main.url, "detect_uri": sub.url},
                {"name": "gate", "uri": other.url},
            ],
        }
        ious = {"hall": [], "gate": []}
        until_s = time.monotonic() + LIMIT_S
        with Cameras(settings, segmenter=segmenter) as cameras:
            for camera, segmented in cameras:
                assert segmented.frame.width == {"hall": 320, "gate": 200}[camera]
                ious[camera] += overlaps(segmented)
                if min(map(len, ious.values())) >= 15:
                    break
                assert time.monotonic() < until_s, segmenter.sizes_wh
    assert set(segmenter.sizes_wh) == {SUB_WH, (200, 112)}
    assert all(np.median(one) > GOOD_IOU for one in ious.values())


def test_a_run_that_ends_before_its_sub_stream_is_open_leaves_no_thread(main):
    with SceneServer(SUB_WH) as silent:
        silent.running.clear()
        with watched(main, silent) as run:
            run.until(lambda: True)
    assert not [thread for thread in threading.enumerate() if "sub-stream" in thread.name]
