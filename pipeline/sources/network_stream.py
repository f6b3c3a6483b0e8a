"""Network streams: RTSP, HTTP (MJPEG, HLS, a plain clip), UDP, RTMP, through FFmpeg."""

from __future__ import annotations

import time
from collections.abc import Iterator

import av
from av.codec.context import Flags as CodecFlags

from pipeline.errors import InputError, RunError
from pipeline.pyav import fraction
from pipeline.records import Clock, SourceInfo, SourceKind
from pipeline.settings.source_settings import RtspTransport
from pipeline.sources.decoder import BgrConverter, Video, VideoFormat, codec_name, open_video, video_format
from pipeline.sources.live import Device, Picture
from pipeline.sources.timing import Pacer

MAX_LAG_S = 3.0
"""A paced stream that is this late resynchronizes instead of catching up."""


class StreamDevice(Device):
    """One connection to a network stream.

    Pictures carry their time of arrival. Data that arrives in bursts (HLS segments) or faster than real time (a clip)
    is delivered at the pace of its timestamps.

    Args:
        url: the address, including any user name and password.
        name: the address without credentials, for display.
        timeout_s: the longest wait for the server, seconds.
        rtsp_transport: the transport protocol of RTSP video.
        clock: seconds, monotonic.
        pacer: does the waiting; for tests.
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
        self._video: Video | None = None
        self._pictures: Iterator[av.VideoFrame] = iter(())
        self._first: av.VideoFrame | None = None
        self._converter = BgrConverter()
        self._format: VideoFormat | None = None
        self._paced = False
        self._finite = False
        self._states_rate = True

    def open(self) -> SourceInfo:
        video = self._video = open_video(self._url, self.name, self.warnings, self._options(), self._timeout_s)
        self._configure(video)
        self._pictures = video.pictures()
        self._first = self._next_picture()
        if self._first is None:
            raise InputError(f"{self.name}: connected, but no frame can be decoded")
        self._format = form = video_format(video.stream, self._first)
        fps = float(form.rate) if form.rate and self._states_rate else None
        return SourceInfo(
            source_id=self.name,
            kind=SourceKind.LIVE,
            width=form.width,
            height=form.height,
            fps=fps,
            sample_aspect_ratio=form.sample_aspect_ratio,
            description=f"{self.name}: {codec_name(video.stream)} {form.width}x{form.height}"
            + (f" at {fps:g} fps" if fps else ""),
        )

    def grab(self) -> Picture | None:
        frame, self._first = self._first or self._next_picture(), None
        if frame is None:
            if self._finite:
                return None
            raise RunError(f"{self.name}: the stream ended")
        time_base = fraction(frame.time_base)
        if self._paced and frame.pts is not None and time_base is not None:
            self._pacer.until_due(float(frame.pts * time_base), MAX_LAG_S)
        captured_at_s = self._clock()
        assert self._format is not None
        image = self._format.orientation.apply(self._converter.convert(frame))
        return Picture(image, captured_at_s)

    def close(self) -> None:
        self._pictures = iter(())
        if self._video is not None:
            self._video.container.close()
            self._video = None

    def abort(self) -> None:
        self._pacer.interrupt()

    def _options(self) -> dict[str, str]:
        # Not fflags=nobuffer: it discards what was read while probing the format, including the first keyframe. What is
        # kept instead arrives in one burst, of which live runs use the newest frame.
        is_rtsp = self._url.lower().startswith(("rtsp:", "rtsps:"))
        return {"rtsp_transport": self._rtsp_transport.value} if is_rtsp else {}

    def _configure(self, video: Video) -> None:
        container, stream = video.container, video.stream
        # Frame threading would delay the video by one frame per thread.
        stream.thread_type = "SLICE"
        if not stream.codec_context.has_b_frames:
            stream.codec_context.flags |= CodecFlags.low_delay
        self._finite = is_finite(container)
        # Multipart JPEG carries no timestamps: its 25 frames per second are FFmpeg's default.
        self._states_rate = container.format.name != "mpjpeg"
        self._paced = self._finite or container.format.name in ("hls", "dash")

    def _next_picture(self) -> av.VideoFrame | None:
        try:
            return next(self._pictures, None)
        except av.FFmpegError as error:
            raise RunError(f"{self.name}: {error.strerror}") from None


def is_finite(container: av.container.InputContainer) -> bool:
    """Whether the stream has a regular end, as a clip does; a camera that ends is lost."""
    name = container.format.name
    if name in ("flv", "live_flv", "mpegts") or name.endswith("_pipe"):
        # Cameras use these formats too, with any duration in the header; only a file has a size in bytes.
        return (container.size or 0) > 0  # for streams: negative up to PyAV 18, then None
    return container.duration is not None and container.duration > 0
