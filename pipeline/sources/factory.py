"""Makes the source described by the settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from pipeline.records import Clock, SourceInfo, SourceKind
from pipeline.settings.source_settings import Policy, SourceSettings
from pipeline.sources.base import Source
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
    source = _Factory(parse_uri(settings.uri.reveal()), settings, clock).make()
    limits = Limits(settings.start_s, settings.duration_s, settings.max_frames)
    return LimitedSource(source, limits) if limits.any else source


@dataclass(frozen=True, slots=True)
class _Factory:
    target: Target
    settings: SourceSettings
    clock: Clock

    def make(self) -> Source:
        target = self.target
        match target.kind:
            case UriKind.CAMERA:
                return self._live(self._camera, max(CAMERA_OPEN_S, self.settings.reconnect.read_timeout_s))
            case UriKind.NETWORK:
                return self._network()
            case UriKind.PATTERN:
                return self._pattern()
            case UriKind.IMAGES:
                return ImagesSource(target.images, target.name, self.clock)
            case UriKind.VIDEO:
                return self._video()

    def _camera(self) -> Device:
        mode = CameraMode(self.settings.width, self.settings.height, self.settings.fps)
        return CameraDevice(self.target.location, self.target.name, mode, self.clock)

    def _network(self) -> Source:
        timeout_s = self.settings.reconnect.read_timeout_s
        if self.settings.policy is Policy.RECORDED and is_video_address(self.target.location):
            return self._file(timeout_s)
        # Opening a stream takes several steps, each with FFmpeg's timeout: connecting, then probing the format.
        return self._live(self._stream, 2 * timeout_s + OPEN_GRACE_S)

    def _stream(self) -> Device:
        return StreamDevice(
            self.target.location,
            self.target.name,
            timeout_s=self.settings.reconnect.read_timeout_s,
            rtsp_transport=self.settings.rtsp_transport,
            clock=self.clock,
        )

    def _live(self, make_device: Callable[[], Device], open_timeout_s: float) -> Source:
        reconnect = self.settings.reconnect

        def make() -> LiveSource:
            return LiveSource(make_device(), read_timeout_s=reconnect.read_timeout_s, open_timeout_s=open_timeout_s)

        if reconnect.enabled and self.settings.policy is not Policy.RECORDED:
            return ReconnectingSource(make, reconnect, self.clock, expected=self._expected())
        return make()

    def _expected(self) -> SourceInfo:
        """What is assumed about a live source before it first connects."""
        return SourceInfo(
            source_id=self.target.name,
            kind=SourceKind.LIVE,
            width=self.settings.width or EXPECTED_SIZE_WH[0],
            height=self.settings.height or EXPECTED_SIZE_WH[1],
            fps=self.settings.fps,
            description=f"{self.target.name}: not connected yet, retrying",
        )

    def _pattern(self) -> Source:
        settings = self.settings
        recorded = settings.policy is Policy.RECORDED and not settings.realtime
        return PatternSource(
            self.target.location,
            size_wh=(settings.width or DEFAULT_SIZE_WH[0], settings.height or DEFAULT_SIZE_WH[1]),
            rate=DEFAULT_RATE if settings.fps is None else Fraction(str(settings.fps)),
            kind=SourceKind.RECORDED if recorded else SourceKind.LIVE,
            clock=self.clock,
        )

    def _video(self) -> Source:
        plays = self.settings.realtime or self.settings.policy is Policy.LIVE
        return RealtimeFile(self._file(), self.clock) if plays else self._file()

    def _file(self, timeout_s: float | None = None) -> VideoFile:
        location, name = self.target.location, self.target.name
        return VideoFile(location, name, start_s=self.settings.start_s, clock=self.clock, timeout_s=timeout_s)
