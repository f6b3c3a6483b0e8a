"""Network streams: RTSP, HTTP (MJPEG, HLS, a plain clip), UDP, RTMP, through FFmpeg."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

import av
import av.container
from av.codec.context import Flags as CodecFlags
from av.video.stream import VideoStream

from pipeline.errors import InputError, RunError
from pipeline.pyav import fraction
from pipeline.settings.source_settings import RtspTransport
from pipeline.sources.base import Clock
from pipeline.sources.decoder import Decoder, codec_name, open_container, pick_video
from pipeline.sources.pacing import Pacer
from pipeline.sources.pump import Device, DeviceEndedError, DeviceInfo, Picture
from pipeline.sources.upright import BgrConverter, Orientation, orientation_of

FALL_BEHIND_S = 3.0
"""A paced stream that is this late begins to count anew instead of running after the time that was lost."""


class StreamDevice(Device):
    """One connection to a network stream.

    Pictures carry the time of their arrival. What arrives in bursts (HLS segments) or faster than it plays (a clip) is
    handed over at the pace of its own time stamps.

    Args:
        url: the address, with user name and password if it needs them.
        name: the address without them; the only one that is ever shown.
        timeout_s: how long an answer may take, seconds.
        rtsp_transport: how RTSP video travels.
        clock: seconds, monotonic.
        pacer: what waits; for tests.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        timeout_s: float,
        rtsp_transport: RtspTransport = RtspTransport.TCP,
        clock: Clock = time.monotonic,
        pacer: Pacer | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._timeout_s = timeout_s
        self._rtsp_transport = rtsp_transport
        self._clock = clock
        self._pacer = pacer or Pacer(clock)
        self._container: av.container.InputContainer | None = None
        self._pictures: Iterator[av.VideoFrame] = iter(())
        self._first: av.VideoFrame | None = None
        self._converter = BgrConverter()
        self._orientation = Orientation()
        self._paced = False
        self._finite = False
        self._tells_rate = True
        self._offset_s: float | None = None

    def open(self) -> DeviceInfo:
        container = open_container(self._url, self.name, self._options(), self._timeout_s)
        self._container = container
        stream = pick_video(container, self.name)
        self._configure(container, stream)
        self._pictures = Decoder(container, stream, self.name).frames()
        self._first = self._next_picture()
        if self._first is None:
            raise InputError(f"{self.name}: connected, but no picture can be decoded")
        return self._describe(stream, self._first)

    def grab(self) -> Picture:
        frame, self._first = self._first or self._next_picture(), None
        if frame is None:
            if self._finite:
                raise DeviceEndedError
            raise RunError(f"{self.name}: the stream ended")
        captured_at_s = self._pace(frame) if self._paced else self._clock()
        image = self._orientation.apply(self._converter.convert(frame))
        return Picture(image, captured_at_s)

    def close(self) -> None:
        self._pictures = iter(())
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def abort(self) -> None:
        self._pacer.interrupt()

    def _options(self) -> dict[str, str]:
        # Not fflags=nobuffer: it throws away what was read to learn the stream's format, the first key frame with it.
        # What is kept instead comes out in one go, and behind this source the newest frame wins.
        options: dict[str, str] = {}
        if self._url.lower().startswith(("rtsp:", "rtsps:")):
            options["rtsp_transport"] = self._rtsp_transport.value
        return options

    def _configure(self, container: av.container.InputContainer, stream: VideoStream) -> None:
        # Frame threads would hold back one picture for each thread.
        stream.thread_type = "SLICE"
        if not stream.codec_context.has_b_frames:
            stream.codec_context.flags |= CodecFlags.low_delay
        self._finite = is_finite(container)
        # Multipart JPEG carries no times: its 25 frames a second are FFmpeg's invention.
        self._tells_rate = container.format.name != "mpjpeg"
        self._paced = self._finite or container.format.name in ("hls", "dash")

    def _next_picture(self) -> av.VideoFrame | None:
        try:
            return next(self._pictures, None)
        except av.FFmpegError as error:
            raise RunError(f"{self.name}: {error.strerror}") from None

    def _pace(self, frame: av.VideoFrame) -> float:
        """Wait until the frame's time has come; the time then, seconds on the clock."""
        now_s = self._clock()
        time_base = fraction(frame.time_base)
        if frame.pts is None or time_base is None:
            return now_s
        stamp_s = float(frame.pts * time_base)
        if self._offset_s is None or abs(self._offset_s + stamp_s - now_s) > FALL_BEHIND_S:
            self._offset_s = now_s - stamp_s
        self._pacer.until(self._offset_s + stamp_s)
        return self._clock()

    def _describe(self, stream: VideoStream, first: av.VideoFrame) -> DeviceInfo:
        self._orientation = orientation_of(first)
        width, height = first.width, first.height
        aspect = fraction(stream.sample_aspect_ratio) or Fraction(1)
        if self._orientation.transpose:
            width, height, aspect = height, width, 1 / aspect
        rate = fraction(stream.average_rate) or fraction(stream.guessed_rate)
        fps = float(rate) if rate and self._tells_rate else None
        at = f" at {fps:g} fps" if fps else ""
        return DeviceInfo(width, height, fps, f"{self.name}: {codec_name(stream)} {width}x{height}{at}", aspect)


def is_finite(container: av.container.InputContainer) -> bool:
    """True for a clip, whose end is an end; False for a camera, whose end is a loss."""
    name = container.format.name
    if name in ("flv", "live_flv", "mpegts") or name.endswith("_pipe"):
        # Cameras stream these as well, with any duration in the header; only a file has a length in bytes.
        return (container.size or 0) > 0  # of a stream: negative up to PyAV 18, then None
    return container.duration is not None and container.duration > 0
