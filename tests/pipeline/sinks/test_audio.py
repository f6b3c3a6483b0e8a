"""The source's audio in the recording: in sync, whatever its codec, container, start and the first frame presented."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import pytest

from pipeline.records import AudioTrack
from pipeline.settings.output_settings import AudioMode, RecorderSettings
from pipeline.sinks.recorder import Recorder
from tests.pipeline.sinks.presentations import (
    context,
    flash_and_beep,
    flash_and_beep_times,
    presentation,
    video_packets,
)
from tests.pipeline.sources.clips import with_damaged_tags

PACKET_S = 1024 / 44100
"""A packet of AAC; "in sync" means to within one."""

SOURCES = {
    "aac, later than the video": ("late.mp4", "aac", 0.5),
    "aac in a transport stream": ("clip.ts", "aac", 0.0),
    "pcm": ("clip.mov", "pcm_s16le", 0.0),
    "pcm, later than the video": ("late.mkv", "pcm_s16le", 0.7),
    "opus": ("clip.mkv", "libopus", 0.0),
    "mp3": ("clip.mkv", "libmp3lame", 0.0),
    "flac": ("clip.mkv", "flac", 0.0),
}


@pytest.fixture(scope="module", params=SOURCES, ids=list(SOURCES))
def source(request, tmp_path_factory):
    name, codec, start_s = SOURCES[request.param]
    return flash_and_beep(tmp_path_factory.mktemp("sound") / name, codec, start_s)


def record_clip(source, path, skip=0, stop=None, audio=AudioMode.COPY):
    """Record a clip's own frames, from number `skip` on, on a clock that begins at 0 with the clip."""
    with av.open(str(source)) as file:
        time_base = file.streams.video[0].time_base
        frames = [(frame.pts, frame.to_ndarray(format="bgr24")) for frame in file.decode(video=0)]
    origin = frames[0][0]
    track = AudioTrack(source, float((frames[skip][0] - origin) * time_base), float(origin * time_base))
    recorder = Recorder(RecorderSettings(path=str(path), audio=audio))
    recorder.open(context(fps=30.0, time_base=time_base, audio=track))
    for i, (pts, image) in enumerate(frames[skip:stop]):
        recorder.write(presentation(i, pts - origin, image, time_base))
    recorder.close()


def codecs(path):
    with av.open(str(path)) as file:
        return [stream.codec_context.codec.canonical_name for stream in file.streams]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("skip", [0, 20])
def test_flash_and_beep_stay_in_sync(source, tmp_path, suffix, skip):
    path = tmp_path / f"out{suffix}"
    record_clip(source, path, skip)
    flash_s, beep_s = flash_and_beep_times(path)
    assert flash_s == pytest.approx(1.2 - skip / 30, abs=0.002)
    source_flash_s, source_beep_s = flash_and_beep_times(source)
    assert beep_s - flash_s == pytest.approx(source_beep_s - source_flash_s, abs=PACKET_S)


def test_the_audio_of_a_file_with_damaged_tags_is_recorded(tmp_path):
    tagged = with_damaged_tags(flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0))
    recorder = Recorder(RecorderSettings(path=str(tmp_path / "out.mp4")))
    recorder.open(context(fps=30.0, time_base=Fraction(1, 30), audio=AudioTrack(tagged, 0.0, 0.0)))
    for i in range(60):
        recorder.write(presentation(i, i, time_base=Fraction(1, 30)))
    recorder.close()
    assert codecs(tmp_path / "out.mp4") == ["h264", "aac"]


