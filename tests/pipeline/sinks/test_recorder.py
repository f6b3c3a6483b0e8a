"""Recordings, read back with other readers than PyAV's muxer: OpenCV for pictures, a demuxer for times and streams."""

from __future__ import annotations

import warnings
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.recorder import Recorder
from tests.pipeline.sinks.presentations import context, picture, presentation, video_packets

H264_SUFFIXES = [".mp4", ".mov", ".mkv"]
SUFFIXES = [*H264_SUFFIXES, ".webm"]
KINDS = [SourceKind.RECORDED, SourceKind.LIVE]


def record(path, items, run=None, **settings):
    """Record presentations; returns the recorder, closed."""
    recorder = Recorder(RecorderSettings(path=str(path), **settings))
    recorder.open(run or context())
    write_all(recorder, items)
    recorder.close()
    return recorder


def write_all(recorder, items):
    for item in items:
        recorder.write(item)


def read_frames(path):
    """All frames of a file as OpenCV reads them."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        more, image = capture.read()
        if not more:
            return frames
        frames.append(image)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".MP4"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_recorded_in_order_with_its_time(tmp_path, suffix, kind):
    path = tmp_path / f"out{suffix}"
    recorder = record(path, [presentation(i) for i in range(37)], context(kind=kind))
    assert recorder.outputs == (str(path),)
    frames = read_frames(path)
    assert len(frames) == 37
    for i, image in enumerate(frames):
        assert np.abs(image.astype(int) - picture(i)).mean() < 12
    packets = video_packets(path)
    assert [round(1000 * time_s) for time_s, _ in packets] == [40 * i for i in range(37)]


@pytest.mark.parametrize(
    ("time_base", "ticks"),
    [
        (Fraction(1001, 30000), list(range(17, 60))),
        (Fraction(1, 90000), [9000 + 3003 * i + (i % 5) * 400 for i in range(40)]),
        (Fraction(1, 1_000_000), [7_000_003 + 33_333 * i + (i * i) % 977 for i in range(40)]),
        (Fraction(1, 600), [0, 3, 6, 200, 203, 1400, 1401]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_timestamps_are_exact_in_mp4_and_start_at_zero(tmp_path, time_base, ticks, kind):
    path = tmp_path / "out.mp4"
    items = [presentation(i, pts, time_base=time_base) for i, pts in enumerate(ticks)]
    record(path, items, context(kind=kind, time_base=time_base))
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        assert stream.start_time == 0
        assert [packet.pts * packet.time_base for packet in packets] == [(pts - ticks[0]) * time_base for pts in ticks]
        assert all(packet.dts == packet.pts for packet in packets)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_matroska_keeps_milliseconds_without_drift(tmp_path, suffix):
    time_base = Fraction(1001, 30000)
    path = tmp_path / f"out{suffix}"
    record(path, [presentation(i, i, time_base=time_base) for i in range(60)], context(time_base=time_base))
    for i, (time_s, _) in enumerate(video_packets(path)):
        assert time_s == pytest.approx(i * 1001 / 30000, abs=0.0006 if suffix in (".mkv", ".webm") else 1e-9)


@pytest.mark.parametrize(("last_duration", "expected_ms"), [(None, 40), (25, 25), (900, 900)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_last_frame_is_shown_as_long_as_the_source_says(tmp_path, suffix, last_duration, expected_ms):
    path = tmp_path / f"out{suffix}"
    items = [presentation(i, duration=last_duration if i == 9 else None) for i in range(10)]
    record(path, items)
    with av.open(str(path)) as file:
        assert file.duration / 1e6 == pytest.approx(0.36 + expected_ms / 1000, abs=0.0011)


def test_a_minute_of_pause_stays_a_minute(tmp_path):
    path = tmp_path / "out.mp4"
    ticks = [0, 40_000, 60_040_000, 60_080_000]
    tick = Fraction(1, 1_000_000)
    items = [presentation(i, pts, time_base=tick) for i, pts in enumerate(ticks)]
    record(path, items, context(kind=SourceKind.LIVE, time_base=tick))
    assert [time_s for time_s, _ in video_packets(path)] == [0, 0.04, 60.04, 60.08]


@pytest.mark.parametrize("kind", KINDS)
def test_a_gap_of_hours_is_bridged_where_the_container_cannot_represent_it(tmp_path, kind):
    path = tmp_path / "out.mp4"
    five_hours = 5 * 3600 * 1_000_000
    tick = Fraction(1, 1_000_000)
    items = [presentation(i, pts, time_base=tick) for i, pts in enumerate([0, 40_000, five_hours, five_hours + 40_000])]
    record(path, items, context(kind=kind, time_base=tick))
    times = [time_s for time_s, _ in video_packets(path)]
    assert times[-2:] == [five_hours / 1e6, five_hours / 1e6 + 0.04]
    assert len(times) < 60
    assert max(np.diff(times)) < 600


def test_timestamps_that_do_not_increase_are_nudged(tmp_path):
    path = tmp_path / "out.mp4"
    record(path, [presentation(i, pts) for i, pts in enumerate([0, 40, 40, 30, 120])])
    assert [round(1000 * time_s) for time_s, _ in video_packets(path)] == [0, 40, 41, 42, 120]


@pytest.mark.parametrize("size_wh", [(97, 65), (96, 65), (97, 64), (17, 16)])
def test_odd_sizes_are_padded_to_even_by_repeating_the_edge(tmp_path, size_wh):
    path = tmp_path / "out.mp4"
    width, height = size_wh
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 220
    record(path, [presentation(i, image=image) for i in range(3)], context(size_wh), crf=10)
    frame = read_frames(path)[2]
    assert frame.shape == (height + height % 2, width + width % 2, 3)
    assert (frame[:, -1].astype(int) > 200).all()
    assert (frame[:, 0] < 20).all()


@pytest.mark.parametrize("size_wh", [(160, 98), (1280, 720)])
def test_colors_round_trip(tmp_path, size_wh):
    path = tmp_path / "out.mp4"
    width, height = size_wh
    image = np.zeros((height, width, 3), np.uint8)
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (128, 128, 128), (30, 90, 200), (0, 0, 0)]
    for i, color in enumerate(colors):
        image[:, i * width // 7 : (i + 1) * width // 7] = color
    record(path, [presentation(i, image=image) for i in range(2)], context(size_wh), crf=10)
    frame = read_frames(path)[1]
    for i, color in enumerate(colors):
        middle = frame[height // 2, (2 * i + 1) * width // 14].astype(int)
        assert np.abs(middle - color).max() <= 6, (middle, color)
    with av.open(str(path)) as file:
        codec = file.streams.video[0].codec_context
        # BT.709, limited range, said so in the file.
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_non_square_pixels_keep_their_aspect(tmp_path):
    path = tmp_path / "out.mp4"
    # A camera that comes after the start was expected with square pixels.
    record(path, [presentation(i, sample_aspect_ratio=Fraction(64, 45)) for i in range(3)], context())
    with av.open(str(path)) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_a_frame_of_another_pixel_aspect_is_letterboxed(tmp_path):
    path = tmp_path / "out.mp4"
    white = np.full((64, 96, 3), 255, np.uint8)
    record(path, [presentation(0, image=white), presentation(1, image=white, sample_aspect_ratio=Fraction(2))])
    with av.open(str(path)) as file:
        square, wide = (frame.to_ndarray(format="gray") for frame in file.decode(video=0))
    assert (square > 200).all()
    assert (wide[18:46] > 200).all()  # 192x64 in square pixels: 32 of 64 rows
    assert (wide[[*range(14), *range(50, 64)]] < 50).all()


def test_a_frame_of_another_size_is_letterboxed(tmp_path):
    path = tmp_path / "out.mp4"
    white = np.full((50, 50, 3), 255, np.uint8)
    record(
        path, [presentation(0), presentation(1, image=white), presentation(2)], context(kind=SourceKind.LIVE), crf=10
    )
    frame = read_frames(path)[1]
    assert frame.shape == (64, 96, 3)
    # 50 x 50 fits 96 x 64 as 64 x 64, from column 16 to 80.
    assert (frame[:, 20:76] > 235).all()
    assert (frame[:, :12] < 20).all()
    assert (frame[:, 84:] < 20).all()


def test_keyframes_start_every_fragment(tmp_path):
    path = tmp_path / "out.mp4"
    record(path, [presentation(i) for i in range(76)], context(kind=SourceKind.LIVE), fragment_s=0.5)
    with av.open(str(path)) as file:
        keys = [float(p.pts * p.time_base) for p in file.demux(video=0) if p.size and p.is_keyframe]
    assert max(np.diff(keys)) <= 0.52
    assert path.read_bytes().count(b"moof") >= 5


def test_a_finished_file_of_a_recorded_source_is_a_regular_one(tmp_path):
    path = tmp_path / "out.mp4"
    record(path, [presentation(i) for i in range(60)])
    with av.open(str(path)) as file:
        assert file.streams.video[0].frames == 60
        file.seek(1_500_000)
        assert next(file.decode(video=0)).time <= 1.5


def test_a_video_of_single_images_is_refused(tmp_path):
    recorder = Recorder(RecorderSettings(path=str(tmp_path / "out.mp4")))
    with pytest.raises(InputError, match="consists of images"):
        recorder.open(context(kind=SourceKind.STILLS))


def test_closing_twice_and_unopened_is_fine(tmp_path):
    recorder = Recorder(RecorderSettings(path=str(tmp_path / "out.mp4")))
    recorder.close()
    recorder.open(context())
    recorder.write(presentation(0))
    recorder.close()
    recorder.close()
    assert len(read_frames(tmp_path / "out.mp4")) == 1


def test_memory_does_not_grow_with_a_live_recording(tmp_path):
    """A live recording has no index that is kept until the end: what is written in pieces has no total."""
    path = tmp_path / "out.mp4"
    record(path, [presentation(i) for i in range(60)], context(kind=SourceKind.LIVE))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"moof")
    assert data.count(b"moov") == 1
    with warnings.catch_warnings(), av.open(str(path)) as file:
        assert file.duration / 1e6 == pytest.approx(2.4, abs=0.001)
