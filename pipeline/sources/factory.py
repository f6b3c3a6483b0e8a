"""Makes the source described by the settings, restricted to `--max-frames`, `--start` and `--duration`; samples it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np

from pipeline.errors import InputError
from pipeline.records import Clock, Frame, Image, SourceInfo, SourceKind
from pipeline.settings.source_settings import Policy, SourceSettings
from pipeline.sources.base import ROUNDING_S, Source, SourceWarnings
from pipeline.sources.camera import CameraDevice
from pipeline.sources.images import ImagesSource
from pipeline.sources.live import LiveSource, ReconnectingSource
from pipeline.sources.pattern import DEFAULT_RATE, DEFAULT_SIZE_WH, PatternSource
from pipeline.sources.played import PlayedSource
from pipeline.sources.uri import Target, UriKind, is_video_address, parse_uri
from pipeline.sources.video import StreamDevice, VideoFile

CAMERA_OPEN_S = 15.0
"""Some webcams take more than ten seconds to open on Windows."""

EXPECTED_SIZE_WH = (1280, 720)
"""Size of the first slate while a camera is not connected yet and no size is requested."""

OPEN_GRACE_S = 1.0
"""FFmpeg's own timeout, which reports the reason, should fire before ours."""


def make_source(settings: SourceSettings, clock: Clock = time.monotonic) -> Source:
    """Returns the unopened source named by `settings.uri`, with reconnection, pacing and limits applied.

    Raises:
        InputError: the URI is invalid, or the file or folder does not exist.
    """
    target = parse_uri(settings.uri.reveal())
    if settings.loop and target.kind is not UriKind.VIDEO:
        raise InputError(f"source.loop repeats a video file, and {target.name} is none: leave it out")
    location, name, recorded = target.location, target.name, settings.policy is Policy.RECORDED
    source: Source
    match target.kind:
        case UriKind.IMAGES:
            source = ImagesSource(target.images, name, clock)
        case UriKind.PATTERN:
            source = PatternSource(
                location,
                size_wh=(settings.width or DEFAULT_SIZE_WH[0], settings.height or DEFAULT_SIZE_WH[1]),
                rate=DEFAULT_RATE if settings.fps is None else Fraction(str(settings.fps)),
                kind=SourceKind.RECORDED if recorded and not settings.realtime else SourceKind.LIVE,
                clock=clock,
            )
        case UriKind.VIDEO:
            # The parts begin and end where they should; what is left to limit is the number of frames.
            source = PlayedSource(partial(_part_of_file, target, settings, clock), settings.start_s, settings.loop)
            settings = settings.model_copy(update={"start_s": 0.0, "duration_s": None})
        case UriKind.NETWORK if recorded and is_video_address(location):
            timeout_s = settings.reconnect.read_timeout_s
            source = VideoFile(location, name, start_s=settings.start_s, clock=clock, timeout_s=timeout_s)
        case _:
            source = _live_source(target, settings, clock)
    limited = settings.start_s > 0 or settings.duration_s is not None or settings.max_frames is not None
    return LimitedSource(source, settings) if limited else source


def make_detect_source(settings: SourceSettings, clock: Clock = time.monotonic) -> Source | None:
    """Returns the unopened sub-stream named by `settings.detect_uri`, which may appear later; None without one.

    Raises:
        InputError: the URI is invalid, or one of both streams is a file.
    """
    if settings.detect_uri is None:
        return None
    for uri in (settings.uri, settings.detect_uri):
        target = parse_uri(uri.reveal())
        if target.kind in (UriKind.VIDEO, UriKind.IMAGES):
            raise InputError(
                f"source.detect_uri is a second stream of the camera in source.uri, and {target.name} is a file: leave "
                "source.detect_uri out"
            )
    reconnect = settings.reconnect.model_copy(update={"enabled": True, "at_start": True})
    own = SourceSettings(uri=settings.detect_uri, rtsp_transport=settings.rtsp_transport, reconnect=reconnect)
    return make_source(own, clock)


def _part_of_file(
    target: Target, settings: SourceSettings, clock: Clock, start_s: float, warnings: SourceWarnings
) -> Source:
    """A video file from `start_s` on, up to the end that the settings give."""
    kind = SourceKind.LIVE if settings.realtime or settings.policy is Policy.LIVE else SourceKind.RECORDED
    video = VideoFile(target.location, target.name, start_s=start_s, kind=kind, clock=clock)
    video.warnings = warnings
    if settings.duration_s is None:
        return video
    left_s = settings.start_s + settings.duration_s - start_s
    return LimitedSource(video, SourceSettings(start_s=start_s, duration_s=left_s))


def _live_source(target: Target, settings: SourceSettings, clock: Clock) -> Source:
    timeout_s = settings.reconnect.read_timeout_s

    def connection() -> LiveSource:
        if target.kind is UriKind.CAMERA:
            camera = CameraDevice(target.location, target.name, settings, clock)
            return LiveSource(camera, read_timeout_s=timeout_s, open_timeout_s=max(CAMERA_OPEN_S, timeout_s))
        stream = StreamDevice(
            target.location, target.name, timeout_s=timeout_s, rtsp_transport=settings.rtsp_transport, clock=clock
        )
        # Opening a stream takes several steps, each with FFmpeg's timeout: connecting, then probing the format.
        return LiveSource(stream, read_timeout_s=timeout_s, open_timeout_s=2 * timeout_s + OPEN_GRACE_S)

    if not settings.reconnect.enabled or settings.policy is Policy.RECORDED:
        return connection()
    expected = SourceInfo(
        source_id=target.name,
        kind=SourceKind.LIVE,
        width=settings.width or EXPECTED_SIZE_WH[0],
        height=settings.height or EXPECTED_SIZE_WH[1],
        fps=settings.fps,
        description=f"{target.name}: not connected yet, retrying",
    )
    return ReconnectingSource(connection, settings.reconnect, clock, expected=expected)


