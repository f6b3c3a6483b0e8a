"""Copies a source's audio into a recording, encoded anew if the container does not support its codec."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from pipeline.records import AudioTrack
from pipeline.sources.base import PtsClock
from pipeline.sources.container import open_input
from pipeline.sources.decoder import fraction

if TYPE_CHECKING:
    Packet = av.Packet[Any]

log = logging.getLogger(__name__)

_EVERYWHERE = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
COPIED_CODECS = {
    # Not (E-)AC-3: FFmpeg makes the header of an mp4 from its first packet, and writes none if that does not come.
    ".mp4": _EVERYWHERE - {"ac3", "eac3"} | {"opus", "flac"},
    ".mov": _EVERYWHERE,
    ".webm": frozenset({"opus", "vorbis"}),
    ".mkv": _EVERYWHERE | {"opus", "flac", "vorbis", "mp2", "dts", "truehd", "pcm_s16le", "pcm_s24le", "pcm_f32le"},
}
"""The codecs that are copied, by suffix of the recording; others are encoded anew."""
_LEAST_MP3_RATE = 16000
"""Hertz: mp4 has no MP3 of lower rates (MPEG 2.5), and FFmpeg refuses to write its header."""
_CHANGEABLE_FORMATS = frozenset({"mpegts", "mpeg", "aac", "mp3", "ac3", "eac3", "flv"})
"""Containers whose sound may change its format midway, as after joining files; it is decoded and encoded anew."""


@dataclass(frozen=True, slots=True)
class _Encoder:
    """An encoder of sound by its name in FFmpeg, its sample rates in hertz, and its layouts of channels."""

    name: str
    rates: tuple[int, ...]
    layouts: tuple[str, ...]


_AAC = _Encoder(
    "aac",
    (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"),
)
_OPUS = _Encoder("libopus", (8000, 12000, 16000, 24000, 48000), ("mono", "stereo", "5.1"))
_USUAL_FRAME_S = 1024 / 48000
"""Duration of a packet that does not state it."""
_MAX_DRIFT_S = 0.05
"""A longer gap or overlap between decoded frames is repaired; a shorter one is rounding."""


class AudioFeed:
    """Yields the audio packets of a recording as its video advances.

    Args:
        track: location of the source's audio.
        first_s: position of the recording's first frame in the source, seconds: the recording's time 0.
        output: the recording, before its header is written.
        suffix: ".mp4", ".mov", ".mkv" or ".webm".

    Raises:
        av.FFmpegError, OSError: the audio cannot be opened.
        LookupError: there is no audio, or no decoder for it.
    """

    def __init__(self, track: AudioTrack, first_s: float, output: av.container.OutputContainer, suffix: str) -> None:
        self._input = open_input(f"file:{track.path}")
        self._pending: Packet | None = None
        stream = next((one for one in self._input.streams.audio if one.codec_context is not None), None)
        if stream is None:
            self._input.close()
            raise LookupError(f"{track.path} has no audio that can be decoded")
        origin_s = first_s + track.origin_s
        packets = self._read_from(stream, origin_s)
        codec = stream.codec_context.codec.canonical_name
        is_known = codec in COPIED_CODECS[suffix] and not (
            (codec, suffix) == ("mp3", ".mp4") and stream.codec_context.sample_rate < _LEAST_MP3_RATE
        )
        if is_known and self._input.format.name not in _CHANGEABLE_FORMATS:
            self._packets = _copied(packets, output.add_stream_from_template(stream))
        else:
            self._packets = _reencoded(packets, stream, output, _OPUS if suffix == ".webm" else _AAC)

    def until(self, end_s: float) -> Iterator[Packet]:
        """Yields the next packets that begin before `end_s` of the recording, ready to be muxed."""
        for packet in chain(() if self._pending is None else (self._pending,), self._packets):
            self._pending = packet
            if _time_s(packet) >= end_s:
                return
            self._pending = None
            yield packet

    def close(self) -> None:
        """Close the source's file. May be called twice."""
        self._input.close()

    def _read_from(self, stream: av.AudioStream, origin_s: float) -> Iterator[Packet]:
        """Yields packets from shortly before `origin_s` in file time up to the end, or up to the first read error.

        Their timestamps count from `origin_s`, with the repairs that the video's have.
        """
        time_base = fraction(stream.time_base) or Fraction(1, stream.codec_context.sample_rate)
        if origin_s > 1.0:
            self._input.seek(int((origin_s - 0.5) / time_base), stream=stream)
        clock = PtsClock(round(origin_s / time_base), time_base, step=round(_USUAL_FRAME_S / time_base))
        try:
            for packet in self._input.demux(stream):
                if packet.size and (packet.pts is not None or clock.last is not None):
                    packet.pts = packet.dts = clock.next(packet.pts, packet.duration)
                    yield packet
        except av.FFmpegError as error:
            log.warning("the audio ends early: %s", error.strerror or error)


