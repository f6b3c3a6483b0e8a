"""Opens media containers and decodes their video, skipping corrupt data. Translates FFmpeg's errors for users."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import av.container
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from pipeline.errors import InputError, RunError
from pipeline.pyav import fraction, open_input
from pipeline.sources.upright import Orientation, orientation_of
from pipeline.sources.warnings import SourceWarnings, position_text

log = logging.getLogger(__name__)

NOT_VIDEO_FORMATS = frozenset("tty bin xbin adf idf lrc srt ass webvtt microdvd subviewer".split())
"""The formats that FFmpeg detects in text files, and would render as video."""

MAX_ERRORS_IN_ROW = 64
"""After so many consecutive read errors, the rest of the file counts as unreadable."""

AV_DISPOSITION_ATTACHED_PIC = 0x0400


_LOCAL_PROTOCOLS = "file,crypto,data"
_WEB_PROTOCOLS = "http,https,httpproxy,tls,tcp,udp,rtp,srtp,crypto,data"
_STREAM_PROTOCOLS = f"{_WEB_PROTOCOLS},rtsp,srt,mmsh,mmst,rtmp,rtmps,rtmpt,rtmpts,rtmpe,rtmpte,ffrtmphttp,ffrtmpcrypt"


def allowed_protocols(location: str) -> str:
    """FFmpeg's `protocol_whitelist` for a source.

    A playlist or a session description that comes from elsewhere must not make FFmpeg open files of this machine, and a
    web page no more than FFmpeg's own default for the web. A local playlist reaches no server.
    """
    scheme, separator, _ = location.partition("://")
    if not separator:
        return _LOCAL_PROTOCOLS
    return _WEB_PROTOCOLS if scheme.lower() in ("http", "https") else _STREAM_PROTOCOLS


def open_container(
    location: str, name: str, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> av.container.InputContainer:
    """Open a media file or URL. Raises InputError with a one-line message that calls it `name`."""
    try:
        container = open_input(
            location, {"protocol_whitelist": allowed_protocols(location), **(options or {})}, timeout_s
        )
    except av.FFmpegError as error:
        raise InputError(f"{name}: {explain(error)}") from None
    if container.format.name in NOT_VIDEO_FORMATS:
        container.close()
        raise InputError(f"{name} is a text file, not a video")
    return container


def pick_video(container: av.container.InputContainer, name: str) -> VideoStream:
    """The container's main video stream. Raises InputError if there is none that can be decoded."""
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        codecs = [codec_name(stream) for stream in container.streams.audio]
        contents = f"only audio ({', '.join(codecs)})" if codecs else "nothing that can be shown"
        raise InputError(f"{name} contains no video: {contents}")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and not is_cover(best) else streams[0]
    if stream.codec_context is None or stream.codec_context.codec is None:
        raise InputError(f"{name}: its video cannot be decoded: the file is truncated, or no decoder is available")
    return stream


def codec_name(stream: VideoStream | AudioStream) -> str:
    """The codec's own name ("av1"), not that of the decoder library."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else "unknown"


def is_cover(stream: VideoStream) -> bool:
    """Whether this is the cover picture of an audio file."""
    return bool(int(stream.disposition) & AV_DISPOSITION_ATTACHED_PIC)


def explain(error: av.FFmpegError) -> str:
    """A description of an FFmpeg error for the person who gave the file or address."""
    texts: tuple[tuple[type[Exception], str], ...] = (
        (av.error.InvalidDataError, "not a readable video: damaged, truncated, or another kind of file"),
        (av.error.ExitError, "timed out"),
        (av.error.TimeoutError, "timed out"),
        (av.error.ProtocolNotFoundError, "this build of FFmpeg does not support that protocol"),
        (av.error.DecoderNotFoundError, "there is no decoder for its video; convert it with ffmpeg first"),
        (
            av.error.HTTPUnauthorizedError,
            "the server requires a user name and password (scheme://user:password@host/…)",
        ),
        (av.error.HTTPForbiddenError, "the server denies access (403)"),
        (av.error.HTTPNotFoundError, "the server has no such page (404)"),
        (av.error.ConnectionRefusedError, "connection refused: nothing is listening there"),
        (av.error.PermissionError, "permission denied"),
        (av.error.EOFError, "it ends before the first frame"),
    )
    for kind, text in texts:
        if isinstance(error, kind):
            return text
    return str(error.strerror or type(error).__name__)


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """How a stream's frames look once they are upright.

    Attributes:
        orientation: puts decoded pictures upright.
        width, height: upright size in pixels.
        sample_aspect_ratio: width / height of one upright pixel.
        rate: average frame rate, frames per second; None if unknown.
    """

    orientation: Orientation
    width: int
    height: int
    sample_aspect_ratio: Fraction
    rate: Fraction | None


def video_format(stream: VideoStream, first: av.VideoFrame) -> VideoFormat:
    """The format of a stream, given its first decoded picture."""
    orientation = orientation_of(first)
    width, height, aspect = first.width, first.height, fraction(stream.sample_aspect_ratio) or Fraction(1)
    if orientation.transpose:
        width, height, aspect = height, width, 1 / aspect
    rate = fraction(stream.average_rate) or fraction(stream.guessed_rate)
    return VideoFormat(orientation, width, height, aspect, rate)


class Decoder:
    """Decodes one video stream, skipping packets that cannot be read or decoded.

    Args:
        container: an open container; the caller closes it.
        stream: one of its video streams.
        name: for messages.
        warnings: records the position of each skipped packet.
    """

    def __init__(
        self, container: av.container.InputContainer, stream: VideoStream, name: str, warnings: SourceWarnings
    ) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self._warnings = warnings
        self._position_s = 0.0

    def frames(self) -> Iterator[av.VideoFrame]:
        """Every picture in presentation order, until the end of the file."""
        for packet in self._packets():
            try:
                decoded = self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.FFmpegError:
                self._skip_corrupt()
                continue
            for frame in decoded:
                if isinstance(frame, av.VideoFrame):
                    yield frame

    def _packets(self) -> Iterator[av.Packet[VideoStream]]:
        errors_in_row = 0
        while errors_in_row < MAX_ERRORS_IN_ROW:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        errors_in_row = 0
                    if packet.pts is not None:
                        self._position_s = (
                            float(packet.pts * packet.time_base) - (self._container.start_time or 0) / 1e6
                        )
                    yield packet
                return
            except (av.error.EOFError, IndexError):
                # IndexError: PyAV 18 fails at the end of a file in which further streams appeared midway.
                break
            except av.error.InvalidDataError:
                errors_in_row += 1
                self._skip_corrupt()
            except av.FFmpegError as error:
                raise RunError(f"{self._name}: reading failed: {explain(error)}") from None
        flush = av.Packet()
        flush.stream = self._stream
        yield cast("av.Packet[VideoStream]", flush)

    def _skip_corrupt(self) -> None:
        position = position_text(self._position_s)
        if self._warnings.add("corrupt data at", position):
            log.warning("%s: corrupt data at %s, resuming after it", self._name, position)
