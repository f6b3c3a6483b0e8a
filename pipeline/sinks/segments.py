"""Records for months: in segments that play by themselves, the oldest of which make room for new ones."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.errors import RunError
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.base import Delivery, Presentation, RunContext, Sink
from pipeline.sinks.paths import Inputs
from pipeline.sinks.recorder import Recorder

log = logging.getLogger(__name__)

CHECK_EVERY_S = 5.0
"""How often the room on the disk is looked at."""
_RESUME_FACTOR = 1.05
"""A paused recording goes on when this much of `min_free_bytes` is free: not to begin and pause every few seconds."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    number: int
    bytes: int
    modified_at_s: float


class SegmentRecorder(Sink):
    """Recordings of `settings.segment_s` seconds each: NAME-20260314-150926-0001.mp4, in local time, numbered on.

    Each segment begins with the frame after the last one of the segment before. Only files of that pattern, beside
    `settings.path`, are counted, and deleted when they are too many (`keep_bytes`), too old (`keep_s`) or the disk is
    too full (`min_free_bytes`; the newest stays). While it is too full nevertheless, nothing is recorded, and that is
    said.

    Args:
        settings: path, quality, sound, length and limits.
        inputs: files that must not be overwritten.
        wall_clock: local time, for the names.
        clock: seconds, monotonic.
        unix_time: seconds since 1970, as files are stamped.
        free_bytes: room on the disk of a folder.
    """

    name = "recorder"
    delivery = Delivery.EVERY_FRAME

    def __init__(
        self,
        settings: RecorderSettings,
        inputs: Inputs | None = None,
        wall_clock: Callable[[], datetime] = datetime.now,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        if settings.path is None or settings.segment_s is None:
            raise ValueError("a SegmentRecorder needs settings.path and settings.segment_s")
        self._settings = settings
        self._segment_s = settings.segment_s
        self._path = Path(settings.path)
        self._inputs = inputs or Inputs()
        self._wall_clock, self._clock, self._unix_time, self._free_bytes = wall_clock, clock, unix_time, free_bytes
        self._pattern = re.compile(
            rf"{re.escape(self._path.stem)}-\d{{8}}-\d{{6}}-(\d{{4,}}){re.escape(self._path.suffix)}"
        )
        self._context: RunContext | None = None
        self._recorder: Recorder | None = None
        self._current: Path | None = None
        self._began_pts_s = 0.0
        self._next_check_s = 0.0
        self._paused = False
        self._missed = 0
        self._written: list[Path] = []

    def open(self, context: RunContext) -> None:
        """Check everything that can be checked; nothing is written yet. Raises InputError."""
        Recorder(self._settings, self._inputs).open(context)
        self._context = context
        self._next_check_s = self._clock()

    def write(self, presentation: Presentation) -> None:
        """Encode one frame. Raises RunError when the file cannot be written for another reason than a full disk."""
        if self._context is None:
            raise RuntimeError("SegmentRecorder.write needs open() first")
        pts_s = presentation.segmented.frame.pts_s
        if self._recorder is not None and pts_s - self._began_pts_s >= self._segment_s:
            self._finish()
        if self._recorder is None or self._clock() >= self._next_check_s:
            self._look_after_room()
        if self._paused:
            self._missed += 1
            return
        try:
            if self._recorder is None:
                self._start(self._context, pts_s)
            assert self._recorder is not None
            self._recorder.write(presentation)
        except RunError as error:
            if not _disk_is_full(error):
                raise
            self._pause(str(error))
            self._missed += 1

    def close(self) -> None:
        """Finish the segment. Raises RunError if that fails."""
        self._context = None
        self._finish()

    @property
    def outputs(self) -> Sequence[str]:
        """The segments of this run that are still there."""
        return tuple(str(path) for path in self._written if path.is_file())

    def _start(self, context: RunContext, pts_s: float) -> None:
        number = 1 + max((segment.number for segment in self._segments()), default=0)
        name = f"{self._path.stem}-{self._wall_clock():%Y%m%d-%H%M%S}-{number:04d}{self._path.suffix}"
        self._current = self._path.with_name(name)
        self._recorder = Recorder(self._settings.model_copy(update={"path": str(self._current)}), self._inputs)
        self._recorder.open(context)
        self._began_pts_s = pts_s
        self._written = [path for path in self._written if path.is_file()] + [self._current]

    def _finish(self) -> None:
        recorder, self._recorder, self._current = self._recorder, None, None
        if recorder is None:
            return
        try:
            recorder.close()
        except RunError as error:
            if not _disk_is_full(error):
                raise
            log.warning("%s", error)

    def _segments(self) -> list[_Segment]:
        """What this recorder, in this run or an earlier one, has written, oldest first."""
        found = []
        for path in self._path.parent.iterdir():
            match = self._pattern.fullmatch(path.name)
            if match is None or path.is_symlink():
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # gone in this moment
            if path.is_file():
                found.append(_Segment(path, int(match.group(1)), status.st_size, status.st_mtime))
        return sorted(found, key=lambda segment: segment.number)

    def _look_after_room(self) -> None:
        """Delete what is too much, too old or in the way; pause or go on."""
        self._next_check_s = self._clock() + CHECK_EVERY_S
        segments = self._segments()
        held = sum(segment.bytes for segment in segments)
        oldest_s = self._unix_time() - (self._settings.keep_s or float("inf"))
        for segment in segments:
            if segment.path == self._current:
                continue
            too_much = self._settings.keep_bytes is not None and held > self._settings.keep_bytes
            # If all but the newest do not make room, something else fills the disk, and deleting it would not help.
            in_the_way = segment is not segments[-1] and self._is_full()
            if (too_much or segment.modified_at_s < oldest_s or in_the_way) and _deleted(segment.path):
                held -= segment.bytes
        if self._is_full():
            self._pause(f"less than {self._settings.min_free_bytes / 1e6:g} MB are free in {self._path.parent}")
        elif self._paused:
            log.warning("recording goes on; %d frames were not recorded", self._missed)
            self._paused, self._missed = False, 0

    def _is_full(self) -> bool:
        wanted = self._settings.min_free_bytes * (_RESUME_FACTOR if self._paused else 1.0)
        return self._free_bytes(self._path.parent) < wanted

    def _pause(self, reason: str) -> None:
        if not self._paused:
            log.warning("recording pauses: %s", reason)
        self._paused = True
        self._finish()


def make_recorder(settings: RecorderSettings, inputs: Inputs) -> Recorder | SegmentRecorder:
    """The recorder that the settings ask for: one file, or segments."""
    return Recorder(settings, inputs) if settings.segment_s is None else SegmentRecorder(settings, inputs)


def _deleted(path: Path) -> bool:
    try:
        path.unlink()
    except OSError as error:
        log.warning("the old recording %s could not be deleted: %s", path, error.strerror or error)
        return False
    log.info("deleted the old recording %s", path)
    return True


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in _FULL:
            return True
        error = error.__cause__
    return False
