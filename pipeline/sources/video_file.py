"""A recorded video, from a file or a web address: every frame, in order, with the file's own timestamps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.container
from av.video.stream import VideoStream

from pipeline.errors import InputError, RunError
from pipeline.pyav import fraction
from pipeline.records import AudioTrack, Clock, Frame, SourceInfo, SourceKind
from pipeline.sources.base import Source
from pipeline.sources.decoder import Decoder, VideoFormat, codec_name, open_container, pick_video, video_format
from pipeline.sources.limits import ROUNDING_S
from pipeline.sources.timestamps import PtsClock
from pipeline.sources.upright import BgrConverter
from pipeline.sources.warnings import position_text

DEFAULT_RATE = Fraction(25)
"""For the rare stream that states neither its rate nor any frame's duration; never used where there are timestamps."""

FIRST_STEP_BACK_S = 1.0
"""How much earlier the second seek aims when the first lands too late; doubled with every further one."""


@dataclass(frozen=True, slots=True)
class _Media:
    """An open container and its video stream."""

    container: av.container.InputContainer
    stream: VideoStream

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the stream."""
        return fraction(self.stream.time_base) or Fraction(1, 90_000)

    @property
    def stores_no_pts(self) -> bool:
        """True for AVI, which stores only the decoding order: there the n-th frame shown has the n-th time."""
        return self.container.format.name == "avi"

    @property
    def has_timestamps(self) -> bool:
        """Whether the file tells when a frame is shown; AVI and raw streams require counting from the beginning."""
        return not self.stores_no_pts and self.stream.start_time is not None

    @property
    def duration_s(self) -> float | None:
        """Duration of the video in seconds; None if unknown."""
        time_base = fraction(self.stream.time_base)
        if self.stream.duration is not None and time_base is not None and self.stream.duration > 0:
            return float(self.stream.duration * time_base)
        if self.container.duration is not None and self.container.duration > 0:
            return self.container.duration / 1_000_000
        return None

    def origin(self, first: int | None = None) -> int:
        """What is subtracted from the file's timestamps, in ticks: the container's start, else the first frame's."""
        if self.container.start_time is None:
            return first or 0
        return round(Fraction(self.container.start_time, 1_000_000) / self.time_base)


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
        clock: seconds, monotonic.
        timeout_s: for URLs: the longest wait for the server, seconds.
    """

    def __init__(
        self,
        location: str | Path,
        name: str | None = None,
        *,
        start_s: float = 0.0,
        clock: Clock = time.monotonic,
        timeout_s: float | None = None,
    ) -> None:
        # An absolute path cannot be mistaken for a URL ("take 2:wide.mp4") or for an option.
        self._path = None if "://" in str(location) else Path(location).absolute()
        self._location = str(self._path or location)
        self._name = name or Path(location).name
        self._start_s = start_s
        self._clock = clock
        self._timeout_s = timeout_s
        self._media: _Media | None = None
        self._format: VideoFormat | None = None
        self._pictures: Iterator[_TimedPicture] = iter(())
        self._pts: PtsClock | None = None
        self._converter = BgrConverter()
        self._size_wh = (1, 1)
        self._time_base = Fraction(1)
        self._index = 0
        self._interrupted = False

    def open(self) -> SourceInfo:
        first = self._seek_start()
        assert self._media is not None
        if first is None:
            raise self._no_frame_error(self._media)
        self._format = video_format(self._media.stream, first.picture)
        self._size_wh = first.picture.width, first.picture.height
        return self._describe(self._media, self._format, first)

    def read(self) -> Frame | None:
        timed = None if self._interrupted else next(self._pictures, None)
        if timed is None or self._interrupted:
            return None
        assert self._format is not None
        picture = timed.picture
        if picture.is_corrupt:
            self.warnings.add("corrupt data at", position_text(self._seconds(timed)))
        try:
            image = self._format.orientation.apply(self._converter.convert(picture, self._size_wh))
        except (av.FFmpegError, ValueError) as error:
            raise RunError(f"{self._name}: {picture.format.name} frames cannot be converted: {error}") from None
        duration = picture.duration or None
        frame = Frame(self._name, self._index, timed.ticks, self._time_base, self._clock(), image, duration)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._pictures = iter(())
        if self._media is not None:
            self._media.container.close()
            self._media = self._pts = None

    def _open_media(self) -> _Media:
        self.close()
        container = open_container(self._location, self._name, timeout_s=self._timeout_s)
        try:
            stream = pick_video(container, self._name)
        except InputError:
            container.close()
            raise
        stream.thread_type = "AUTO"
        self._media = _Media(container, stream)
        self._time_base = self._media.time_base
        return self._media

    # --- seeking to the first frame

    def _seek_start(self) -> _TimedPicture | None:
        """Open the file so that `read` begins at `start_s`. Returns the first picture; None if the video ends first."""
        media = self._open_media()
        if self._start_s > 0 and media.has_timestamps:
            step_back_s = 0.0
            while step_back_s < self._start_s:
                first = self._try_seek(media, self._start_s - step_back_s)
                if first is not None:
                    return first
                step_back_s = max(FIRST_STEP_BACK_S, 2 * step_back_s)
            media = self._open_media()
        self._pictures = self._timed_pictures(media)
        return self._drop_until_start(next(self._pictures, None))

    def _try_seek(self, media: _Media, aim_s: float) -> _TimedPicture | None:
        """Decode from the keyframe before `aim_s`; None if the first picture from there is later than `start_s`."""
        offset = round(Fraction(aim_s) / self._time_base) + media.origin()
        try:
            media.container.seek(offset, stream=media.stream, backward=True)
        except av.FFmpegError:
            return None
        self._pictures = self._timed_pictures(media)
        first = next(self._pictures, None)
        if first is None or first.picture.pts is None or self._seconds(first) > self._start_s + ROUNDING_S:
            return None
        return self._drop_until_start(first)

    def _drop_until_start(self, timed: _TimedPicture | None) -> _TimedPicture | None:
        while timed is not None and self._seconds(timed) < self._start_s - ROUNDING_S and not self._interrupted:
            timed = next(self._pictures, None)
        if timed is not None:
            self._pictures = chain((timed,), self._pictures)
        return timed

    def _timed_pictures(self, media: _Media) -> Iterator[_TimedPicture]:
        """Every picture from the current position on, with its repaired time."""
        rate = fraction(media.stream.guessed_rate) or fraction(media.stream.average_rate) or DEFAULT_RATE
        step = max(1, round(1 / (rate * self._time_base)))
        clock: PtsClock | None = None
        for picture in Decoder(media.container, media.stream, self._name, self.warnings).frames():
            pts = picture.dts if media.stores_no_pts else picture.pts
            if clock is None:
                origin = (pts or 0) if media.stores_no_pts else media.origin(pts)
                clock = self._pts = PtsClock(origin, self._time_base, step)
            timed = _TimedPicture(clock.next(pts, picture.duration), picture)
            if clock.repaired and media.has_timestamps:
                self.warnings.add("repaired timestamps at", position_text(self._seconds(timed)))
            yield timed

    # --- describing the video

    def _seconds(self, timed: _TimedPicture) -> float:
        return float(timed.ticks * self._time_base)

    def _no_frame_error(self, media: _Media) -> InputError:
        duration_s = media.duration_s
        last = self._pts.last if self._pts is not None else None
        if duration_s is None and last is not None:
            duration_s = float(last * self._time_base)
        codec = codec_name(media.stream)
        self.close()
        if self._start_s > 0 and last is not None and duration_s is not None:
            return InputError(
                f"{self._name} is {duration_s:.3f} s long: no frame is at or after the start, {self._start_s:g} s"
            )
        return InputError(f"{self._name}: no frame of its video ({codec}) can be decoded: it is damaged or truncated")

    def _describe(self, media: _Media, video: VideoFormat, first: _TimedPicture) -> SourceInfo:
        begins_s = self._seconds(first) if self._start_s > 0 else 0.0
        left_s = None if media.duration_s is None else max(0.0, media.duration_s - begins_s)
        return SourceInfo(
            source_id=self._name,
            kind=SourceKind.RECORDED,
            width=video.width,
            height=video.height,
            fps=float(video.rate) if video.rate else None,
            frame_count=self._estimate_count(media.stream, left_s, video.rate),
            duration_s=left_s,
            time_base=self._time_base,
            sample_aspect_ratio=video.sample_aspect_ratio,
            audio=self._audio(media, begins_s),
            description=self._text(media, video, interlaced=first.picture.interlaced_frame),
        )

    def _estimate_count(self, stream: VideoStream, left_s: float | None, rate: Fraction | None) -> int | None:
        by_duration = max(1, round(left_s * rate)) if left_s is not None and rate else None
        if self._start_s > 0 or not stream.frames:
            return by_duration
        # An edit list can omit frames that the container counts.
        return int(stream.frames) if by_duration is None else min(int(stream.frames), by_duration)

    def _audio(self, media: _Media, begins_s: float) -> AudioTrack | None:
        if self._path is None or not media.container.streams.audio:
            return None
        return AudioTrack(self._path, start_s=begins_s, origin_s=float(media.origin() * self._time_base))

    def _text(self, media: _Media, video: VideoFormat, interlaced: bool) -> str:
        audio = media.container.streams.audio
        parts = [f"{self._name}: {codec_name(media.stream)} {video.width}x{video.height}"]
        parts += [f"{float(video.rate):.6g} fps"] if video.rate else []
        parts += [f"{media.duration_s:.1f} s"] if media.duration_s is not None else []
        parts += [video.orientation.text] if video.orientation.text else []
        parts += ["interlaced"] if interlaced else []
        parts += [f"audio {codec_name(audio[0])}"] if audio else []
        return ", ".join(parts)
