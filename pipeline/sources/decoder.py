"""Pictures out of a media container, one by one, past damaged parts. The place that knows FFmpeg's errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import cast

import av
import av.container
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from pipeline.errors import InputError, RunError
from pipeline.pyav import open_input

log = logging.getLogger(__name__)

NOT_VIDEO_FORMATS = frozenset("tty bin xbin adf idf lrc srt ass webvtt microdvd subviewer".split())
"""What FFmpeg calls a text file, which it would draw as video, letter by letter."""

GIVE_UP_AFTER = 64
"""So many read errors in a row, without a picture between them, are the end of what can be read."""

AV_DISPOSITION_ATTACHED_PIC = 0x0400


def open_container(
    location: str, name: str, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> av.container.InputContainer:
    """Open a media file or URL. Raises InputError with one line that names it as `name`."""
    try:
        container = open_input(location, options, timeout_s)
    except av.FFmpegError as error:
        raise InputError(f"{name}: {explain(error)}") from None
    if container.format.name in NOT_VIDEO_FORMATS:
        container.close()
        raise InputError(f"{name} is a text file, not a video")
    return container


def pick_video(container: av.container.InputContainer, name: str) -> VideoStream:
    """The container's main video stream. Raises InputError if it has none that can be decoded."""
    pictures = [stream for stream in container.streams.video if not is_cover(stream)]
    if not pictures:
        sounds = [codec_name(stream) for stream in container.streams.audio]
        has = f"only sound ({', '.join(sounds)})" if sounds else "nothing that can be shown"
        raise InputError(f"{name} has no video in it: {has}")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and not is_cover(best) else pictures[0]
    if stream.codec_context is None or stream.codec_context.codec is None:
        raise InputError(f"{name}: its video cannot be decoded: the file is cut off, or there is no decoder for it")
    return stream


def codec_name(stream: VideoStream | AudioStream) -> str:
    """The codec's own name ("av1"), not that of the library that decodes it."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else "unknown"


def is_cover(stream: VideoStream) -> bool:
    """True for the cover picture of a sound file."""
    return bool(int(stream.disposition) & AV_DISPOSITION_ATTACHED_PIC)


def explain(error: av.FFmpegError) -> str:
    """What FFmpeg's error means for the person who gave the file or address."""
    known: tuple[tuple[type[Exception], str], ...] = (
        (av.error.InvalidDataError, "not a video that can be read: damaged, cut off, or another kind of file"),
        (av.error.ExitError, "no answer in time"),
        (av.error.TimeoutError, "no answer in time"),
        (av.error.ProtocolNotFoundError, "this build of FFmpeg does not speak that protocol"),
        (av.error.DecoderNotFoundError, "there is no decoder for its video; convert it with ffmpeg first"),
        (
            av.error.HTTPUnauthorizedError,
            "the server asks for a user name and password (scheme://user:password@host/…)",
        ),
        (av.error.HTTPForbiddenError, "the server refuses access (403)"),
        (av.error.HTTPNotFoundError, "the server has no such page (404)"),
        (av.error.ConnectionRefusedError, "nothing answers there (connection refused)"),
        (av.error.PermissionError, "permission denied"),
        (av.error.EOFError, "it ends before the first picture"),
    )
    for kind, text in known:
        if isinstance(error, kind):
            return text
    return str(error.strerror or type(error).__name__)


class Decoder:
    """Decodes one video stream and survives damage: bad packets are skipped and counted.

    Args:
        container: an open container; the owner closes it.
        stream: one of its video streams.
        name: for messages.
    """

    def __init__(self, container: av.container.InputContainer, stream: VideoStream, name: str) -> None:
        self._container = container
        self._stream = stream
        self._name = name
        self.damaged = 0
        """How many packets could not be read or decoded."""

    def frames(self) -> Iterator[av.VideoFrame]:
        """Every picture in the order of presentation, until the end of the file."""
        for packet in self._packets():
            try:
                decoded = self._stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.FFmpegError as error:
                self._skip(error)
                continue
            for frame in decoded:
                if isinstance(frame, av.VideoFrame):
                    yield frame

    def _packets(self) -> Iterator[av.Packet[VideoStream]]:
        errors_in_row = 0
        while errors_in_row < GIVE_UP_AFTER:
            try:
                for packet in self._container.demux(self._stream):
                    if packet.size:
                        errors_in_row = 0
                    yield packet
                return
            except (av.error.EOFError, IndexError):
                # IndexError: PyAV 18 stumbles at the end of a file in which further streams appeared on the way.
                break
            except av.error.InvalidDataError as error:
                errors_in_row += 1
                self._skip(error)
            except av.FFmpegError as error:
                raise RunError(f"{self._name}: reading failed: {explain(error)}") from None
        yield from self._flush()

    def _flush(self) -> Iterator[av.Packet[VideoStream]]:
        packet = av.Packet()
        packet.stream = self._stream
        yield cast("av.Packet[VideoStream]", packet)

    def _skip(self, error: av.FFmpegError) -> None:
        self.damaged += 1
        if self.damaged == 1:
            log.warning("%s is damaged in places: %s; going on behind it", self._name, error.strerror)
