"""Records annotated frames as H.264 in mp4, mov or mkv, or as VP9 in webm, with the source's timestamps and audio.

The file consists of fragments that play on their own, so that a recording survives the death of the process.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from pipeline.drawing.letterbox import letterbox
from pipeline.errors import InputError, RunError
from pipeline.file_names import user_path
from pipeline.records import Frame, Image, SourceInfo, SourceKind
from pipeline.settings.output_settings import AudioMode, RecorderSettings
from pipeline.sinks.audio import AudioFeed
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.gif import GifRecording
from pipeline.sinks.media_file import MediaFile
from pipeline.sinks.paths import Outputs, free_bytes, is_exempt
from pipeline.sinks.recording_tag import recording_tag

if TYPE_CHECKING:
    Packet = av.Packet[Any]

log = logging.getLogger(__name__)

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif"}
"""FFmpeg's container format by suffix."""
FORMATS_TEXT = ".mp4, .mkv, .mov, .webm or .gif"

CHECK_EVERY_S = 5.0
"""How often the free space is checked."""
_FINEST_TIME_BASE = Fraction(1, 10_000_000)
_ASSUMED_FPS = 25.0
"""For sources that state no rate."""
_MAX_STEP_TICKS = 2**29
"""mp4 stores a frame's duration in 31 bits: longer gaps are bridged by repeating the frame."""
_FEW_BYTES = 1 << 26
"""A file that is larger holds a frame."""
_BT709 = 1
_MPEG_RANGE = 1


