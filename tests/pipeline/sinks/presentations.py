"""Presentations, sources and clips with audio for the tests of the sinks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.records import AudioTrack, Frame, Instances, SegmentedFrame, SourceInfo, SourceKind, StageTimes
from pipeline.sinks.base import Presentation, RunContext

MILLISECOND = Fraction(1, 1000)
RATE = 48000
LABELS = ("BG", "person", "dog")


def context(
    size_wh: tuple[int, int] = (96, 64),
    kind: SourceKind = SourceKind.RECORDED,
    time_base: Fraction = MILLISECOND,
    fps: float | None = 25.0,
    audio: AudioTrack | None = None,
    frame_count: int | None = None,
    sample_aspect_ratio: Fraction = Fraction(1),
    source_id: str = "clip.mp4",
) -> RunContext:
    """The context to open a sink with."""
    info = SourceInfo(
        source_id,
        kind,
        *size_wh,
        fps=fps,
        time_base=time_base,
        audio=audio,
        frame_count=frame_count,
        sample_aspect_ratio=sample_aspect_ratio,
    )
    return RunContext(info, LABELS)


def presentation(
    index: int,
    pts: int | None = None,
    image: np.ndarray | None = None,
    time_base: Fraction = MILLISECOND,
    duration: int | None = None,
    instances: Instances | None = None,
    source_id: str = "clip.mp4",
    shift: int = 0,
    sample_aspect_ratio: Fraction = Fraction(1),
) -> Presentation:
    """One presented frame, by default at 25 frames per second."""
    image = picture(index) if image is None else image
    pts = index * 40 if pts is None else pts
    frame = Frame(
        source_id, index, pts, time_base, 0.0, image, duration, shift, sample_aspect_ratio=sample_aspect_ratio
    )
    segmented = SegmentedFrame(frame, instances or Instances.empty(), index, StageTimes(0.0))
    return Presentation(segmented, frame.image_bgr)


def picture(index: int, size_wh: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A picture that differs from frame to frame and is easy on the encoder."""
    width, height = size_wh
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, (index * 5) % width : (index * 5) % width + 6] = (40, 200, 220)
    return image


def flash_and_beep(
    path: Path, audio_codec: str, audio_start_s: float, event_s: float = 1.2, length_s: float = 2.4
) -> Path:
    """A clip of 30 frames a second that turns white, and a 1-kHz beep that starts, both at `event_s`."""
    container_format = {".ts": "mpegts", ".mkv": "matroska"}.get(path.suffix, path.suffix[1:])
    with av.open(str(path), "w", format=container_format) as output:
        video = output.add_stream("libx264", rate=30, options={"bf": "0", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = output.add_stream(audio_codec, rate=RATE, layout="mono")
        sample_format = audio.codec_context.codec.audio_formats[0].name
        packets = []
        for i in range(round(length_s * 30)):
            white = event_s <= i / 30 < event_s + 0.2
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 255 if white else 0, np.uint8), "bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            packets += video.encode(frame)
        times = np.arange(round(audio_start_s * RATE), round(length_s * RATE)) / RATE
        samples = 0.8 * np.sin(2000 * np.pi * times) * ((times >= event_s) & (times < event_s + 0.2))
        resampler = av.AudioResampler(sample_format, "mono", RATE)
        for start in range(0, len(samples), 1024):
            sound = av.AudioFrame.from_ndarray(samples[None, start : start + 1024].astype(np.float32), "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = RATE, round(times[start] * RATE), Fraction(1, RATE)
            for piece in resampler.resample(sound):
                packets += audio.encode(piece)
        packets += video.encode(None) + audio.encode(None)
        for packet in sorted(packets, key=lambda one: float(one.dts * one.time_base)):
            output.mux(packet)
    return path


def flash_and_beep_times(path: Path) -> tuple[float, float]:
    """When the flash and the beep of a file begin, seconds."""
    with av.open(str(path)) as file:
        flash = next(frame.time for frame in file.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)
    with av.open(str(path)) as file:
        resampler = av.AudioResampler("flt", "mono", RATE)
        for frame in file.decode(audio=0):
            start = frame.time
            samples = np.concatenate([piece.to_ndarray()[0] for piece in resampler.resample(frame)])
            loud = np.flatnonzero(np.abs(samples) > 0.2)
            if len(loud):
                return flash, start + loud[0] / RATE
    raise AssertionError(f"{path} has no beep")


def video_packets(path: Path) -> list[tuple[float, float]]:
    """Presentation times and durations of a file's video packets, in seconds, in the order of presentation."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        return sorted((float(p.pts * p.time_base), float((p.duration or 0) * p.time_base)) for p in packets)
