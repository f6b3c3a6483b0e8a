"""From settings to the right kind of source."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.safe_uri import SourceUri
from pipeline.settings.source_settings import Policy, ReconnectSettings, SourceSettings
from pipeline.sources import factory
from pipeline.sources.base import Source
from pipeline.sources.camera import CameraDevice, CameraSystem
from pipeline.sources.factory import LimitedSource, make_detect_source, make_source, sample_frames, spread_frames
from pipeline.sources.images import ImagesSource
from pipeline.sources.live import LiveSource, ReconnectingSource
from pipeline.sources.pattern import PatternSource, read_frame_number
from pipeline.sources.played import PlayedSource
from pipeline.sources.video import VideoFile
from tests.pipeline import fakes
from tests.pipeline.fakes import HEIGHT, WIDTH, FakeClock
from tests.pipeline.sources.clips import write_clip
from tests.pipeline.sources.fake_source import FakeSource


def made(uri: object, **arguments: object) -> Source:
    return make_source(SourceSettings(uri=str(uri), **arguments))


def test_kinds(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 7, 3), np.uint8))
    assert isinstance(made("0"), ReconnectingSource)
    assert isinstance(made("rtsp://cam/live"), ReconnectingSource)
    assert isinstance(made("test:"), PatternSource)
    assert isinstance(made(tmp_path), ImagesSource)
    assert isinstance(made(clip), PlayedSource)


def test_policy_and_realtime(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3)
    for arguments, kind in [
        ({}, SourceKind.RECORDED),
        ({"policy": Policy.RECORDED}, SourceKind.RECORDED),
        ({"policy": Policy.LIVE}, SourceKind.LIVE),
        ({"realtime": True}, SourceKind.LIVE),
    ]:
        with made(clip, **arguments) as source:
            assert isinstance(source, PlayedSource)
        assert made(clip, **arguments).open().kind is kind
    assert isinstance(made("0", policy=Policy.RECORDED), LiveSource), "a recording must not have a hole"
    assert isinstance(made("0", reconnect=ReconnectSettings(enabled=False)), LiveSource)
    assert isinstance(made("http://cam/a.mp4", policy=Policy.RECORDED), VideoFile)
    assert made("test:", policy=Policy.RECORDED).open().kind is SourceKind.RECORDED
    assert made("test:").open().kind is SourceKind.LIVE
    assert made("test:", realtime=True, policy=Policy.RECORDED).open().kind is SourceKind.LIVE


def test_pattern_takes_size_and_rate_from_the_settings() -> None:
    info = made("test:", width=320, height=200, fps=12.5).open()
    assert (info.width, info.height, info.fps) == (320, 200, 12.5)
    info = made("test:64x48@7", width=320, height=200, fps=12.5).open()
    assert (info.width, info.height, info.fps) == (64, 48, 7)


def test_limits(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 50, options={"g": "10"})
    source = made(clip, start_s=0.48, duration_s=0.5, max_frames=20)
    assert isinstance(source, LimitedSource)
    info = source.open()
    frames = list(iter(source.read, None))
    source.close()
    # 0.48 s is frame 12; 0.98 s lies between frames 24 and 25.
    assert [read_frame_number(frame.image_bgr) for frame in frames] == list(range(12, 25))
    assert info.frame_count == pytest.approx(13, abs=1)


def test_realtime_with_a_start_begins_at_once(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 50)
    source = made(clip, realtime=True, start_s=1.92, max_frames=2)
    source.open()
    frames = list(iter(source.read, None))
    source.close()
    assert [frame.pts_s for frame in frames] == pytest.approx([1.92, 1.96])


@pytest.mark.parametrize(
    ("arguments", "limited"),
    [({}, False), ({"start_s": 1}, True), ({"duration_s": 1}, True), ({"max_frames": 1}, True)],
)
def test_any_limit_limits_the_source(arguments: dict, limited: bool) -> None:
    assert isinstance(made("test:", **arguments), LimitedSource) is limited


@pytest.mark.parametrize("uri", ["", "foo://x", "/no/such/file.mp4", "test:big"])
def test_bad_uris_fail_before_anything_is_opened(uri: str) -> None:
    with pytest.raises(InputError):
        made(uri)


def test_a_camera_that_is_not_there_is_an_input_error() -> None:
    source = made("987")
    with pytest.raises(InputError, match="camera 987"):
        source.open()
    source.close()


def test_without_reconnection_a_lost_source_is_a_run_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unplugged:
        reads = 0

        def __init__(self, *_arguments: object) -> None:
            pass

        def isOpened(self) -> bool:
            return True

        def set(self, *_arguments: object) -> bool:
            return True

        def get(self, _prop: int) -> float:
            return 25.0

        def grab(self) -> bool:
            self.reads += 1
            return self.reads < 4

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, np.zeros((24, 32, 3), np.uint8)

        def release(self) -> None:
            pass

    mac = CameraSystem(open_capture=Unplugged, platform="darwin")  # has no device files
    monkeypatch.setattr("pipeline.sources.factory.CameraDevice", partial(CameraDevice, system=mac))
    source = made("0", policy=Policy.RECORDED)
    source.open()
    assert len([source.read() for _ in range(3)]) == 3
    with pytest.raises(RunError, match="camera 0 stopped delivering frames"):
        source.read()
    source.close()


def test_a_sub_stream_reconnects_and_may_come_later() -> None:
    settings = SourceSettings(uri="0", width=1920, fps=5, reconnect=ReconnectSettings(enabled=False), max_frames=3)
    assert make_detect_source(settings) is None
    source = make_detect_source(settings.model_copy(update={"detect_uri": SourceUri("http://127.0.0.1:9/sub")}))
    assert isinstance(source, ReconnectingSource)
    info = source.open()
    source.close()
    assert info.description == "http://127.0.0.1:9/sub: not connected yet, retrying"


def test_a_sub_stream_is_a_camera_or_a_stream(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 3)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 7, 3), np.uint8))
    for uri, detect_uri in ((0, clip), (clip, 0), (0, tmp_path / "a.png"), (tmp_path, 0)):
        with pytest.raises(InputError, match=r"source\.detect_uri is a second stream .* is a file: leave"):
            make_detect_source(SourceSettings(uri=str(uri), detect_uri=str(detect_uri)))
    with pytest.raises(InputError, match="is not supported"):
        make_detect_source(SourceSettings(uri="0", detect_uri="foo://x"))


PTS_MS = [0, 40, 100, 101, 300, 340, 900]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (SourceSettings(), PTS_MS),
        (SourceSettings(max_frames=3), [0, 40, 100]),
        (SourceSettings(max_frames=99), PTS_MS),
        (SourceSettings(start_s=0.1), [100, 101, 300, 340, 900]),
        (SourceSettings(start_s=0.1001), [101, 300, 340, 900]),
        (SourceSettings(duration_s=0.3), [0, 40, 100, 101]),
        (SourceSettings(start_s=0.1, duration_s=0.2), [100, 101]),
        (SourceSettings(start_s=0.04, duration_s=0.5, max_frames=2), [40, 100]),
        (SourceSettings(start_s=5), []),
        (SourceSettings(start_s=0.102, duration_s=0.001), []),
    ],
)
@pytest.mark.parametrize("kind", [SourceKind.RECORDED, SourceKind.LIVE])
def test_limits_select_a_part(kind: SourceKind, limits: SourceSettings, expected: list[int]) -> None:
    source = LimitedSource(FakeSource(PTS_MS, kind), limits)
    source.open()
    frames = list(iter(source.read, None))
    assert [frame.pts for frame in frames] == expected
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert source.read() is None


def test_nothing_is_read_beyond_max_frames() -> None:
    inner = FakeSource(PTS_MS, SourceKind.LIVE)
    source = LimitedSource(inner, SourceSettings(max_frames=2))
    source.open()
    list(iter(source.read, None))
    assert inner.index == 2


@pytest.mark.parametrize(
    ("limits", "frame_count", "duration_s"),
    [
        (SourceSettings(max_frames=50), 50, 2.0),
        (SourceSettings(max_frames=5000), 250, 10.0),
        (SourceSettings(duration_s=4.0), 100, 4.0),
        (SourceSettings(duration_s=40.0), 250, 10.0),
        (SourceSettings(duration_s=4.0, max_frames=10), 10, 0.4),
        (SourceSettings(duration_s=0.001), 1, 0.001),
    ],
)
def test_frame_count_and_duration_are_estimated(limits: SourceSettings, frame_count: int, duration_s: float) -> None:
    inner = FakeSource([], fps=25.0, frame_count=250, duration_s=10.0)
    info = LimitedSource(inner, limits).open()
    assert (info.frame_count, info.duration_s) == (frame_count, pytest.approx(duration_s))


def test_limits_end_an_endless_source() -> None:
    info = LimitedSource(FakeSource([], SourceKind.LIVE, fps=25.0), SourceSettings(duration_s=4.0)).open()
    assert (info.frame_count, info.duration_s) == (None, 4.0)
    info = LimitedSource(FakeSource([], SourceKind.LIVE), SourceSettings(max_frames=7)).open()
    assert (info.frame_count, info.duration_s) == (7, None)


@pytest.mark.parametrize("limits", [SourceSettings(start_s=1.0), SourceSettings(duration_s=1.0)])
def test_start_and_duration_do_not_apply_to_images(limits: SourceSettings) -> None:
    inner = FakeSource([0, 0], SourceKind.STILLS)
    with pytest.raises(InputError, match="images have no time"):
        LimitedSource(inner, limits).open()
    assert inner.closed


def test_images_can_be_counted() -> None:
    source = LimitedSource(FakeSource([0, 0, 0], SourceKind.STILLS, frame_count=3), SourceSettings(max_frames=2))
    assert source.open().frame_count == 2
    assert len(list(iter(source.read, None))) == 2


def test_everything_else_is_delegated() -> None:
    inner = FakeSource([0, 40])
    wrapper = LimitedSource(inner, SourceSettings())
    assert wrapper.open() == inner.info
    assert wrapper.read().pts == 0
    assert wrapper.state.text == "fake is gone"
    assert wrapper.state.reconnects == 3
    inner.warnings.add("corrupt data at", "00:01.0")
    assert wrapper.warnings.texts() == ["corrupt data at 00:01.0"]
    wrapper.interrupt()
    assert inner.interrupted
    assert wrapper.state.reopened_as is None
    assert wrapper.read() is None
    wrapper.close()
    assert inner.closed


@pytest.fixture
def source_of(monkeypatch):
    """Makes `sample_frames` read a fake source."""

    def use(source):
        monkeypatch.setattr(factory, "make_source", lambda _: source)
        return source

    return use


def indices(count):
    """The indices of the sampled frames; every pixel of a fake frame is its index."""
    images = sample_frames(SourceSettings(), count)
    assert all(image.shape == (HEIGHT, WIDTH, 3) for image in images)
    return [int(image[0, 0, 0]) for image in images]


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 100, 255])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_frames_are_spread_over_a_file(source_of, length, count):
    source = source_of(fakes.FakeSource(length))
    taken = indices(count)
    assert len(taken) == min(count, length)
    assert taken == sorted(set(taken)), "in order, and none twice"
    assert taken[0] == 0
    if len(taken) > 1:
        assert taken[-1] >= (1 - 1 / count) * (length - 1), "the end is not left out"
        steps = np.diff(taken)
        assert steps.max() <= 2 * steps.min() + 1, "evenly"
    assert source.closed == 1


def test_a_long_file_is_not_read_to_its_end(source_of, monkeypatch):
    monkeypatch.setattr(factory, "MAX_FRAMES_READ", 40)
    source = source_of(fakes.FakeSource(200))
    taken = indices(4)
    assert taken[-1] < 40
    assert source.given <= 41


def test_a_camera_gives_a_frame_every_half_second(source_of):
    clock = FakeClock(0.0)

    def pass_time(_):
        clock.now_s += 0.125
        return True

    source = source_of(fakes.FakeSource(None, SourceKind.LIVE, gate=pass_time, clock=clock))
    assert indices(3) == [0, 4, 8]
    assert source.closed == 1


@pytest.mark.parametrize(("length", "count", "expected"), [(9, 3, [0, 3, 6]), (9, 4, [0, 2, 4, 6]), (3, 9, [0, 1, 2])])
def test_frames_of_a_file_come_one_by_one(source_of, length, count, expected):
    source = source_of(fakes.FakeSource(length))
    taken = []
    for image in spread_frames(SourceSettings(), count):
        taken.append(int(image[0, 0, 0]))
        assert source.closed == 0
    assert (taken, source.closed) == (expected, 1)


def test_a_camera_gives_few_frames_one_by_one(source_of, monkeypatch):
    monkeypatch.setattr(factory, "MOST_LIVE_FRAMES", 2)
    monkeypatch.setattr(factory, "LIVE_INTERVAL_S", 0.0)
    source = source_of(fakes.FakeSource(None, SourceKind.LIVE))
    assert len(list(spread_frames(SourceSettings(), 9))) == 2
    assert source.closed == 1


def test_a_source_that_fails_is_closed(source_of):
    source = source_of(fakes.FakeSource(3, error=RunError("the disk is gone")))
    with pytest.raises(RunError, match="the disk is gone"):
        sample_frames(SourceSettings(), 8)
    assert source.closed == 1


def test_a_missing_source(tmp_path):
    with pytest.raises(InputError, match=r"missing\.mp4"):
        sample_frames(SourceSettings(uri=str(tmp_path / "missing.mp4")), 2)


def test_a_video_file(tmp_path):
    path = tmp_path / "gray.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=Fraction(25))
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for index in range(12):
            picture = np.full((64, 96, 3), 20 * index, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(video.encode())
    images = sample_frames(SourceSettings(uri=str(path)), 3)
    assert [image.shape for image in images] == [(64, 96, 3)] * 3
    levels = [image.mean() for image in images]
    assert levels[0] < 8
    assert levels[0] < levels[1] < levels[2]


def test_a_folder_of_images_of_different_sizes(tmp_path):
    for name, shape in (("a.png", (30, 40, 3)), ("b.png", (50, 20, 3))):
        cv2.imwrite(str(tmp_path / name), np.full(shape, 9, np.uint8))
    images = sample_frames(SourceSettings(uri=str(tmp_path)), 5)
    assert [image.shape for image in images] == [(30, 40, 3), (50, 20, 3)]


def test_the_moving_pattern():
    images = sample_frames(SourceSettings(uri="test:64x48@200"), 2)
    assert [image.shape for image in images] == [(48, 64, 3)] * 2
    assert (images[0] != images[1]).any()
