"""Decodes the video of media containers to upright BGR, skipping corrupt data.

Color matrix and range, transparency and the display matrix of phone videos are applied; FFmpeg's errors are translated
for users, and the differences between the supported releases of PyAV (18 on Python 3.11, 19 on newer ones) hidden.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Protocol, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace, VideoReformatter

from pipeline.errors import InputError, RunError
from pipeline.records import Image
from pipeline.sources.base import SourceWarnings, position_text
from pipeline.sources.container import explain, open_container

log = logging.getLogger(__name__)

MAX_ERRORS_IN_ROW = 64
"""After so many consecutive read errors, the rest of the file counts as unreadable."""

INCOMPLETE = "the video is incomplete: it ends at"
"""The problem that is recorded for a file that ends before the time in its header."""
END_TOLERANCE_S = {"mov,mp4,m4a,3gp,3g2,mj2": 0.2, "avi": 0.5, "matroska,webm": 0.5}
"""The formats whose header states the end of the video, and how much earlier a complete video may end, seconds.

The sample tables of mp4 and mov are exact; 0.2 s is what two positions need to differ as texts. AVI may end with empty
chunks (repeated frames), Matroska with packets of unknown duration. Of other formats, FFmpeg estimates the duration
from the size or the last timestamp, or the header's duration includes what packets do not state.
"""
AVI_LENGTH_UNKNOWN = 1 << 30
"""FFmpeg writes this number of frames into an AVI whose header it cannot complete at the end (a pipe)."""

AV_DISPOSITION_ATTACHED_PIC = 0x0400

HD_HEIGHT, HD_WIDTH = 720, 1280
"""Video without a stated color matrix is BT.709 from this size on and BT.601 below, as players assume."""

_AVCOL_SPC_UNSPECIFIED = 2


def pick_video(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """The container's main video stream. Raises InputError if there is none that can be decoded."""
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        codecs = [codec_name(stream) for stream in container.streams.audio]
        contents = f"only audio ({', '.join(codecs)})" if codecs else "nothing that can be shown"
        raise InputError(f"{name} contains no video: {contents}")
    best = container.streams.best("video")
    stream = best if isinstance(best, av.VideoStream) and not is_cover(best) else streams[0]
    if stream.codec_context is None or stream.codec_context.codec is None:
        raise InputError(f"{name}: its video cannot be decoded: the file is truncated, or no decoder is available")
    return stream


