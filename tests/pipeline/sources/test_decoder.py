"""Decoding past corrupt data, the explanation of FFmpeg's errors, orientation and transparency on small arrays."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.sources.base import SourceWarnings
from pipeline.sources.container import open_container, open_input
from pipeline.sources.decoder import (
    MAX_ERRORS_IN_ROW,
    BgrConverter,
    Orientation,
    Video,
    blend_on_white,
    fraction,
    is_cover,
    orientation_of,
    pick_video,
)
from tests.pipeline.sources.clips import write_clip


class FailingContainer:
    """Its reads fail with the given errors, one after the other, then with end of file."""

    format = SimpleNamespace(name="mov,mp4,m4a,3gp,3g2,mj2")

    def __init__(self, *errors: av.FFmpegError) -> None:
        self.errors = list(errors)

    def demux(self, _stream: object) -> object:
        if self.errors:
            raise self.errors.pop(0)
        return iter(())


def invalid() -> av.FFmpegError:
    return av.error.InvalidDataError(1094995529, "Invalid data found")


def video_of(path: Path, container: FailingContainer) -> tuple[Video, av.container.InputContainer]:
    real = open_container(str(path), path.name)
    return Video(container, pick_video(real, path.name), path.name, SourceWarnings()), real


def test_a_few_bad_reads_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    container = FailingContainer(invalid(), invalid())
    video, real = video_of(write_clip(tmp_path / "a.mp4", 2), container)
    assert list(video.pictures()) == []
    assert container.errors == []
    assert caplog.messages == ["a.mp4: corrupt data at 00:00.0, resuming after it"]
    real.close()


def test_a_stream_that_appears_midway_is_ignored(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.flv", 400, options={"bf": "0"}).read_bytes()
    with_sound = write_clip(tmp_path / "sound.flv", 30, options={"bf": "0"}, sound_s=1.2).read_bytes()
    path = tmp_path / "joined.flv"
    path.write_bytes(silent + with_sound[13:])  # without the second file's header
    with open_container(str(path), path.name) as container:
        assert len(container.streams) == 1, "or this test shows nothing"
        warnings = SourceWarnings()
        video = Video(container, pick_video(container, path.name), path.name, warnings)
        assert len(list(video.pictures())) == 430
        assert warnings.texts() == []


def test_reading_stops_after_too_many_errors(tmp_path: Path) -> None:
    container = FailingContainer(*[invalid() for _ in range(MAX_ERRORS_IN_ROW + 10)])
    video, real = video_of(write_clip(tmp_path / "a.mp4", 2), container)
    assert list(video.pictures()) == []
    assert len(container.errors) == 10
    real.close()


def test_a_failing_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    container = FailingContainer(av.error.OSError(5, "Input/output error"))
    video, real = video_of(write_clip(tmp_path / "a.mp4", 2), container)
    with pytest.raises(RunError, match=r"a\.mp4: reading failed: Input/output error"):
        list(video.pictures())
    real.close()


def test_a_cover_picture_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=8000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 16, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 32, 3), np.uint8), format="bgr24")
        container.mux(cover.encode(frame.reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    with open_container(str(path), "song.mp4") as container:
        assert [is_cover(stream) for stream in container.streams.video] == [True]
        with pytest.raises(InputError, match=r"song\.mp4 contains no video: only audio \(aac\)"):
            pick_video(container, "song.mp4")


IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(("transpose", "mirror_x", "mirror_y"), list(itertools.product((False, True), repeat=3)))
def test_apply_is_numpy_indexing(transpose: bool, mirror_x: bool, mirror_y: bool) -> None:
    expected = IMAGE.swapaxes(0, 1) if transpose else IMAGE
    expected = expected[:, ::-1] if mirror_x else expected
    expected = expected[::-1] if mirror_y else expected
    np.testing.assert_array_equal(Orientation(transpose, mirror_x, mirror_y).apply(IMAGE), expected)


def test_quarter_turns_are_named_clockwise() -> None:
    for turns, text in enumerate(("", "rotated 90 degrees", "rotated 180 degrees", "rotated 270 degrees")):
        found = [
            flags
            for flags in itertools.product((False, True), repeat=3)
            if np.array_equal(Orientation(*flags).apply(IMAGE), np.rot90(IMAGE, -turns))
        ]
        assert [Orientation(*flags).text for flags in found] == [text]
    assert Orientation(mirror_x=True).text == "mirrored"


def test_no_matrix_means_upright() -> None:
    assert orientation_of(av.VideoFrame(16, 8, "yuv420p")) == Orientation()


def test_blend_on_white() -> None:
    bgra = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    # 51 / 255 is a fifth: 0.8 * 255 + 0.2 * (0, 100, 200)
    assert blend_on_white(bgra).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]]
    assert blend_on_white(bgra[:, :1]).tolist() == [[[10, 20, 30]]]


def test_converter_blends_transparent_video_onto_white_and_scales() -> None:
    rgba = np.zeros((8, 12, 4), np.uint8)
    rgba[:, 6:] = (200, 100, 50, 255)
    image = BgrConverter().convert(av.VideoFrame.from_ndarray(rgba, format="rgba"))
    assert image.shape == (8, 12, 3)
    assert image[4, 2].tolist() == [255, 255, 255]
    assert image[4, 9].tolist() == [50, 100, 200]
    assert BgrConverter().convert(av.VideoFrame.from_ndarray(rgba, format="rgba"), (6, 4)).shape == (4, 6, 3)


@pytest.mark.parametrize("size_wh", [(33, 17), (16, 8), (1, 1)])
def test_converter_takes_odd_sizes(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    gray = np.full((height, width), 130, np.uint8)
    image = BgrConverter().convert(av.VideoFrame.from_ndarray(gray, format="gray"))
    assert image.shape == (height, width, 3)


@dataclass(frozen=True)
class Rational:
    """As PyAV's own type has it from 19 on; older releases have none."""

    numerator: int
    denominator: int

    def __bool__(self):
        return self.numerator != 0 and self.denominator != 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (Rational(0, 1), None),
        (Rational(0, 0), None),
        (Rational(1, 0), None),
        (Rational(30000, 1001), Fraction(30000, 1001)),
        (Fraction(1, 90_000), Fraction(1, 90_000)),
    ],
)
def test_an_unset_rational_is_none(value, expected):
    result = fraction(value)
    assert result == expected
    assert result is None or type(result) is Fraction


def test_a_file_without_rates_gives_none_for_them(tmp_path):
    with open_input(str(write_clip(tmp_path / "a.mkv", 3))) as container:
        video = container.streams.video[0]
        assert fraction(video.time_base) == Fraction(1, 1000)
        assert fraction(video.average_rate) == 25
