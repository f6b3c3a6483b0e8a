"""The source's audio in the recording: in sync, whatever its codec, container, start and the first frame presented."""

from __future__ import annotations

import logging
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
import pytest

from pipeline.records import AudioTrack
from pipeline.settings.output_settings import AudioMode, RecorderSettings
from pipeline.sinks.recorder import Recorder
from pipeline.sources.video import VideoFile
from tests.pipeline.sinks import presentations
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


@lru_cache(maxsize=1)
def frames_of(source):
    """(time base, [(pts, BGR)]) of a clip's video; those of the last clip are kept for the next test."""
    with av.open(str(source)) as file:
        time_base = file.streams.video[0].time_base
        return time_base, [(frame.pts, frame.to_ndarray(format="bgr24")) for frame in file.decode(video=0)]


@lru_cache(maxsize=1)
def times_of(source):
    return flash_and_beep_times(source)


def record_clip(source, path, skip=0, stop=None, audio=AudioMode.COPY, shift_s=0):
    """Record a clip's own frames, from number `skip` on, on a clock that is at `shift_s` when the clip begins."""
    time_base, frames = frames_of(source)
    origin = frames[0][0]
    track = AudioTrack(source, float((frames[skip][0] - origin) * time_base), float(origin * time_base))
    recorder = Recorder(RecorderSettings(path=str(path), audio=audio))
    recorder.open(context(fps=30.0, time_base=time_base, audio=track))
    shift = round(shift_s / time_base)
    for i, (pts, image) in enumerate(frames[skip:stop]):
        recorder.write(presentation(i, pts - origin + shift, image, time_base, shift=shift))
    recorder.close()


def codecs(path):
    with av.open(str(path)) as file:
        return [stream.codec_context.codec.canonical_name for stream in file.streams]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize("skip", [0, 20])
def test_flash_and_beep_stay_in_sync(source, tmp_path, suffix, skip):
    path = tmp_path / f"out{suffix}"
    record_clip(source, path, skip)
    flash_s, beep_s = flash_and_beep_times(path)
    assert flash_s == pytest.approx(1.2 - skip / 30, abs=0.002)
    source_flash_s, source_beep_s = times_of(source)
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


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_a_recording_that_begins_after_a_seek_has_the_sound_of_its_pictures(tmp_path, codec):
    record_clip(flash_and_beep(tmp_path / "clip.mov", codec, 0.0), tmp_path / "out.mp4", skip=20, shift_s=61)
    flash_s, beep_s = flash_and_beep_times(tmp_path / "out.mp4")
    assert beep_s == pytest.approx(flash_s, abs=PACKET_S)


@pytest.mark.parametrize(
    ("name", "codec", "expected"),
    [
        ("a.mp4", "aac", {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "opus"}),
        ("a.mov", "pcm_s16le", {".mp4": "aac", ".mov": "aac", ".mkv": "pcm_s16le"}),
        ("a.mkv", "libopus", {".mp4": "opus", ".mov": "aac", ".mkv": "opus", ".webm": "opus"}),
        ("a.mkv", "mp2", {".mp4": "aac", ".mov": "aac", ".mkv": "mp2"}),
        ("a.mkv", "libmp3lame", {".mp4": "mp3", ".mov": "mp3", ".mkv": "mp3", ".webm": "opus"}),
        ("a.mkv", "ac3", {".mp4": "aac", ".mov": "ac3", ".mkv": "ac3", ".webm": "opus"}),
    ],
)
def test_audio_is_copied_if_the_container_supports_it_else_encoded(tmp_path, name, codec, expected):
    source = flash_and_beep(tmp_path / name, codec, 0.0, event_s=0.2, length_s=0.6)
    for suffix, sound in expected.items():
        record_clip(source, tmp_path / f"out{suffix}")
        video, audio = codecs(tmp_path / f"out{suffix}")
        assert video == ("vp9" if suffix == ".webm" else "h264")
        assert audio == sound


@pytest.mark.parametrize(("rate", "expected"), [(11025, "aac"), (16000, "mp3")])
def test_mp3_of_a_rate_that_mp4_does_not_have_is_encoded_anew(tmp_path, monkeypatch, rate, expected):
    monkeypatch.setattr(presentations, "RATE", rate)
    source = flash_and_beep(tmp_path / "clip.mkv", "libmp3lame", 0.0)
    for suffix, sound in {".mp4": expected, ".mov": "mp3", ".mkv": "mp3"}.items():
        record_clip(source, tmp_path / f"out{suffix}")
        assert codecs(tmp_path / f"out{suffix}") == ["h264", sound]
    flash_s, beep_s = flash_and_beep_times(tmp_path / "out.mp4")
    assert beep_s == pytest.approx(flash_s, abs=1152 / rate)


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


@pytest.mark.parametrize("codec", ["aac", "ac3", "eac3", "flac", "libmp3lame", "libopus"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_recording_that_ends_before_its_sound_begins_is_whole(tmp_path, codec, suffix):
    source = flash_and_beep(tmp_path / "clip.mkv", codec, audio_start_s=1.8)
    record_clip(source, tmp_path / f"out{suffix}", stop=45)
    assert len(video_packets(tmp_path / f"out{suffix}")) == 45


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


def with_unknown_sound(path, tracks):
    """Give so many sound tracks of an mp4 file, the first ones, a codec that nobody decodes. Returns the path."""
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"apac", tracks).replace(b"esds", b"xsds", tracks))
    return path