def codec_name(stream: av.VideoStream | av.AudioStream) -> str:
    """The codec's own name ("av1"), not that of the decoder library."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else "unknown"


def is_cover(stream: av.VideoStream) -> bool:
    """Whether this is the cover picture of an audio file."""
    return bool(int(stream.disposition) & AV_DISPOSITION_ATTACHED_PIC)


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to rotate and mirror a picture: first transpose, then mirror.

    Attributes:
        transpose: swap rows and columns.
        mirror_x: then mirror horizontally.
        mirror_y: then mirror vertically.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, image: Image) -> Image:
        """Turns uint8 (H, W, 3) upright: (W, H, 3) if transposed; the same array if already upright."""
        if self.transpose:
            image = cv2.transpose(image)
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else 1 if self.mirror_x else 0
            image = cv2.flip(image, code)
        return image

    @property
    def text(self) -> str:
        """A description for the user: "", "rotated 90 degrees" (clockwise), "mirrored" …"""
        turns = {
            (False, False, False): "",
            (True, True, False): "rotated 90 degrees",
            (False, True, True): "rotated 180 degrees",
            (True, False, True): "rotated 270 degrees",
        }
        return turns.get((self.transpose, self.mirror_x, self.mirror_y), "mirrored")


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation in the frame's display matrix, to the nearest quarter turn.

    The matrix maps a stored pixel (p, q) to the screen: x = a p + c q, y = b p + d q (ISO/IEC 14496-12, 8.5.2).
    """
    matrix: Any = cast("Mapping[Any, Any]", frame.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    a, b, _u, c, d = (int(value) for value in np.frombuffer(bytes(matrix), np.int32)[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(transpose=False, mirror_x=a < 0, mirror_y=d < 0)
    return Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)


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


def video_format(stream: av.VideoStream, first: av.VideoFrame) -> VideoFormat:
    """The format of a stream, given its first decoded picture."""
    orientation = orientation_of(first)
    width, height, aspect = first.width, first.height, fraction(stream.sample_aspect_ratio) or Fraction(1)
    if orientation.transpose:
        width, height, aspect = height, width, 1 / aspect
    rate = fraction(stream.average_rate) or fraction(stream.guessed_rate)
    return VideoFormat(orientation, width, height, aspect, rate)


def open_video(
    location: str,
    name: str,
    warnings: SourceWarnings,
    options: dict[str, str] | None = None,
    timeout_s: float | None = None,
) -> Video:
    """Open the main video of a media file or URL; the caller closes its container. Raises InputError.

    Args:
        location: path or URL.
        name: for messages.
        warnings: records the position of each skipped packet.
        options: FFmpeg's, for the container.
        timeout_s: for URLs: the longest wait for the server, seconds.
    """
    container = open_container(location, name, options, timeout_s)
    try:
        return Video(container, pick_video(container, name), name, warnings)
    except InputError:
        container.close()
        raise


class Video:
    """The main video of an open container; decodes it, skipping packets that cannot be read or decoded.

    Args:
        container: an open container.
        stream: one of its video streams.
        name: for messages.
        warnings: records the position of each skipped packet.
    """

    def __init__(
        self, container: av.container.InputContainer, stream: av.VideoStream, name: str, warnings: SourceWarnings
    ) -> None:
        self.container = container
        self.stream = stream
        self._name = name
        self._warnings = warnings
        self._position_s = 0.0
        self._read_to_s = 0.0

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
        if self.stream.duration is not None and self.stream.duration > 0:
            return float(self.stream.duration * self.time_base)
        if self.container.duration is None or self.container.duration <= 0:
            return None
        # Matroska stores when the last frame ends, which is not how long a file is that begins late
        late = self.container.start_time or 0 if self._is_matroska else 0
        return max(0, self.container.duration - late) / 1_000_000

    @property
    def _is_matroska(self) -> bool:
        return self.container.format.name == "matroska,webm"

    @property
    def _stated_end_s(self) -> float | None:
        """When the file ends by its header, as an absolute timestamp in seconds; None if not stated, or if every frame
        in the header's table is read.
        """
        stream, container = self.stream, self.container
        if container.format.name not in END_TOLERANCE_S:
            return None
        if container.format.name == "avi":  # FFmpeg scales its duration down to the size of a truncated file
            return float(stream.frames * self.time_base) if stream.frames < AVI_LENGTH_UNKNOWN else None
        if self._is_matroska:
            return container.duration / 1e6 if container.duration else None
        table = stream.index_entries if stream.frames else ()  # a fragmented file's grows while it is read
        if not stream.duration or (table and self._read_to_s > table[-1].timestamp * self.time_base):
            return None  # an edit list can be longer than its frames
        return float(((stream.start_time or 0) + stream.duration) * self.time_base)

    @property
    def origin(self) -> int | None:
        """What is subtracted from the file's timestamps, in ticks: the container's start; None if it has none."""
        if self.container.start_time is None:
            return None
        return round(Fraction(self.container.start_time, 1_000_000) / self.time_base)

    def pictures(self) -> Iterator[av.VideoFrame]:
        """Every picture from the current position on, in presentation order, until the end of the file."""
        for packet in self._packets():
            try:
                decoded = self.stream.codec_context.decode(packet)
            except av.error.EOFError:
                return
            except av.FFmpegError:
                self._skip_corrupt()
                continue
            yield from (frame for frame in decoded if isinstance(frame, av.VideoFrame))

    def check_end(self, last_s: float) -> None:
        """Warns if the file ends before the time in its header; for when `pictures` has ended.

        Args:
            last_s: the last picture's time from the container's start, seconds.
        """
        stated_s = self._stated_end_s
        if stated_s is None:
            return
        tolerance_s = END_TOLERANCE_S[self.container.format.name]
        if self._is_matroska:
            tolerance_s += float(1 / (fraction(self.stream.average_rate) or 1))  # the last frame's duration
        if self._read_to_s < stated_s - tolerance_s:
            end_s = stated_s - (self.container.start_time or 0) / 1e6
            place = f"{position_text(last_s)} of {position_text(end_s)}"
            if self._warnings.add(INCOMPLETE, place):
                log.warning("%s: %s %s", self._name, INCOMPLETE, place)

    def _packets(self) -> Iterator[av.Packet[av.VideoStream]]:
        errors_in_row = 0
        # Matroska states only when its longest stream ends, which may be the sound.
        streams = self.container.streams if self._is_matroska else (self.stream,)
        while errors_in_row < MAX_ERRORS_IN_ROW:
            try:
                for packet in self.container.demux(*streams):
                    time = packet.dts if packet.pts is None else packet.pts
                    if time is not None:
                        ends_s = float((time + (packet.duration or 0)) * packet.time_base)
                        self._read_to_s = max(self._read_to_s, ends_s)
                    if packet.stream is not self.stream:
                        continue
                    if packet.size:
                        errors_in_row = 0
                    if packet.pts is not None:
                        self._position_s = float(packet.pts * packet.time_base) - (self.container.start_time or 0) / 1e6
                    yield cast("av.Packet[av.VideoStream]", packet)
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
        flush.stream = self.stream
        yield cast("av.Packet[av.VideoStream]", flush)

    def _skip_corrupt(self) -> None:
        position = position_text(self._position_s)
        if self._warnings.add("corrupt data at", position):
            log.warning("%s: corrupt data at %s, resuming after it", self._name, position)


def blend_on_white(image_bgra: Image) -> Image:
    """Blends uint8 (H, W, 4) BGRA with straight alpha onto white, as a web page does: uint8 (H, W, 3)."""
    alpha = image_bgra[:, :, 3]
    color: Image = np.ascontiguousarray(image_bgra[:, :, :3])
    if bool((alpha == 255).all()):
        return color
    weight = alpha[:, :, None].astype(np.uint16)
    return np.asarray((color * weight + 255 * (255 - weight) + 127) // 255, np.uint8)


class BgrConverter:
    """Converts decoded frames of any pixel format to BGR."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def convert(self, frame: av.VideoFrame, size: tuple[int, int] | None = None) -> Image:
        """Returns uint8 (H, W, 3), not yet rotated.

        Args:
            frame: as decoded.
            size: width and height to scale to, in pixels, for streams whose size changes; None keeps the frame's own.
        """
        width, height = size or (frame.width, frame.height)
        alpha = _has_alpha(frame.format.name)
        converted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="bgra" if alpha else "bgr24",
            src_colorspace=_color_matrix(frame),
            interpolation="BILINEAR",
            threads=1,
        )
        image = cast("Image", converted.to_ndarray())
        return blend_on_white(image) if alpha else image


@cache
def _has_alpha(pixel_format: str) -> bool:
    return pixel_format == "pal8" or any(part.is_alpha for part in av.VideoFormat(pixel_format).components)


def _color_matrix(frame: av.VideoFrame) -> Any:
    if frame.colorspace != _AVCOL_SPC_UNSPECIFIED:
        return None  # the frame's own
    is_hd = max(frame.width, frame.height) >= HD_WIDTH or min(frame.width, frame.height) >= HD_HEIGHT
    return Colorspace.ITU709 if is_hd else Colorspace.ITU601


class _Rational(Protocol):
    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def fraction(value: _Rational | None) -> Fraction | None:
    """Converts a rate, time base or aspect ratio. Returns None if unset: None in PyAV 18, 0/1 or 0/0 in 19."""
    return Fraction(value.numerator, value.denominator) if value else None