class Recorder(Sink):
    """Records what is presented. The file is created with the first frame.

    The recording ends with a RunError when less than `settings.min_free_bytes` are free; `close` then finalizes it.

    Args:
        settings: path, quality, audio, duration of a fragment, limit of free space.
        outputs: the files that the run writes, this one among them.
        clock: seconds on a monotonic clock.
        free_bytes: free space on the disk of a folder.
    """

    name = "recorder"
    delivery = Delivery.EVERY_FRAME

    def __init__(
        self,
        settings: RecorderSettings,
        outputs: Outputs | None = None,
        clock: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._settings = settings
        self._path = user_path(settings.path, "--output")
        self._outputs = outputs or Outputs()
        self._name: Path | None = None
        self._clock = clock
        self._free_bytes = free_bytes
        self._next_check_s = 0.0
        self._source: SourceInfo | None = None
        self._tag: dict[str, str] = {}
        self._recording: _Recording | GifRecording | None = None

    def open(self, context: RunContext) -> None:
        """Check the settings and the path; nothing is written yet. Raises InputError."""
        if context.source.kind is SourceKind.STILLS:
            raise InputError(
                f"--output {self._path} is a video, but the source consists of images: "
                "give an image file (out.png) or a folder (out/)."
            )
        if self._path.suffix.lower() not in FORMATS:
            raise InputError(f"--output {self._path}: the name of a video must end in {FORMATS_TEXT}.")
        encoder = _encoder(self._settings, self._path.suffix.lower())[0]
        if encoder not in av.codecs_available:
            raise InputError(f"This build of PyAV lacks the encoder {encoder}: install it with `pip install av`.")
        self._outputs.claim_file(self._path, "--output")
        with contextlib.suppress(OSError):  # the file system does not say; writing will show
            problem = self._shortage()
            if problem is not None:
                raise InputError(f"--output {self._path}: {problem}: free some, or lower output.min_free_bytes.")
        self._next_check_s = self._clock() + CHECK_EVERY_S
        self._source = context.source
        self._tag = recording_tag(context.privacy)

    def write(self, presentation: Presentation) -> None:
        """Encode one frame. Raises RunError if the file cannot be written, or the disk is nearly full."""
        if self._source is None:
            raise RuntimeError("Recorder.write needs open() first")
        try:
            if self._recording is None:
                self._name = self._new_name()
                with contextlib.ExitStack() as undo:
                    file = MediaFile(self._name, self._clock)
                    undo.callback(file.close)
                    if self._path.suffix.lower() == ".gif":
                        height, width = presentation.square_bgr.shape[:2]
                        self._recording = GifRecording(file, (width, height), self._source.fps)
                    else:
                        self._recording = _Recording(self._settings, self._source, file, presentation, self._tag)
                    undo.pop_all()
            if self._clock() >= self._next_check_s:
                self._next_check_s = self._clock() + CHECK_EVERY_S
                problem = self._shortage()
                if problem is not None:
                    raise RunError(f"The recording {self._name} ends here: {problem} (output.min_free_bytes).")
            self._recording.write(presentation.segmented.frame, presentation.annotated_bgr)
        except (av.FFmpegError, OSError) as error:
            cause = self._recording.file.error if self._recording is not None else None
            raise RunError(self._failure(cause or error)) from (cause or error)

    def _shortage(self) -> str | None:
        """That too little space is free, in words; None if enough is, or the output is a device or a FIFO."""
        limit, folder = self._settings.min_free_bytes, self._path.parent
        if limit == 0 or is_exempt(self._path) or self._free_bytes(folder) >= limit:
            return None
        return f"less than {limit / 1e6:g} MB are free in {folder}"

    def _new_name(self) -> Path:
        """The file to record to, reserved. Raises OSError."""
        return self._outputs.name_of(self._path)

    def close(self) -> None:
        """Finalize the recording: add the rest of the audio and the index. Raises RunError if that fails."""
        self._source = None
        try:
            self._finalize()
        finally:
            self._outputs.release(self._path)

    def _finalize(self) -> None:
        recording = self._recording
        if recording is None:
            return
        failed_before = recording.file.error is not None
        try:
            recording.close()
        except (av.FFmpegError, OSError) as error:
            if not failed_before:
                raise RunError(self._failure(recording.file.error or error)) from (recording.file.error or error)
            log.debug("closing %s after its failure: %s", self._name, error)
        finally:
            self._recording = None
            if recording.file.error is not None and self._name is not None and _holds_nothing(self._name):
                with contextlib.suppress(OSError):
                    self._name.unlink()

    @property
    def current(self) -> str | None:
        """The file that is being written; None when none is. From any thread."""
        return str(self._name) if self._recording is not None else None

    @property
    def outputs(self) -> Sequence[str]:
        """The recording, if it was created."""
        return (str(self._name),) if self._name is not None and self._name.is_file() else ()

    def _failure(self, error: OSError | av.FFmpegError) -> str:
        reason = error.strerror or str(error)
        return f"Writing {self._name or self._path} failed: {reason}. Every frame up to that point is playable."


def _holds_nothing(path: Path) -> bool:
    """Whether writing failed before a frame was complete: what there is of the file cannot be played."""
    try:
        if is_exempt(path) or path.stat().st_size > _FEW_BYTES:
            return False
        content = path.read_bytes()
    except OSError:
        return False
    try:
        with av.open(io.BytesIO(content), "r") as container:
            return next(container.decode(video=0), None) is None
    except (av.FFmpegError, IndexError):
        return True


class _Recording:
    """The open file: encoder, container and audio."""

    def __init__(
        self,
        settings: RecorderSettings,
        source: SourceInfo,
        file: MediaFile,
        presentation: Presentation,
        tag: dict[str, str],
    ) -> None:
        first = presentation.segmented.frame
        suffix = Path(settings.path or "").suffix.lower()
        self.file = file
        self._failed = False
        self._time_base = max(source.time_base, _FINEST_TIME_BASE)
        self._first_pts_s = first.pts * first.time_base
        self._last_pts = -1
        self._last_step = max(1, round(1 / (Fraction(source.fps or _ASSUMED_FPS) * self._time_base)))
        self._last_duration: int | None = None
        self._durations: dict[int, int] = {}
        self._last_image: Image | None = None
        self._to_yuv = VideoReformatter()  # reused: creating one, with its threads, costs more than a conversion
        self._key_every = max(1, round(Fraction(settings.fragment_s) / self._time_base))
        self._next_key = 0
        self._size_wh = (presentation.annotated_bgr.shape[1], presentation.annotated_bgr.shape[0])
        self._sample_aspect_ratio = first.sample_aspect_ratio
        self._output = av.open(
            file, "w", format=FORMATS[suffix], options=_container_options(suffix, source, settings.fragment_s)
        )
        self._output.metadata.update(tag)
        self._stream = self._add_video(settings, source, suffix)
        self._audio: AudioFeed | None = None
        if source.audio is not None and settings.audio is not AudioMode.OFF:
            try:
                self._audio = AudioFeed(source.audio, first.position_s, self._output, suffix)
            except (av.FFmpegError, OSError, LookupError) as error:
                log.warning("recording without audio: %s", error)

    def _add_video(self, settings: RecorderSettings, source: SourceInfo, suffix: str) -> av.VideoStream:
        rate = Fraction(source.fps or _ASSUMED_FPS).limit_denominator(1001)
        encoder, options = _encoder(settings, suffix)
        stream = cast(av.VideoStream, self._output.add_stream(encoder, rate=rate, options=options))
        stream.time_base = self._time_base
        context = stream.codec_context
        context.time_base = self._time_base
        # Even sizes: 4:2:0 halves the color planes.
        context.width, context.height = (side + side % 2 for side in self._size_wh)
        context.pix_fmt = "yuv420p"
        context.sample_aspect_ratio = self._sample_aspect_ratio
        context.thread_count = max(1, min(4, (os.cpu_count() or 1) // 2))
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _MPEG_RANGE
        return stream

    def write(self, frame: Frame, annotated_bgr: Image) -> None:
        self._failed = True  # until this returns
        pts = round((frame.pts * frame.time_base - self._first_pts_s) / self._time_base)
        # Containers require increasing timestamps; one tick is invisible.
        pts = max(pts, self._last_pts + 1)
        # After a long disconnection, the gap may be too long for the container.
        while self._last_image is not None and pts - self._last_pts > _MAX_STEP_TICKS:
            self._encode(self._last_image, self._last_pts + _MAX_STEP_TICKS)
        if self._last_pts >= 0:
            self._last_step = pts - self._last_pts
        # Size and pixel aspect differ after a camera reconnects in another mode.
        aspect = float(frame.sample_aspect_ratio / self._sample_aspect_ratio)
        image = _pad_to_even(letterbox(annotated_bgr, self._size_wh, aspect))
        self._last_image = image
        self._last_duration = frame.duration and max(1, round(frame.duration * frame.time_base / self._time_base))
        self._encode(image, pts)
        self.file.sync_if_due()
        self._failed = False

    def _encode(self, image_bgr: Image, pts: int) -> None:
        picture = self._to_yuv.reformat(
            av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image_bgr), format="bgr24"),  # not copied
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.pts, picture.time_base = pts, self._time_base
        self._durations[pts] = self._last_frame_duration()
        if pts >= self._next_key:
            picture.pict_type = PictureType.I
            self._next_key = pts + self._key_every
        self._last_pts = pts
        self._mux(self._stream.encode(picture))

    def _last_frame_duration(self) -> int:
        """How long the newest frame is shown, in ticks, if none follows: as stated, else like the previous one."""
        return self._last_duration or min(self._last_step, max(1, round(1 / self._time_base)))

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            assert packet.pts is not None
            # The encoder does not pass durations on.
            packet.duration = self._durations.pop(packet.pts, self._last_step)
            self._mux_audio(float(packet.pts * packet.time_base))
            self._output.mux(packet)

    def _mux_audio(self, until_s: float) -> None:
        """Mux the sound up to a time in seconds; an error of the sound ends only the sound."""
        if self._audio is None:
            return
        try:
            for packet in self._audio.until(until_s):
                self._output.mux(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            if self.file.error is not None:  # the disk, not the sound
                raise
            log.warning("the sound ends at %.1f s: %s", until_s, " ".join(str(error).split()))
            self._audio.close()
            self._audio = None

    def close(self) -> None:
        try:
            # Muxing after a failed header crashes FFmpeg.
            if self.file.error is None and not self._failed:
                self._mux(self._stream.encode(None))
                end = self._last_pts + self._last_frame_duration()
                self._mux_audio(float(end * self._time_base))
        finally:
            try:
                # After a failed write, this releases the encoder; the file ignores it.
                self.file.begin_finalizing()
                self._output.close()
            finally:
                if self._audio is not None:
                    self._audio.close()
                self.file.close()


def _encoder(settings: RecorderSettings, suffix: str) -> tuple[str, dict[str, str]]:
    """The name of the video encoder for a file, and its options."""
    if suffix == ".gif":
        return "gif", {}
    if suffix == ".webm":
        # VP9's crf is finer, up to 63; 10 more than that of H.264 looks alike. The encoder keeps up with a camera.
        speed = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "lag-in-frames": "0"}
        return "libvpx-vp9", {"crf": str(min(63, settings.crf + 10)), "b": "0", **speed}
    # No B-frames: they would delay the first frame in fragments, which have no edit lists. forced-idr makes each
    # forced keyframe one that can start a fragment.
    return "libx264", {"crf": str(settings.crf), "preset": settings.preset, "bf": "0", "forced-idr": "1"}


def _container_options(suffix: str, source: SourceInfo, fragment_s: float) -> dict[str, str]:
    """Options that keep each container playable up to its last fragment at any moment."""
    # Every packet reaches the file at once, and no track waits long for one that has ended.
    options = {"flush_packets": "1", "max_interleave_delta": str(round(fragment_s * 1_000_000))}
    if suffix in (".mkv", ".webm"):
        return options | {"cluster_time_limit": str(max(1, round(fragment_s * 1000)))}
    if source.kind is SourceKind.LIVE and source.audio is None:
        # Such a recording may last for days (only files have audio, and they end), and the index of a regular file
        # takes 76 bytes of memory per frame until the end.
        return options | {"movflags": "frag_keyframe+delay_moov+default_base_moof"}
    # Fragments while recording; closing converts them to a regular file with an index.
    return options | {"movflags": "hybrid_fragmented"}


def _pad_to_even(image_bgr: Image) -> Image:
    """Repeats the last row and column of an image where its height or width is odd."""
    bottom, right = image_bgr.shape[0] % 2, image_bgr.shape[1] % 2
    if not bottom and not right:
        return image_bgr
    return np.asarray(cv2.copyMakeBorder(image_bgr, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
