"""A recorded video, from a file or a web address: every frame, in order, with the file's own time stamps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
from av.video.stream import VideoStream

from pipeline.errors import InputError, RunError
from pipeline.pyav import fraction
from pipeline.records import AudioTrack, Frame, SourceInfo, SourceKind
from pipeline.sources.base import Clock, Source
from pipeline.sources.decoder import Decoder, codec_name, open_container, pick_video
from pipeline.sources.limits import ROUNDING_S
from pipeline.sources.timestamps import PtsClock
from pipeline.sources.upright import BgrConverter, Orientation, orientation_of

DEFAULT_RATE = Fraction(25)
"""For the rare stream that says neither its rate nor any frame's duration; never where time stamps are."""

FIRST_STEP_BACK_S = 1.0
"""How much earlier the second try of a seek aims when the first came out too late; doubled with every further try."""


@dataclass(frozen=True, slots=True)
class _Timed:
    """A decoded picture and its time in ticks from the origin."""

    ticks: int
    picture: av.VideoFrame


class VideoFile(Source):
    """Reads a video with FFmpeg's decoders.

    Time stamps are the file's, less the container's start time, so that the first frame of any file is near 0 and sound
    and picture keep their relation. With `start_s` the first frame is the first one at or after that time, exactly, and
    time stamps still count from the beginning of the file.

    Args:
        location: path of a file, or a URL.
        name: how people call it.
        start_s: where to begin, seconds.
        clock: seconds, monotonic.
        timeout_s: for URLs: how long an answer may take, seconds.
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
        # An absolute path cannot be taken for a URL ("take 2:wide.mp4") or for an option.
        self._path = None if "://" in str(location) else Path(location).absolute()
        self._location = str(self._path or location)
        self._name = name or Path(location).name
        self._start_s = start_s
        self._clock = clock
        self._timeout_s = timeout_s
        self._container: av.container.InputContainer | None = None
        self._decoder: Decoder | None = None
        self._pictures: Iterator[_Timed] = iter(())
        self._pts: PtsClock | None = None
        self._warnings_before = 0
        self._converter = BgrConverter()
        self._orientation = Orientation()
        self._size_wh = (1, 1)
        self._time_base = Fraction(1)
        self._index = 0
        self._interrupted = False

    def open(self) -> SourceInfo:
        container, stream = self._open_stream()
        first, container, stream = self._seek_start(container, stream)
        if first is None:
            raise self._nothing_there(container, stream)
        self._orientation = orientation_of(first.picture)
        self._size_wh = first.picture.width, first.picture.height
        return self._describe(container, stream, first)

    def read(self) -> Frame | None:
        if self._interrupted:
            return None
        timed = next(self._pictures, None)
        if timed is None or self._interrupted:
            return None
        picture = timed.picture
        try:
            image = self._orientation.apply(self._converter.convert(picture, self._size_wh))
        except (av.FFmpegError, ValueError) as error:
            raise RunError(f"{self._name}: {picture.format.name} pictures cannot be shown: {error}") from None
        duration = picture.duration or None
        frame = Frame(self._name, self._index, timed.ticks, self._time_base, self._clock(), image, duration)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._pictures = iter(())
        if self._container is not None:
            self._warnings_before = self.warnings
            self._container.close()
            self._container = self._decoder = self._pts = None

    @property
    def warnings(self) -> int:
        """Damaged packets that were skipped."""
        damaged = self._decoder.damaged if self._decoder is not None else 0
        return self._warnings_before + damaged

    def _open_stream(self) -> tuple[av.container.InputContainer, VideoStream]:
        self.close()
        container = open_container(self._location, self._name, timeout_s=self._timeout_s)
        self._container = container
        try:
            stream = pick_video(container, self._name)
        except InputError:
            self.close()
            raise
        stream.thread_type = "AUTO"
        self._time_base = fraction(stream.time_base) or Fraction(1, 90_000)
        return container, stream

    # --- the way to the first frame

    def _seek_start(
        self, container: av.container.InputContainer, stream: VideoStream
    ) -> tuple[_Timed | None, av.container.InputContainer, VideoStream]:
        """Make `read` begin at `start_s`. The first picture, None if the video ends before it, and what is open."""
        if self._start_s > 0 and can_seek(container, stream):
            step_back_s = 0.0
            while step_back_s < self._start_s:
                first = self._try_seek(container, stream, self._start_s - step_back_s)
                if first is not None:
                    return first, container, stream
                step_back_s = max(FIRST_STEP_BACK_S, 2 * step_back_s)
            container, stream = self._open_stream()
        self._pictures = self._timed_pictures(container, stream)
        return self._drop_until_start(next(self._pictures, None)), container, stream

    def _try_seek(self, container: av.container.InputContainer, stream: VideoStream, aim_s: float) -> _Timed | None:
        """Decode from the key frame before `aim_s`; None if what comes out begins after `start_s`."""
        offset = round(Fraction(aim_s) / self._time_base) + origin_ticks(container, self._time_base)
        try:
            container.seek(offset, stream=stream, backward=True)
        except av.FFmpegError:
            return None
        self._pictures = self._timed_pictures(container, stream)
        first = next(self._pictures, None)
        if first is None or first.picture.pts is None or self._seconds(first) > self._start_s + ROUNDING_S:
            return None
        return self._drop_until_start(first)

    def _drop_until_start(self, timed: _Timed | None) -> _Timed | None:
        while timed is not None and self._seconds(timed) < self._start_s - ROUNDING_S and not self._interrupted:
            timed = next(self._pictures, None)
        if timed is not None:
            self._pictures = _chain(timed, self._pictures)
        return timed

    def _timed_pictures(self, container: av.container.InputContainer, stream: VideoStream) -> Iterator[_Timed]:
        """Every picture from here on with its repaired time."""
        decoder = Decoder(container, stream, self._name)
        self._decoder = decoder
        by_order = stores_no_pts(container)
        rate = fraction(stream.guessed_rate) or fraction(stream.average_rate) or DEFAULT_RATE
        step = max(1, round(1 / (rate * self._time_base)))
        clock: PtsClock | None = None
        for picture in decoder.frames():
            stamp = picture.dts if by_order else picture.pts
            if clock is None:
                origin = (stamp or 0) if by_order else origin_ticks(container, self._time_base, stamp)
                clock = self._pts = PtsClock(origin, self._time_base, step)
            yield _Timed(clock.next(stamp, picture.duration), picture)

    # --- what it says of itself

    def _seconds(self, timed: _Timed) -> float:
        return float(timed.ticks * self._time_base)

    def _nothing_there(self, container: av.container.InputContainer, stream: VideoStream) -> InputError:
        length_s = length_of(container, stream)
        last = self._pts.last if self._pts is not None else None
        if length_s is None and last is not None:
            length_s = float(last * self._time_base)
        codec = codec_name(stream)
        self.close()
        if self._start_s > 0 and last is not None and length_s is not None:
            return InputError(
                f"{self._name} is {length_s:.3f} s long: no frame is at or after the start, {self._start_s:g} s"
            )
        return InputError(f"{self._name}: no picture of its video ({codec}) can be decoded: it is damaged or cut off")

    def _describe(self, container: av.container.InputContainer, stream: VideoStream, first: _Timed) -> SourceInfo:
        width, height = self._size_wh
        aspect = fraction(stream.sample_aspect_ratio) or Fraction(1)
        if self._orientation.transpose:
            width, height, aspect = height, width, 1 / aspect
        rate = fraction(stream.average_rate) or fraction(stream.guessed_rate)
        length_s = length_of(container, stream)
        begins_s = self._seconds(first) if self._start_s > 0 else 0.0
        left_s = None if length_s is None else max(0.0, length_s - begins_s)
        return SourceInfo(
            source_id=self._name,
            kind=SourceKind.RECORDED,
            width=width,
            height=height,
            fps=float(rate) if rate else None,
            frame_count=self._estimate_count(stream, left_s, rate),
            duration_s=left_s,
            time_base=self._time_base,
            sample_aspect_ratio=aspect,
            audio=self._audio(container, begins_s),
            description=self._text(container, stream, first.picture, f"{width}x{height}", rate, length_s),
        )

    def _estimate_count(self, stream: VideoStream, left_s: float | None, rate: Fraction | None) -> int | None:
        by_length = max(1, round(left_s * rate)) if left_s is not None and rate else None
        if self._start_s > 0 or not stream.frames:
            return by_length
        # An edit list can leave out pictures that the container counts.
        return int(stream.frames) if by_length is None else min(int(stream.frames), by_length)

    def _audio(self, container: av.container.InputContainer, begins_s: float) -> AudioTrack | None:
        if self._path is None or not container.streams.audio:
            return None
        origin_s = float(origin_ticks(container, self._time_base) * self._time_base)
        return AudioTrack(self._path, start_s=begins_s, origin_s=origin_s)

    def _text(
        self,
        container: av.container.InputContainer,
        stream: VideoStream,
        picture: av.VideoFrame,
        size: str,
        rate: Fraction | None,
        length_s: float | None,
    ) -> str:
        parts = [f"{self._name}: {codec_name(stream)} {size}"]
        parts += [f"{float(rate):.6g} fps"] if rate else []
        parts += [f"{length_s:.1f} s"] if length_s is not None else []
        parts += [self._orientation.text] if self._orientation.text else []
        parts += ["interlaced"] if picture.interlaced_frame else []
        parts += [f"sound {codec_name(container.streams.audio[0])}"] if container.streams.audio else []
        return ", ".join(parts)


def origin_ticks(container: av.container.InputContainer, time_base: Fraction, first: int | None = None) -> int:
    """What is subtracted from the file's time stamps, in ticks: the container's start, else the first frame's own."""
    if container.start_time is None:
        return first or 0
    return round(Fraction(container.start_time, 1_000_000) / time_base)


def length_of(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """How long the video is, seconds; None if the file does not say."""
    time_base = fraction(stream.time_base)
    if stream.duration is not None and time_base is not None and stream.duration > 0:
        return float(stream.duration * time_base)
    if container.duration is not None and container.duration > 0:
        return container.duration / 1_000_000
    return None


def stores_no_pts(container: av.container.InputContainer) -> bool:
    """True for AVI, which stores only the order of decoding: there the n-th picture shown has the n-th time."""
    return container.format.name == "avi"


def can_seek(container: av.container.InputContainer, stream: VideoStream) -> bool:
    """False where the time of a frame is known only by counting from the beginning (AVI and raw streams)."""
    return not stores_no_pts(container) and stream.start_time is not None


def _chain(first: _Timed, rest: Iterator[_Timed]) -> Iterator[_Timed]:
    yield first
    yield from rest