def test_audio_without_a_decoder_is_a_warning_and_the_video_is_recorded(tmp_path, caplog):
    source = with_unknown_sound(flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0), 1)
    with caplog.at_level(logging.WARNING):
        record_clip(source, tmp_path / "out.mp4")
    assert "recording without audio" in caplog.text
    assert "no audio that can be decoded" in caplog.text
    assert codecs(tmp_path / "out.mp4") == ["h264"]


def test_of_several_tracks_the_first_that_can_be_decoded_is_recorded(tmp_path):
    clip, source = flash_and_beep(tmp_path / "clip.mp4", "aac", 0.0), tmp_path / "two.mp4"
    with av.open(str(clip)) as one, av.open(str(source), "w") as two:
        video, sound = one.streams
        targets = [two.add_stream_from_template(stream) for stream in (video, sound, sound)]
        for packet in one.demux():
            if packet.size:
                for target in targets[:1] if packet.stream is video else targets[1:]:
                    again = av.Packet(bytes(packet))
                    again.pts, again.dts, again.time_base = packet.pts, packet.dts, packet.time_base
                    again.is_keyframe, again.stream = packet.is_keyframe, target
                    two.mux(again)
    record_clip(with_unknown_sound(source, 1), tmp_path / "out.mp4")
    assert codecs(tmp_path / "out.mp4") == ["h264", "aac"]
    flash_s, beep_s = flash_and_beep_times(tmp_path / "out.mp4")
    assert beep_s == pytest.approx(flash_s, abs=PACKET_S)


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


def tone_clip(path, hz, rate, layout, codec="aac", seconds=2):
    """A clip of 25 frames a second with a sine tone."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = output.add_stream(codec, rate=rate, layout=layout)
        for _ in range(25 * seconds):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), 80, np.uint8), format="bgr24")))
        wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(seconds * rate) / rate).astype(np.float32)
        for start in range(0, len(wave), 1024):
            samples = np.tile(wave[start : start + 1024], (1 if layout == "mono" else 2, 1))
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(sound.encode(frame))
        for stream in (video, sound):
            output.mux(stream.encode(None))
    return path


def record_file(source, path):
    """Record a file through the source that reads it."""
    video = VideoFile(source)
    info = video.open()
    recorder = Recorder(RecorderSettings(path=str(path)))
    recorder.open(context(fps=25.0, time_base=info.time_base, audio=info.audio))
    count = 0
    while (frame := video.read()) is not None:
        recorder.write(presentation(count, frame.pts, frame.image_bgr, frame.time_base))
        count += 1
    recorder.close()
    video.close()
    return count


def heard_hz(path, from_s, to_s):
    """The strongest frequency between two times, and the end of the sound in seconds."""
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].rate
        frames = list(file.decode(audio=0))
    heard = [frame for frame in frames if from_s <= float(frame.pts * frame.time_base) < to_s]
    part = np.concatenate([frame.to_ndarray()[0] for frame in heard])
    end_s = float(frames[-1].pts * frames[-1].time_base) + frames[-1].samples / rate
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    assert spectrum.max() > len(part) / 50, "silence"
    return np.argmax(spectrum) * rate / len(part), end_s


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("codec", "rate", "layout"),
    [("aac", 44100, "stereo"), ("aac", 48000, "mono"), ("aac", 22050, "stereo"), ("libmp3lame", 48000, "mono")],
    ids=["the same format", "another rate and layout", "half the rate", "MP3"],
)
def test_joined_clips_keep_the_sound_of_both(tmp_path, suffix, codec, rate, layout):
    joined = tmp_path / "joined.ts"
    first = tone_clip(tmp_path / "a.ts", 440, 44100, "stereo", codec)
    second = tone_clip(tmp_path / "b.ts", 1000, rate, layout, codec)
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    path = tmp_path / f"out{suffix}"
    assert record_file(joined, path) == 100
    assert heard_hz(path, 0.5, 1.5)[0] == pytest.approx(440, abs=3)
    hz, end_s = heard_hz(path, 2.5, 3.5)
    assert hz == pytest.approx(1000, abs=3)
    assert end_s == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("error", [ValueError("the format changed"), av.error.InvalidDataError(1, "bad packet")])
def test_an_error_of_the_sound_ends_only_the_sound(tmp_path, monkeypatch, caplog, error):
    def failing(feed, end_s):
        if end_s > 1.0:
            raise error
        yield from ()

    monkeypatch.setattr("pipeline.sinks.audio.AudioFeed.until", failing)
    clip = tone_clip(tmp_path / "a.mp4", 440, 44100, "stereo")
    path = tmp_path / "out.mp4"
    with caplog.at_level(logging.WARNING):
        assert record_file(clip, path) == 50
    assert len(video_packets(path)) == 50
    assert [record.getMessage()[:20] for record in caplog.records] == ["the sound ends at 1."]
