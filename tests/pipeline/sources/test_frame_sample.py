from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources import frame_sample
from pipeline.sources.frame_sample import sample_frames
from tests.pipeline.fakes import HEIGHT, WIDTH, FakeClock, FakeSource


@pytest.fixture
def source_of(monkeypatch):
    """Makes `sample_frames` read a fake source."""

    def use(source):
        monkeypatch.setattr(frame_sample, "make_source", lambda _: source)
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
    source = source_of(FakeSource(length))
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
    monkeypatch.setattr(frame_sample, "MAX_FRAMES_READ", 40)
    source = source_of(FakeSource(200))
    taken = indices(4)
    assert taken[-1] < 40
    assert source.given <= 41


def test_a_camera_gives_a_frame_every_half_second(source_of):
    clock = FakeClock(0.0)

    def pass_time(_):
        clock.now_s += 0.125
        return True

    source = source_of(FakeSource(None, SourceKind.LIVE, gate=pass_time, clock=clock))
    assert indices(3) == [0, 4, 8]
    assert source.closed == 1


def test_a_source_that_fails_is_closed(source_of):
    source = source_of(FakeSource(3, error=RunError("the disk is gone")))
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
