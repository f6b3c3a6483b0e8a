"""Carries a source's sound into the recording: copied, or re-encoded to AAC where the container cannot hold it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

import av
import av.container
import numpy as np

from pipeline.pyav import fraction, open_input
from pipeline.records import AudioTrack

if TYPE_CHECKING:
    Packet = av.Packet[Any]

log = logging.getLogger(__name__)

_EVERYWHERE = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
COPIED_CODECS = {
    ".mp4": _EVERYWHERE | {"opus", "flac"},
    ".mov": _EVERYWHERE,
    ".mkv": _EVERYWHERE | {"opus", "flac", "vorbis", "mp2", "dts", "truehd", "pcm_s16le", "pcm_s24le", "pcm_f32le"},
}
"""What is copied as it is, by the recording's suffix; the rest becomes AAC."""

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
_LARGEST_SLIP_S = 0.05
"""A gap or overlap between decoded frames that is longer is repaired; shorter ones are rounding."""


class Sound:
    """The sound of a recording, asked for piece by piece as the video advances.

    Args:
        track: where the source's sound lies.
        first_pts_s: pts of the recording's first frame, seconds: the recording's time 0.
        output: the recording; its header is not written yet.
        suffix: ".mp4", ".mov" or ".mkv".

    Raises av.FFmpegError or OSError if the sound cannot be opened, LookupError if there is none.
    """

    def __init__(
        self, track: AudioTrack, first_pts_s: float, output: av.container.OutputContainer, suffix: str
    ) -> None:
        self._input = open_input(f"file:{track.path}")
        self._pending: Packet | None = None
        if not self._input.streams.audio:
            self._input.close()
            raise LookupError(f"{track.path} has no sound")
        stream = self._input.streams.audio[0]
        origin_s = first_pts_s + track.origin_s
        packets = self._from(stream, origin_s)
        if stream.codec_context.codec.canonical_name in COPIED_CODECS[suffix]:
            self._packets = _copied(packets, stream, output, origin_s)
        else:
            self._packets = _reencoded(packets, stream, output, origin_s)

    def until(self, end_s: float) -> Iterator[Packet]:
        """The packets that begin before `end_s` of the recording and were not given out yet, ready to be muxed."""
        for packet in chain(() if self._pending is None else (self._pending,), self._packets):
            self._pending = packet
            if _time_s(packet) >= end_s:
                return
            self._pending = None
            yield packet

    def close(self) -> None:
        """Release the source's file; may be called twice."""
        self._input.close()

    def _from(self, stream: av.AudioStream, origin_s: float) -> Iterator[Packet]:
        """Packets from a little before `origin_s` in file time to the end; a damaged end counts as the end."""
        time_base = fraction(stream.time_base)
        if origin_s > 1.0 and time_base is not None:
            self._input.seek(int((origin_s - 0.5) / time_base), stream=stream)
        try:
            yield from (packet for packet in self._input.demux(stream) if packet.size and packet.pts is not None)
        except av.FFmpegError as error:
            log.warning("the sound ends early: %s", error.strerror or error)


def _copied(
    packets: Iterator[Packet], stream: av.AudioStream, output: av.container.OutputContainer, origin_s: float
) -> Iterator[Packet]:
    """Packets as they are, their time counted from `origin_s`."""
    target = output.add_stream_from_template(stream)

    def generate() -> Iterator[Packet]:
        last = -1
        for packet in packets:
            assert packet.pts is not None
            # What begins before the first frame is left out: a stream that starts below 0 would shift the video.
            pts = packet.pts - round(origin_s / packet.time_base)
            if pts < 0:
                continue
            # Containers want rising time stamps; damaged files have others.
            last = max(pts, last + 1)
            packet.pts = packet.dts = last
            packet.stream = target
            yield packet

    return generate()


def _reencoded(
    packets: Iterator[Packet], stream: av.AudioStream, output: av.container.OutputContainer, origin_s: float
) -> Iterator[Packet]:
    """AAC packets, their time counted from `origin_s`."""
    rate = stream.codec_context.sample_rate
    rate = rate if rate in _AAC_RATES else 48000
    layout = stream.codec_context.layout.name
    layout = layout if layout in _AAC_LAYOUTS else ("mono" if stream.codec_context.channels == 1 else "stereo")
    target = output.add_stream("aac", rate=rate, layout=layout)
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)

    def generate() -> Iterator[Packet]:
        line = _SampleLine(rate)
        for frame in _decoded(packets, stream):
            time_s = _time_s(frame) - origin_s
            if time_s < 0:
                continue
            for piece in resampler.resample(frame):
                for ready in line.place(piece, time_s):
                    yield from _not_negative(target.encode(ready))
                time_s += piece.samples / rate
        yield from _not_negative(target.encode(None))

    return generate()


def _decoded(packets: Iterator[Packet], stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames with a time; what is damaged is left out and said once."""
    damaged = False
    for packet in packets:
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            if not damaged:
                log.warning("damaged sound is left out: %s", error.strerror or error)
            damaged = True
            continue
        yield from (frame for frame in frames if frame.pts is not None)


def _time_s(item: Packet | av.AudioFrame) -> float:
    """Presentation time of a packet or frame that has one, seconds."""
    assert item.pts is not None
    assert item.time_base is not None
    return float(item.pts * item.time_base)


def _not_negative(packets: list[Packet]) -> Iterator[Packet]:
    """Leaves out the encoder's warm-up before time 0, which would shift the video."""
    yield from (packet for packet in packets if packet.pts is not None and packet.pts >= 0)


class _SampleLine:
    """Puts decoded pieces one after the other by counting samples; gaps become silence, overlaps are left out."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._next: int | None = None

    def place(self, piece: av.AudioFrame, time_s: float) -> Iterator[av.AudioFrame]:
        wanted = round(time_s * self._rate)
        if self._next is None:
            self._next = wanted
        slip = wanted - self._next
        if slip < -_LARGEST_SLIP_S * self._rate:
            return
        while slip > _LARGEST_SLIP_S * self._rate:
            silence = _silence_like(piece, min(slip, self._rate))
            slip -= silence.samples
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
