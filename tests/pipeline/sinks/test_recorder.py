"""Recordings, read back with other readers than PyAV's muxer: OpenCV for pictures, a demuxer for times and streams."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.media_file import MediaFile
from pipeline.sinks.paths import Inputs, Outputs
from pipeline.sinks.recorder import CHECK_EVERY_S, Recorder
from tests.pipeline.fakes import FakeClock
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
    record(path, [presentation(i) for i in range(3)], context(sample_aspect_ratio=Fraction(64, 45)))
    with av.open(str(path)) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


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


# -- what goes wrong ---------------------------------------------------------------------------------------------------

DIE_WHILE_RECORDING = textwrap.dedent(
    """
    import os, signal, sys
    from pipeline.records import SourceKind
    from pipeline.settings.schema import RecorderSettings
    from pipeline.sinks.recorder import Recorder
    from tests.pipeline.sinks.presentations import context, presentation
    recorder = Recorder(RecorderSettings(path=sys.argv[1], fragment_s=0.5))
    recorder.open(context(kind=SourceKind(sys.argv[2])))
    for i in range(200):
        recorder.write(presentation(i))
    os.kill(os.getpid(), signal.SIGKILL)
    """
)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_recording_plays_up_to_its_last_fragment(tmp_path, suffix, kind):
    path = tmp_path / f"out{suffix}"
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_RECORDING, str(path), kind.value],
        cwd=root,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    frames = read_frames(path)
    # 200 frames are 8 s: at most the encoder's few frames and one fragment may be missing.
    assert len(frames) >= 200 - 13 - 30
    for i in (0, 60, len(frames) - 1):
        assert np.abs(frames[i].astype(int) - picture(i)).mean() < 12


class FullDisk(MediaFile):
    """Accepts so many bytes, then fails as on a full disk."""

    room = 30_000

    def _write_all(self, data):
        if self.error is None and self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super()._write_all(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_an_error_and_the_recording_so_far_plays(tmp_path, suffix, kind):
    path = tmp_path / f"out{suffix}"
    recorder = Recorder(RecorderSettings(path=str(path), fragment_s=0.5), open_file=FullDisk)
    recorder.open(context(kind=kind))
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    with pytest.raises(RunError, match="No space left"):
        write_all(recorder, [presentation(i, image=np.roll(noise, i, axis=1)) for i in range(200)])
    recorder.close()
    recorder.close()
    assert len(read_frames(path)) >= 10


@pytest.mark.parametrize("suffix", H264_SUFFIXES)  # VP9 leaves nothing for the end
@pytest.mark.parametrize("missing", [20, 400, 900])  # a Matroska file varies by a byte or two: random ids
def test_a_disk_that_fills_up_while_finalizing_leaves_a_playable_file(tmp_path, suffix, missing):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    # 16 macroblocks wide: of narrower pictures, x264 with its macroblock tree makes a recording now and then that is
    # some bytes longer than the next (2 of 300 mp4 files with 6 macroblocks; none of 100 with 16).
    size_wh = (256, 64)
    items = [presentation(i, image=picture(i, size_wh)) for i in range(60)]
    held = {"preset": "veryfast"}  # it looks ahead: the last frames are written while finishing
    record(whole, items, context(size_wh), **held)

    class AlmostEnough(FullDisk):
        room = whole.stat().st_size - missing

    recorder = Recorder(RecorderSettings(path=str(path), **held), open_file=AlmostEnough)
    recorder.open(context(size_wh))
    write_all(recorder, items)
    with pytest.raises(RunError, match="No space left"):
        recorder.close()
    recorder.close()
    assert len(read_frames(path)) >= 25


class Limited:
    """A recorder with a limit of 500 MB, on a disk whose free space a test sets."""

    def __init__(self, path, **settings):
        self.free, self.clock = 10**12, FakeClock()
        self.recorder = Recorder(
            RecorderSettings(path=str(path), **settings), clock=self.clock, free_bytes=lambda folder: self.free
        )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_ends_and_is_finalized_before_the_disk_is_full(tmp_path, suffix, kind):
    path = tmp_path / f"out{suffix}"
    disk = Limited(path)
    disk.recorder.open(context(kind=kind))
    write_all(disk.recorder, [presentation(i) for i in range(10)])
    disk.free = 499_999_999
    disk.clock.now_s += CHECK_EVERY_S - 0.1
    write_all(disk.recorder, [presentation(i) for i in range(10, 13)])  # the next check is due later
    disk.clock.now_s += 0.1
    with pytest.raises(RunError) as error:
        disk.recorder.write(presentation(13))
    assert str(error.value) == (
        f"The recording {path} ends here: less than 500 MB are free in {tmp_path} (output.min_free_bytes)."
    )
    disk.recorder.close()
    assert len(read_frames(path)) == 13
    with av.open(str(path)) as file:
        assert file.duration == pytest.approx(13 * 40_000, abs=1100)


def test_a_nearly_full_disk_is_an_error_before_anything_is_written(tmp_path):
    disk = Limited(tmp_path / "out.mp4")
    disk.free = 499_999_999
    with pytest.raises(InputError, match=r"out\.mp4: less than 500 MB are free in .*lower output\.min_free_bytes"):
        disk.recorder.open(context())
    assert list(tmp_path.iterdir()) == []


def test_without_a_limit_the_free_space_does_not_matter(tmp_path):
    disk = Limited(tmp_path / "out.mp4", min_free_bytes=0)
    disk.free = 0
    disk.recorder.open(context())
    disk.clock.now_s += CHECK_EVERY_S
    disk.recorder.write(presentation(0))
    disk.recorder.close()
    assert len(read_frames(tmp_path / "out.mp4")) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_the_free_space_beside_a_fifo_does_not_matter(tmp_path):
    path = tmp_path / "out.mkv"
    os.mkfifo(path)
    disk = Limited(path)
    disk.free = 0
    disk.recorder.open(context())
    disk.recorder.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_real_full_device(tmp_path):
    path = tmp_path / "out.mkv"
    path.symlink_to("/dev/full")
    recorder = Recorder(RecorderSettings(path=str(path)))
    recorder.open(context())
    with pytest.raises(RunError, match=r"out\.mkv failed: No space left"):
        write_all(recorder, [presentation(i) for i in range(200)])
    recorder.close()


def test_nothing_is_written_or_truncated_before_the_first_frame(tmp_path):
    path, old = tmp_path / "new.mp4", tmp_path / "old.mp4"
    old.write_bytes(b"precious")
    for one in (path, old):
        assert record(one, []).outputs == ()
    assert not path.exists()
    assert old.read_bytes() == b"precious"


def test_an_older_file_stays_and_is_replaced_with_overwrite(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"x" * 1_000_000)
    sink = record(path, [presentation(i) for i in range(3)])
    assert list(sink.outputs) == [str(tmp_path / "out-2.mp4")]
    assert len(read_frames(tmp_path / "out-2.mp4")) == 3
    assert path.read_bytes() == b"x" * 1_000_000
    recorder = Recorder(RecorderSettings(path=str(path)), Outputs(overwrite=True))
    recorder.open(context())
    for index in range(4):
        recorder.write(presentation(index))
    recorder.close()
    assert len(read_frames(path)) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.avi", r"must end in \.mp4, \.mkv, \.mov, \.webm or \.gif"),
        ("out", r"must end in \.mp4, \.mkv, \.mov, \.webm or \.gif"),
        ("out.png", r"must end in \.mp4, \.mkv, \.mov, \.webm or \.gif"),
        ("missing/out.mp4", "does not exist"),
        ("folder.mp4", "is a folder"),
        ("file.txt/out.mp4", "is not a folder"),
        ("input.mp4", "is a file that this run reads"),
        ("link.mp4", "is a file that this run reads"),
        ("hard.mp4", "is a file that this run reads"),
    ],
)
def test_impossible_paths_are_errors_before_anything_is_written(tmp_path, name, message):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file.txt").write_text("x")
    source = tmp_path / "input.mp4"
    source.write_bytes(b"the input")
    (tmp_path / "link.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    before = sorted(tmp_path.iterdir())
    recorder = Recorder(RecorderSettings(path=str(tmp_path / name)), Outputs(Inputs.of([source])))
    with pytest.raises(InputError, match=message):
        recorder.open(context())
    recorder.close()
    assert sorted(tmp_path.iterdir()) == before
    assert source.read_bytes() == b"the input"


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
