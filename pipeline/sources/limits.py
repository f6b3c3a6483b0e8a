"""Applies `--max-frames`, `--start` and `--duration` to any kind of source."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import InputError
from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.base import Source

ROUNDING_S = 1e-9
"""Tolerance for the rounding of sums of floating-point seconds."""


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
        if frame is None or self._past_end(frame):
            self._ended = True
            return None
        self._count += 1
        return frame if frame.index == self._count - 1 else replace(frame, index=self._count - 1)

    def close(self) -> None:
        self._inner.close()

    def interrupt(self) -> None:
        self._inner.interrupt()

    @property
    def state_text(self) -> str:
        return self._inner.state_text

    @property
    def reopened_as(self) -> SourceInfo | None:
        return self._inner.reopened_as

    @property
    def reconnects(self) -> int:
        return self._inner.reconnects

    def _past_end(self, frame: Frame) -> bool:
        limits = self._limits
        return limits.duration_s is not None and frame.pts_s >= limits.start_s + limits.duration_s - ROUNDING_S

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