@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "aac"), ("clip.mkv", "libopus"), ("clip.mov", "pcm_s16le"), ("clip.ts", "mp2")]
)
def test_a_start_far_into_the_file_is_found_by_seeking(tmp_path, name, codec):
    source = flash_and_beep(tmp_path / name, codec, 0.0, event_s=3.5, length_s=4.0)
    record_clip(source, tmp_path / "out.mp4", skip=90)
    flash_s, beep_s = flash_and_beep_times(tmp_path / "out.mp4")
    assert flash_s == pytest.approx(0.5, abs=0.002)
    assert beep_s == pytest.approx(0.5, abs=PACKET_S)


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        ("a.mp4", "aac", {".mp4": "aac", ".mov": "aac", ".mkv": "aac"}),
        ("a.mov", "pcm_s16le", {".mp4": "aac", ".mov": "aac", ".mkv": "pcm_s16le"}),
        ("a.mkv", "libopus", {".mp4": "opus", ".mov": "aac", ".mkv": "opus"}),
        ("a.mkv", "mp2", {".mp4": "aac", ".mov": "aac", ".mkv": "mp2"}),
        ("a.mkv", "libmp3lame", {".mp4": "mp3", ".mov": "mp3", ".mkv": "mp3"}),
    ],
)
def test_audio_is_copied_if_the_container_supports_it_else_aac(tmp_path, name, codec, expected):
    source = flash_and_beep(tmp_path / name, codec, 0.0, event_s=0.2, length_s=0.6)
    for suffix, sound in expected.items():
        record_clip(source, tmp_path / f"out{suffix}")
        video, audio = codecs(tmp_path / f"out{suffix}")
        assert video == "h264"
        assert audio == sound


def test_copied_packets_are_the_sources_own(tmp_path):
    source = flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0, event_s=0.2, length_s=1.0)
    record_clip(source, tmp_path / "out.mp4")

    def payloads(path):
        with av.open(str(path)) as file:
            return [bytes(packet) for packet in file.demux(audio=0) if packet.size]

    theirs, ours = payloads(source), payloads(tmp_path / "out.mp4")
    # All but the encoder's warm-up before time 0, and what lies behind the last frame.
    assert len(ours) >= len(theirs) - 3
    start = theirs.index(ours[0])
    assert start <= 1
    assert theirs[start : start + len(ours)] == ours


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_audio_ends_with_the_last_frame(tmp_path, codec):
    source = flash_and_beep(tmp_path / "clip.mkv", codec, 0.0)
    record_clip(source, tmp_path / "out.mp4", stop=45)
    with av.open(str(tmp_path / "out.mp4")) as file:
        last = [packet for packet in file.demux(audio=0) if packet.size][-1]
        assert 1.4 < float(last.pts * last.time_base) < 1.5
    assert video_packets(tmp_path / "out.mp4")[-1][0] == pytest.approx(44 / 30, abs=0.001)


def test_audio_can_be_disabled(tmp_path):
    source = flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0, event_s=0.2, length_s=0.6)
    record_clip(source, tmp_path / "out.mp4", audio=AudioMode.OFF)
    assert codecs(tmp_path / "out.mp4") == ["h264"]


@pytest.mark.parametrize("content", [None, b"not a media file" * 100])
def test_missing_audio_is_a_warning_and_the_video_is_recorded(tmp_path, content, caplog):
    source = tmp_path / "gone.mp4"
    if content is not None:
        source.write_bytes(content)
    recorder = Recorder(RecorderSettings(path=str(tmp_path / "out.mp4")))
    recorder.open(context(audio=AudioTrack(source)))
    with caplog.at_level(logging.WARNING):
        for i in range(5):
            recorder.write(presentation(i))
        recorder.close()
    assert "recording without audio" in caplog.text
    assert codecs(tmp_path / "out.mp4") == ["h264"]
    assert len(video_packets(tmp_path / "out.mp4")) == 5


def test_corrupt_audio_does_not_end_the_recording(tmp_path, caplog):
    source = flash_and_beep(tmp_path / "clip.ts", "mp2", 0.0)
    data = bytearray(source.read_bytes())
    middle = len(data) // 2 // 188 * 188
    for offset in range(middle, middle + 40 * 188, 188):
        data[offset + 20 : offset + 180] = b"\xff\x00" * 80
    damaged = tmp_path / "damaged.ts"
    damaged.write_bytes(data)
    track = AudioTrack(damaged, 0.0, 1.4)
    recorder = Recorder(RecorderSettings(path=str(tmp_path / "out.mp4")))
    recorder.open(context(fps=30.0, time_base=Fraction(1, 30), audio=track))
    for i in range(72):
        recorder.write(presentation(i, i, time_base=Fraction(1, 30)))
    recorder.close()
    assert len(video_packets(tmp_path / "out.mp4")) == 72
