"""Video through FFmpeg: recorded, from a file or a web address, every frame in order with the file's own timestamps;
and network streams: RTSP, HTTP (MJPEG, HLS, a plain clip), UDP, RTMP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.codec.context import Flags as CodecFlags

from pipeline.errors import InputError, RunError
from pipeline.records import AudioTrack, Clock, Frame, SourceInfo, SourceKind
from pipeline.settings.source_settings import RtspTransport
from pipeline.sources.base import ROUNDING_S, Pacer, PtsClock, Source, position_text
from pipeline.sources.decoder import BgrConverter, Video, VideoFormat, codec_name, fraction, open_video, video_format
from pipeline.sources.live import Device, Picture

DEFAULT_RATE = Fraction(25)
"""For the rare stream that states neither its rate nor any frame's duration; never used where there are timestamps."""

REPAIRED = "repaired timestamps at"
"""The problem that is recorded for frames whose time is not the file's."""
FIRST_STEP_BACK_S = 1.0
"""How much earlier the second seek aims when the first lands too late; doubled with every further one."""


@dataclass(frozen=True, slots=True)
class _TimedPicture:
    """A decoded picture and its time in ticks from the origin."""

    ticks: int
    picture: av.VideoFrame


class VideoFile(Source):
    """Reads a video with FFmpeg's decoders.

    Timestamps are the file's minus the container's start time, so that the first frame of any file is near 0 and audio
    and video stay in sync. With `start_s`, the first frame is exactly the first one at or after that time, and
    timestamps still count from the beginning of the file.

    Args:
        location: path of a file, or a URL.
        name: display name; by default the file's name.
        start_s: where to begin, seconds.
        kind: RECORDED is as fast as its reader; LIVE plays the file as if it were a camera, each frame when it is due.
            A late frame is delivered at once: dropping frames is left to the slot behind the capture stage, which
            counts them.
        clock: seconds, monotonic.
        pacer: does the waiting; for tests.
        timeout_s: for URLs: the longest wait for the server, seconds.

    Attributes:
        decoded_from_s: time of the first picture that was decoded, seconds; None if that is the first of the file.
    """

    def __init__(
        self,
        location: str | Path,
        name: str | None = None,
        *,
        start_s: float = 0.0,
        kind: SourceKind = SourceKind.RECORDED,
        clock: Clock = time.monotonic,
        pacer: Pacer | None = None,
        timeout_s: float | None = None,
    ) -> None:
        # An absolute path cannot be mistaken for a URL ("take 2:wide.mp4") or for an option.
        self._path = None if "://" in str(location) else Path(location).absolute()
        self._location = str(self._path or location)
        self._name = name or Path(location).name
        self._start_s = start_s
        self._kind = kind
        self._pacer = pacer or Pacer(clock)
        self._timeout_s = timeout_s
        self._video: Video | None = None
        self._format: VideoFormat | None = None
        self._pictures: Iterator[_TimedPicture] = iter(())
        self._pts: PtsClock | None = None
        self._converter = BgrConverter()
        self._size_wh = (1, 1)
        self._time_base = Fraction(1)
        self._index = 0
        self.decoded_from_s: float | None = None

    @property
    def is_seekable(self) -> bool:
        """Whether the open file tells when its frames are shown, so that reading can begin in the middle."""
        return self._video is not None and self._video.has_timestamps

    def open(self) -> SourceInfo:
        first = self._seek_start()
        assert self._video is not None
        if first is None:
            raise self._no_frame_error(self._video)
        self._format = video_format(self._video.stream, first.picture)
        self._size_wh = first.picture.width, first.picture.height
        return self._describe(self._video, first, self._format)

    def read(self) -> Frame | None:
        timed = None if self._pacer.interrupted else next(self._pictures, None)
        if self._pacer.interrupted:
            return None
        if timed is None:
            if self._video is not None and self._pts is not None and self._pts.last is not None:
                self._video.check_end(float(self._pts.last * self._time_base))
            return None
        assert self._format is not None
        picture = timed.picture
        if picture.is_corrupt:
            self.warnings.add("corrupt data at", position_text(self._seconds(timed)))
        try:
            image = self._format.orientation.apply(self._converter.convert(picture, self._size_wh))
        except (av.FFmpegError, ValueError) as error:
            raise RunError(f"{self._name}: {picture.format.name} frames cannot be converted: {error}") from None
        if self._kind is SourceKind.LIVE and not self._pacer.until_due(self._seconds(timed)):
            return None
        duration = picture.duration or None
        frame = Frame(self._name, self._index, timed.ticks, self._time_base, self._pacer.clock(), image, duration)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._pacer.interrupt()

    def close(self) -> None:
        self._pictures = iter(())
        if self._video is not None:
            self._video.container.close()
            self._video = self._pts = None

    def _open_video(self) -> Video:
        self.close()
        video = self._video = open_video(self._location, self._name, self.warnings, timeout_s=self._timeout_s)
        video.stream.thread_type = "AUTO"
        self._time_base = video.time_base
        return video

    # --- seeking to the first frame

    def _seek_start(self) -> _TimedPicture | None:
        """Open the file so that `read` begins at `start_s`. Returns the first picture; None if the video ends first."""
        video = self._open_video()
        if self._start_s > 0 and video.has_timestamps:
            step_back_s = 0.0
            while step_back_s < self._start_s:
                first = self._try_seek(video, self._start_s - step_back_s)
                if first is not None:
                    return first
                self.decoded_from_s = None
                step_back_s = max(FIRST_STEP_BACK_S, 2 * step_back_s)
            video = self._open_video()
        self._pictures = self._timed_pictures(video)
        return self._drop_until_start(next(self._pictures, None))

    def _try_seek(self, video: Video, aim_s: float) -> _TimedPicture | None:
        """Decode from the keyframe before `aim_s`; None if the first picture from there is later than `start_s`."""
        offset = round(Fraction(aim_s) / self._time_base) + (video.origin or 0)
        try:
            video.container.seek(offset, stream=video.stream, backward=True)
        except av.FFmpegError:
            return None
        self._pictures = self._timed_pictures(video)
        first = next(self._pictures, None)
        if first is None or first.picture.pts is None or self._seconds(first) > self._start_s + ROUNDING_S:
            return None
        self.decoded_from_s = self._seconds(first)
        return self._drop_until_start(first)

    def _drop_until_start(self, timed: _TimedPicture | None) -> _TimedPicture | None:
        while timed is not None and self._seconds(timed) < self._start_s - ROUNDING_S and not self._pacer.interrupted:
            timed = next(self._pictures, None)
        if timed is not None:
            self._pictures = chain((timed,), self._pictures)
        return timed

    def _timed_pictures(self, video: Video) -> Iterator[_TimedPicture]:
        """Every picture from the current position on, with its repaired time."""
        rate = fraction(video.stream.guessed_rate) or fraction(video.stream.average_rate) or DEFAULT_RATE
        step = max(1, round(1 / (rate * self._time_base)))
        clock = self._pts = PtsClock(None if video.stores_no_pts else video.origin, self._time_base, step)
        for picture in video.pictures():
            pts = picture.dts if video.stores_no_pts else picture.pts
            timed = _TimedPicture(clock.next(pts, picture.duration), picture)
            if clock.repaired and video.has_timestamps:
                self.warnings.add(REPAIRED, position_text(self._seconds(timed)))
            yield timed

    # --- describing the video

    def _seconds(self, timed: _TimedPicture) -> float:
        return float(timed.ticks * self._time_base)

    def _no_frame_error(self, video: Video) -> InputError:
        duration_s = video.duration_s
        last = self._pts.last if self._pts is not None else None
        if duration_s is None and last is not None:
            duration_s = float(last * self._time_base)
        codec = codec_name(video.stream)
        self.close()
        if self._start_s > 0 and last is not None and duration_s is not None:
            return InputError(
                f"{self._name} is {duration_s:.3f} s long: no frame is at or after the start, {self._start_s:g} s"
            )
        return InputError(f"{self._name}: no frame of its video ({codec}) can be decoded: it is damaged or truncated")

    def _describe(self, video: Video, first: _TimedPicture, upright: VideoFormat) -> SourceInfo:
        begins_s = self._seconds(first) if self._start_s > 0 else 0.0
        left_s = None if video.duration_s is None else max(0.0, video.duration_s - begins_s)
        count = max(1, round(left_s * upright.rate)) if left_s is not None and upright.rate else None
        if self._start_s == 0 and video.stream.frames:
            # An edit list can omit frames that the container counts.
            count = min(video.stream.frames, video.stream.frames if count is None else count)
        audio = None
        if self._path is not None and video.container.streams.audio:
            origin_s = float((video.origin or 0) * self._time_base)
            audio = AudioTrack(self._path, start_s=begins_s, origin_s=origin_s)
        return SourceInfo(
            source_id=self._name,
            kind=self._kind,
            width=upright.width,
            height=upright.height,
            fps=float(upright.rate) if upright.rate else None,
            frame_count=count,
            duration_s=left_s,
            time_base=self._time_base,
            sample_aspect_ratio=upright.sample_aspect_ratio,
            audio=audio,
            description=self._text(video, upright, interlaced=first.picture.interlaced_frame),
        )

    def _text(self, video: Video, upright: VideoFormat, interlaced: bool) -> str:
        audio = video.container.streams.audio
        parts = [f"{self._name}: {codec_name(video.stream)} {upright.width}x{upright.height}"]
        parts += [f"{float(upright.rate):.6g} fps"] if upright.rate else []
        parts += [f"{video.duration_s:.1f} s"] if video.duration_s is not None else []
        parts += [upright.orientation.text] if upright.orientation.text else []
        parts += ["interlaced"] if interlaced else []
        parts += [f"audio {codec_name(audio[0])}"] if audio else []
        parts += ["played in real time"] if self._kind is SourceKind.LIVE else []
        return ", ".join(parts)


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
        # Not fflags=nobuffer: it discards what was read while probing the format, including the first keyframe. What is
        # kept instead arrives in one burst, of which live runs use the newest frame.
        is_rtsp = self._url.lower().startswith(("rtsp:", "rtsps:"))
        options = {"rtsp_transport": self._rtsp_transport.value} if is_rtsp else {}
        video = self._video = open_video(self._url, self.name, self.warnings, options, self._timeout_s)
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
