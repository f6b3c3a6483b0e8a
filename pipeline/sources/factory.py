"""Makes the source described by the settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

from pipeline.records import SourceInfo, SourceKind
from pipeline.settings.source_settings import Policy, SourceSettings
from pipeline.sources.base import Clock, Source
from pipeline.sources.camera import CameraDevice, CameraMode
from pipeline.sources.images import ImagesSource
from pipeline.sources.limits import LimitedSource, Limits
from pipeline.sources.live import LiveSource
from pipeline.sources.network_stream import StreamDevice
from pipeline.sources.pattern import DEFAULT_RATE, DEFAULT_SIZE_WH, PatternSource
from pipeline.sources.pump import Device
from pipeline.sources.realtime import RealtimeFile
from pipeline.sources.reconnect import ReconnectingSource
from pipeline.sources.uri import Target, UriKind, is_video_address, parse_uri
from pipeline.sources.video_file import VideoFile

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
    target = parse_uri(settings.uri)
    makers: dict[UriKind, Callable[[Target, SourceSettings, Clock], Source]] = {
        UriKind.CAMERA: _camera,
        UriKind.NETWORK: _network,
        UriKind.PATTERN: _pattern,
        UriKind.IMAGES: _images,
        UriKind.VIDEO: _video,
    }
    source = makers[target.kind](target, settings, clock)
    limits = Limits(settings.start_s, settings.duration_s, settings.max_frames)
    return LimitedSource(source, limits) if limits.any else source


def _camera(target: Target, settings: SourceSettings, clock: Clock) -> Source:
    def make_device() -> Device:
        mode = CameraMode(settings.width, settings.height, settings.fps)
        return CameraDevice(target.location, target.name, mode, clock)

    open_timeout_s = max(CAMERA_OPEN_S, settings.reconnect.read_timeout_s)
    return _live(target.name, make_device, settings, clock, open_timeout_s)


def _network(target: Target, settings: SourceSettings, clock: Clock) -> Source:
    timeout_s = settings.reconnect.read_timeout_s
    if settings.policy is Policy.RECORDED and is_video_address(target.location):
        return VideoFile(target.location, target.name, start_s=settings.start_s, clock=clock, timeout_s=timeout_s)

    def make_device() -> Device:
        transport = settings.rtsp_transport
        return StreamDevice(target.location, target.name, timeout_s=timeout_s, rtsp_transport=transport, clock=clock)

    # Opening a stream takes several steps, each with FFmpeg's timeout: connecting, then probing the format.
    return _live(target.name, make_device, settings, clock, open_timeout_s=2 * timeout_s + OPEN_GRACE_S)


def _live(
    name: str, make_device: Callable[[], Device], settings: SourceSettings, clock: Clock, open_timeout_s: float
) -> Source:
    def make() -> LiveSource:
        read_timeout_s = settings.reconnect.read_timeout_s
        return LiveSource(make_device(), read_timeout_s=read_timeout_s, open_timeout_s=open_timeout_s)

    if settings.reconnect.enabled and settings.policy is not Policy.RECORDED:
        return ReconnectingSource(make, settings.reconnect, clock, expected=_expected(name, settings))
    return make()


def _expected(name: str, settings: SourceSettings) -> SourceInfo:
    """What is assumed about a live source before it first connects."""
    return SourceInfo(
        source_id=name,
        kind=SourceKind.LIVE,
        width=settings.width or EXPECTED_SIZE_WH[0],
        height=settings.height or EXPECTED_SIZE_WH[1],
        fps=settings.fps,
        description=f"{name}: not connected yet, retrying",
    )


def _pattern(target: Target, settings: SourceSettings, clock: Clock) -> Source:
    recorded = settings.policy is Policy.RECORDED and not settings.realtime
    return PatternSource(
        target.location,
        size_wh=(settings.width or DEFAULT_SIZE_WH[0], settings.height or DEFAULT_SIZE_WH[1]),
        rate=DEFAULT_RATE if settings.fps is None else Fraction(str(settings.fps)),
        kind=SourceKind.RECORDED if recorded else SourceKind.LIVE,
        clock=clock,
    )


def _images(target: Target, settings: SourceSettings, clock: Clock) -> Source:
    return ImagesSource(target.images, target.name, clock)


def _video(target: Target, settings: SourceSettings, clock: Clock) -> Source:
    source = VideoFile(target.location, target.name, start_s=settings.start_s, clock=clock)
    return RealtimeFile(source, clock) if settings.realtime or settings.policy is Policy.LIVE else source
