"""Real files in many containers, read back frame by frame."""

from __future__ import annotations

import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.sources.base import Pacer, position_text
from pipeline.sources.decoder import AVI_LENGTH_UNKNOWN
from pipeline.sources.pattern import read_frame_number
from pipeline.sources.video import VideoFile
from tests.pipeline.sources.clips import numbers, read_all, write_clip
from tests.pipeline.sources.conftest import ManualClock

B_FRAMES = {"bf": "3", "g": "12", "keyint_min": "12", "sc_threshold": "0"}
OPEN_GOP = {**B_FRAMES, "x264-params": "open-gop=1:b-adapt=0:bframes=3:keyint=12:min-keyint=12:scenecut=0"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a.mp4", {"options": B_FRAMES}),
        ("a.mov", {}),
        ("a.mkv", {"options": B_FRAMES}),
        ("a.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
        ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        ("packed.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("h264.avi", {"options": B_FRAMES}),
        ("a.ts", {"options": B_FRAMES}),
        ("a.h264", {"container_format": "h264", "options": {"bf": "0"}}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
        ("fragmented.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    ],
)
def test_every_frame_in_order_at_its_time(tmp_path: Path, name: str, arguments: dict) -> None:
    path = write_clip(tmp_path / name, 30, **arguments)
    info, frames = read_all(path)
    assert numbers(frames) == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 25 for number in range(30)], abs=0.0011)
    assert (info.width, info.height) == (96, 64)
    assert {frame.image_bgr.shape for frame in frames} == {(64, 96, 3)}
    assert info.kind is SourceKind.RECORDED
    assert info.source_id == name
    assert info.frame_count in (30, None)
    assert info.duration_s is None or info.duration_s == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize(
    ("rate", "fps"), [(Fraction(30000, 1001), 29.97003), (Fraction(2112, 10), 211.2), (Fraction(24000, 1001), 23.976)]
)
def test_exact_rates(tmp_path: Path, rate: Fraction, fps: float) -> None:
    path = write_clip(tmp_path / "a.mp4", 20, rate=rate)
    info, frames = read_all(path)
    assert [frame.pts * frame.time_base for frame in frames] == [number / rate for number in range(20)]
    assert info.fps == pytest.approx(fps, rel=1e-4)
    assert frames[-1].duration * frames[-1].time_base == 1 / rate


def test_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    pts = [0, 17, 50, 51, 400, 433, 1000, 1033, 2500]
    path = write_clip(tmp_path / "a.mp4", len(pts), pts=pts, time_base=Fraction(1, 1000), options={"bf": "2"})
    _info, frames = read_all(path)
    assert numbers(frames) == list(range(len(pts)))
    assert [frame.pts * frame.time_base * 1000 for frame in frames] == pts


def test_transport_stream_starts_near_zero(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.ts", 10, container_options={"output_ts_offset": "1.4"}, sound_s=0.4)
    with av.open(str(path)) as container:
        container_start_s = container.start_time / 1e6
        video_start = container.streams.video[0].start_time
    assert container_start_s > 1
    info, frames = read_all(path)
    # Where the first picture lies behind the file's start: its sound may begin a moment earlier.
    assert frames[0].pts == video_start - info.audio.origin_s * 90_000
    assert 0 <= frames[0].pts_s < 0.2
    assert info.audio is not None
    assert info.audio.origin_s == pytest.approx(container_start_s, abs=1e-4)
    assert info.audio.path == path


def test_audio_is_found_and_described(tmp_path: Path) -> None:
    info, _frames = read_all(write_clip(tmp_path / "a.mp4", 10, sound_s=0.4), start_s=0.2)
    assert info.audio is not None
    assert info.audio.start_s == pytest.approx(0.2)
    assert "audio aac" in info.description
    assert read_all(write_clip(tmp_path / "b.mp4", 5))[0].audio is None


# --- start, by seeking

SEEKABLE = [
    ("a.mp4", {"options": B_FRAMES}),
    ("open.mp4", {"options": OPEN_GOP}),
    ("a.mkv", {"options": B_FRAMES}),
    ("open.ts", {"options": OPEN_GOP}),
    ("a.webm", {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    ("a.avi", {"options": B_FRAMES}),
    ("mjpeg.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ("a.h264", {"container_format": "h264", "options": {"bf": "0"}}),
    ("late.mp4", {"options": B_FRAMES, "pts": range(30, 90)}),
    ("sound.mp4", {"options": B_FRAMES, "sound_s": 2.4}),
]


@pytest.mark.parametrize(("name", "arguments"), SEEKABLE)
def test_start_matches_reading_from_the_beginning(tmp_path: Path, name: str, arguments: dict) -> None:
    path = write_clip(tmp_path / name, 60, **arguments)
    _info, everything = read_all(path)
    assert len(everything) == 60
    for first in (1, 11, 12, 13, 25, 47, 59):
        start_s = everything[first].pts_s
        for asked_s, expected in ((start_s, first), (start_s - 0.01, first), (start_s - 0.0395, first)):
            source = VideoFile(path, start_s=asked_s)
            info = source.open()
            frames = [source.read() for _ in range(min(2, 60 - expected))]
            source.close()
            wanted = everything[expected : expected + 2]
            assert [frame.pts for frame in frames] == [frame.pts for frame in wanted]
            assert numbers(frames) == numbers(wanted)
            assert frames[0].index == 0
            assert info.frame_count is None or abs(info.frame_count - (60 - expected)) <= 2


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4"])
def test_the_length_of_a_file_that_begins_late(tmp_path: Path, name: str) -> None:
    info, frames = read_all(write_clip(tmp_path / name, 10, rate=25, pts=range(125, 135)))
    assert [frame.pts_s for frame in frames] == pytest.approx([number / 25 for number in range(10)], abs=0.0011)
    assert info.duration_s == pytest.approx(0.4, abs=0.0011)
    assert info.frame_count == 10


@pytest.mark.parametrize(("name", "arguments"), SEEKABLE[:6])
def test_a_start_beyond_the_end_reports_the_duration(tmp_path: Path, name: str, arguments: dict) -> None:
    path = write_clip(tmp_path / name, 60, **arguments)
    with pytest.raises(InputError, match=r"is 2\.[34]\d\d s long: no frame is at or after the start, 7\.5 s"):
        VideoFile(path, start_s=7.5).open()


# --- damage


def test_corrupt_data_is_skipped_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_clip(tmp_path / "a.mp4", 60, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    source = VideoFile(path)
    source.open()
    frames = list(iter(source.read, None))
    assert 30 < len(frames) < 60
    assert numbers(frames)[-1] == 59
    source.close()
    (warning,) = source.warnings.texts()
    assert warning.startswith("corrupt data at 00:0")
    assert "a.mp4: corrupt data at 00:0" in caplog.text
    assert caplog.text.count("resuming after it") == 1


def test_concatenated_recordings_continue_and_are_reported(tmp_path: Path) -> None:
    part = write_clip(tmp_path / "part.ts", 60).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(part + part)
    with VideoFile(path) as source:
        frames = list(iter(source.read, None))
    assert len(frames) == 120
    assert np.diff([frame.pts_s for frame in frames]) == pytest.approx(0.04)
    assert source.warnings.texts() == ["repaired timestamps at 00:02.4"]


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.avi", "fragmented.mp4"])
def test_a_truncated_file_ends_early(tmp_path: Path, name: str) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"} if name.endswith("mp4") else {}
    path = write_clip(tmp_path / name, 60, options={"g": "6"}, container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    _info, frames = read_all(path)
    assert 15 < len(frames) < 60
    assert numbers(frames)[:15] == list(range(15))


FASTSTART = {"movflags": "+faststart"}


@pytest.mark.parametrize("kept", [0.35, 0.75])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("a.mp4", {"options": B_FRAMES, "container_options": FASTSTART}),
        ("sound.mov", {"sound_s": 3.0, "container_options": FASTSTART}),
        ("a.mkv", {"options": B_FRAMES}),
        ("a.avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ],
)
@pytest.mark.parametrize("start_s", [0.0, 0.2])
def test_a_truncated_file_is_reported(
    tmp_path: Path, name: str, arguments: dict, kept: float, start_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / name, 75, **arguments)
    assert _problems(path, start_s) == []
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    caplog.clear()
    with VideoFile(path, start_s=start_s) as source:
        last = list(iter(source.read, None))[-1]
        assert source.read() is None
    (text,) = [text for text in source.warnings.texts() if not text.startswith("corrupt data")]
    assert text == f"the video is incomplete: it ends at {position_text(last.pts_s)} of 00:03.0"
    assert caplog.messages.count(f"{name}: {text}") == 1


def test_a_file_that_is_not_read_to_its_end_is_not_called_incomplete(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", 60, options=B_FRAMES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoFile(path) as source:
        source.read()
        source.interrupt()
        assert source.read() is None
    assert source.warnings.texts() == []


def _problems(path: Path, start_s: float = 0.0) -> list[str]:
    with VideoFile(path, start_s=start_s) as source:
        assert list(iter(source.read, None))
    return list(source.warnings.texts())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sound.mp4", {"sound_s": 4.0}),
        ("sound.mkv", {"sound_s": 4.0, "options": B_FRAMES}),
        ("late.mp4", {"pts": range(50, 80)}),
        ("late.mkv", {"pts": range(50, 80)}),
        ("late.avi", {"pts": range(50, 80)}),
        ("vfr.mp4", {"pts": [*range(29), 100]}),
        ("vfr.mkv", {"pts": [*range(29), 100]}),
        ("vfr.avi", {"pts": [*range(29), 100]}),
        ("slow.mp4", {"rate": Fraction(1, 5)}),
        ("slow.mkv", {"rate": Fraction(1, 5)}),
        ("fragmented.mp4", {"options": {"g": "6"}, "container_options": {"movflags": "frag_keyframe"}}),
        ("a.h264", {"container_format": "h264", "options": {"bf": "0"}}),
        ("a.ts", {"options": B_FRAMES}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    ],
)
def test_a_complete_file_is_not_called_incomplete(tmp_path: Path, name: str, arguments: dict) -> None:
    assert _problems(write_clip(tmp_path / name, 30, **arguments)) == []


@pytest.mark.parametrize(
    ("begins_s", "length_s", "frames"),
    [(0, 1, 25), (1, 1, 25), (1, 3, 50), (0, 9, 75)],  # the last two edits are longer than what they show
)
def test_an_edit_list_is_not_called_incomplete(tmp_path: Path, begins_s: int, length_s: int, frames: int) -> None:
    path = write_clip(tmp_path / "a.mp4", 75, options={"bf": "0"})
    data = bytearray(path.read_bytes())
    edit, header = data.index(b"elst"), data.index(b"mdhd")
    (ticks,) = struct.unpack_from(">I", data, header + 16)
    struct.pack_into(">Ii", data, edit + 12, 1000 * length_s, begins_s * ticks)
    path.write_bytes(data)
    assert len(read_all(path)[1]) == frames
    assert _problems(path) == []


def test_an_avi_from_a_pipe_is_not_called_incomplete(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"strh") + 40, AVI_LENGTH_UNKNOWN)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == AVI_LENGTH_UNKNOWN
    assert _problems(path) == []


def _truncated_mp4(path: Path) -> None:
    write_clip(path)
    path.write_bytes(path.read_bytes()[:-600])


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("cut.mp4", _truncated_mp4, "the file is truncated"),
        ("sound.m4a", _sound_only, r"contains no video: only audio \(aac\)"),
        ("notes.txt", lambda path: path.write_text("hello world\n" * 50), "is a text file"),
        ("notes.mp4", lambda path: path.write_text("hello world\n" * 50), "not a readable video"),
        ("noise.mkv", lambda path: path.write_bytes(bytes(range(256)) * 40), "not a readable video"),
    ],
)
def test_a_file_without_video_is_a_one_line_error(tmp_path: Path, name: str, make: object, message: str) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        VideoFile(tmp_path / name).open()
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_names_with_spaces_colons_and_other_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Übung 1 früh.mp4", "日本.mp4", "100%d.mp4", "take 2:wide.mp4"):
        write_clip(tmp_path / name, 3)
        assert len(read_all(Path(name))[1]) == 3


def test_interrupt_and_close(tmp_path: Path) -> None:
    source = VideoFile(write_clip(tmp_path / "a.mp4"))
    source.close()
    source.open()
    assert source.read() is not None
    source.interrupt()
    assert source.read() is None
    source.close()
    source.close()
    assert source.read() is None


# -- played in real time, on a clock that the test controls


def realtime(path: Path, clock: ManualClock, start_s: float = 0.0) -> VideoFile:
    pacer = Pacer(clock, clock.wait)
    return VideoFile(path, start_s=start_s, kind=SourceKind.LIVE, clock=clock, pacer=pacer)


def test_each_frame_is_delivered_when_due(tmp_path: Path, clock: ManualClock) -> None:
    source = realtime(write_clip(tmp_path / "a.mp4", 5), clock)
    info = source.open()
    assert info.kind is SourceKind.LIVE
    assert info.description == "a.mp4: h264 96x64, 25 fps, 0.2 s, played in real time"
    assert [frame.captured_at_s for frame in iter(source.read, None)] == pytest.approx(
        [100, 100.04, 100.08, 100.12, 100.16]
    )
    source.close()


def test_a_late_frame_does_not_shift_later_ones(tmp_path: Path, clock: ManualClock) -> None:
    source = realtime(write_clip(tmp_path / "a.mp4", 5), clock)
    source.open()
    source.read()
    clock.advance(0.1)
    waited = len(clock.waits)
    assert [source.read().captured_at_s for _ in range(2)] == [100.1, 100.1]
    assert len(clock.waits) == waited
    assert source.read().captured_at_s == pytest.approx(100.12)
    source.close()


def test_interrupt_ends_a_long_wait(tmp_path: Path) -> None:
    source = VideoFile(write_clip(tmp_path / "a.mp4", 3), kind=SourceKind.LIVE, clock=lambda: 7.0)
    source.open()
    assert source.read() is not None
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(source.read()))
    thread.start()
    source.interrupt()
    thread.join(1.0)
    assert results == [None]
    source.close()


def test_a_file_played_in_real_time_keeps_its_audio(tmp_path: Path, clock: ManualClock) -> None:
    source = realtime(write_clip(tmp_path / "a.mp4", 10, sound_s=0.4), clock, start_s=0.2)
    info = source.open()
    assert info.audio is not None
    assert info.audio.start_s == pytest.approx(0.2)
    frames = list(iter(source.read, None))
    source.close()
    assert [read_frame_number(frame.image_bgr) for frame in frames] == [5, 6, 7, 8, 9]
    assert [frame.captured_at_s for frame in frames] == pytest.approx([100, 100.04, 100.08, 100.12, 100.16])