class LimitedSource(Source):
    """Restricts a source to a part of it.

    A file seeks to its first frame at or after `start_s` itself; of a live source, the frames before `start_s` are
    skipped. `duration_s` counts from `start_s` and excludes a frame that begins exactly at its end. Frame indices count
    from 0 without gaps.

    Args:
        inner: the whole source; owned by this one.
        limits: `start_s`, `duration_s` and `max_frames`, the part to use.
    """

    def __init__(self, inner: Source, limits: SourceSettings) -> None:
        self.warnings = inner.warnings
        self.state = inner.state
        self._inner = inner
        self._limits = limits
        self._count = 0
        self._ended = False

    def open(self) -> SourceInfo:
        info = self._inner.open()
        if info.kind is SourceKind.STILLS and (self._limits.start_s > 0 or self._limits.duration_s is not None):
            self._inner.close()
            raise InputError(
                f"{info.source_id}: images have no timestamps, so start and duration do not apply; use --max-frames"
            )
        return self._limited(info)

    def read(self) -> Frame | None:
        if self._ended or self._count == self._limits.max_frames:
            return None
        frame = self._inner.read()
        while frame is not None and frame.pts_s < self._limits.start_s - ROUNDING_S:
            frame = self._inner.read()
        limits = self._limits
        end_s = None if limits.duration_s is None else limits.start_s + limits.duration_s
        if frame is None or (end_s is not None and frame.pts_s >= end_s - ROUNDING_S):
            self._ended = True
            return None
        self._count += 1
        return frame if frame.index == self._count - 1 else replace(frame, index=self._count - 1)

    def close(self) -> None:
        self._inner.close()

    def interrupt(self) -> None:
        self._inner.interrupt()

    def seek(self, position_s: float) -> bool:
        """See `Source.seek`."""
        return self._inner.seek(position_s)

    def _limited(self, info: SourceInfo) -> SourceInfo:
        duration_s, frame_count = info.duration_s, info.frame_count
        limit_s = self._limits.duration_s
        if limit_s is not None:
            duration_s = limit_s if duration_s is None else min(duration_s, limit_s)
            if info.fps is not None and info.kind is not SourceKind.LIVE:
                expected = max(1, round(duration_s * info.fps))
                frame_count = expected if frame_count is None else min(frame_count, expected)
        limit_frames = self._limits.max_frames
        if limit_frames is not None:
            frame_count = limit_frames if frame_count is None else min(frame_count, limit_frames)
            if duration_s is not None and info.fps is not None:
                duration_s = min(duration_s, frame_count / info.fps)
        return replace(info, duration_s=duration_s, frame_count=frame_count)


LIVE_INTERVAL_S = 0.5
"""Seconds between the frames sampled from a camera."""

MOST_LIVE_FRAMES = 20
MAX_FRAMES_READ = 3000
"""How many frames of a file are read at most."""


def sample_frames(settings: SourceSettings, count: int) -> list[Image]:
    """Returns at most `count` frames, evenly spread over the first `MAX_FRAMES_READ` frames of a file, or taken from a
    camera every `LIVE_INTERVAL_S`.

    Args:
        settings: the source.
        count: frames, 1 or more.

    Returns:
        uint8 (H, W, 3) BGR each; fewer than `count` if the source has fewer.

    Raises:
        InputError: the source cannot be opened.
        RunError: the source fails while it is read.
    """
    with contextlib.closing(make_source(settings)) as source:
        info = source.open()
        frames = iter(source.read, None)
        return _sample_live(frames, count) if info.kind is SourceKind.LIVE else _sample_evenly(frames, count)


def spread_frames(settings: SourceSettings, count: int) -> Iterator[Image]:
    """At most `count` frames, one after the other: every nth frame of a file, or a camera's, every `LIVE_INTERVAL_S`.

    Args, Raises: see `sample_frames`.
    """
    with contextlib.closing(make_source(settings)) as source:
        info = source.open()
        frames = iter(source.read, None)
        if info.kind is SourceKind.LIVE:
            yield from _sample_live(frames, min(count, MOST_LIVE_FRAMES))
            return
        step = max(1, (info.frame_count or 0) // count)
        for frame in itertools.islice(frames, 0, step * count, step):
            yield frame.image_bgr


def _sample_live(frames: Iterator[Frame], count: int) -> list[Image]:
    taken: list[Image] = []
    due_s = -np.inf
    for frame in frames:
        if frame.captured_at_s >= due_s:
            taken.append(frame.image_bgr)
            due_s = frame.captured_at_s + LIVE_INTERVAL_S
        if len(taken) == count:
            break
    return taken


def _sample_evenly(frames: Iterator[Frame], count: int) -> list[Image]:
    """Keeps every nth frame; n doubles whenever twice as many frames as requested are held."""
    held: list[Image] = []
    step = 1
    for index, frame in enumerate(itertools.islice(frames, MAX_FRAMES_READ)):
        if index % step == 0:
            held.append(frame.image_bgr)
        if len(held) == 2 * count:
            held, step = held[::2], 2 * step
    positions = np.linspace(0, len(held) - 1, min(count, len(held))).round().astype(int)
    return [held[position] for position in positions]