def _copied(packets: Iterator[Packet], target: av.AudioStream) -> Iterator[Packet]:
    for packet in packets:
        # Packets before the first frame are skipped: a stream that starts below 0 would shift the video.
        if packet.pts is not None and packet.pts >= 0:
            packet.stream = target
            yield packet


def _reencoded(
    packets: Iterator[Packet], stream: av.AudioStream, output: av.container.OutputContainer, encoder: _Encoder
) -> Iterator[Packet]:
    """Re-encodes packets, in the format that the sound begins with."""
    rate = stream.codec_context.sample_rate
    rate = rate if rate in encoder.rates else 48000
    layout = stream.codec_context.layout.name
    layout = layout if layout in encoder.layouts else ("mono" if stream.codec_context.channels == 1 else "stereo")
    target: Any = output.add_stream(encoder.name, rate=rate, layout=layout)

    def generate() -> Iterator[Packet]:
        timeline = _SampleTimeline(rate)
        resampled: tuple[str, str, int] | None = None
        for frame in _decoded(packets, stream):
            time_s = _time_s(frame)
            if time_s < 0:
                continue
            if resampled != (given := (frame.format.name, frame.layout.name, frame.sample_rate)):
                resampled, resampler = given, av.AudioResampler(format="fltp", layout=layout, rate=rate)
            for piece in resampler.resample(frame):
                for placed in timeline.place(piece, time_s):
                    yield from _drop_negative(target.encode(placed))
                time_s += piece.samples / rate
        yield from _drop_negative(target.encode(None))

    return generate()


def _decoded(packets: Iterator[Packet], stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Yields the frames that have a timestamp; skips corrupt packets, with one warning."""
    has_warned = False
    for packet in packets:
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            if not has_warned:
                log.warning("skipping corrupt audio: %s", error.strerror or error)
            has_warned = True
            continue
        yield from (frame for frame in frames if frame.pts is not None)


def _time_s(item: Packet | av.AudioFrame) -> float:
    """Presentation time of a packet or frame, seconds; it must have one."""
    assert item.pts is not None
    assert item.time_base is not None
    return float(item.pts * item.time_base)


def _drop_negative(packets: list[Packet]) -> Iterator[Packet]:
    """Drops the encoder's priming samples before time 0, which would shift the video."""
    yield from (packet for packet in packets if packet.pts is not None and packet.pts >= 0)


class _SampleTimeline:
    """Assigns timestamps to decoded audio by counting samples; fills gaps with silence and drops overlaps."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._next: int | None = None

    def place(self, piece: av.AudioFrame, time_s: float) -> Iterator[av.AudioFrame]:
        due = round(time_s * self._rate)
        if self._next is None:
            self._next = due
        drift = due - self._next
        if drift < -_MAX_DRIFT_S * self._rate:
            return
        while drift > _MAX_DRIFT_S * self._rate:
            silence = _silence_like(piece, min(drift, self._rate))
            drift -= silence.samples
            yield self._stamp(silence)
        yield self._stamp(piece)

    def _stamp(self, piece: av.AudioFrame) -> av.AudioFrame:
        assert self._next is not None
        piece.pts, piece.time_base = self._next, Fraction(1, self._rate)
        self._next += piece.samples
        return piece


def _silence_like(piece: av.AudioFrame, samples: int) -> av.AudioFrame:
    zeros = np.zeros((piece.layout.nb_channels, samples), np.float32)
    silence = av.AudioFrame.from_ndarray(zeros, format="fltp", layout=piece.layout.name)
    silence.sample_rate = piece.sample_rate
    return silence
