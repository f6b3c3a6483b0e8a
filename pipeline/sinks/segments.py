"""Records continuously in segments that play on their own, deleting the oldest to stay within limits."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import RunError
from pipeline.labels import plural
from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.base import Presentation, RunContext
from pipeline.sinks.paths import Outputs, create_new, free_bytes, numbered, remove_empty, replace_file
from pipeline.sinks.recorder import CHECK_EVERY_S, Recorder

log = logging.getLogger(__name__)


SAVE_EVERY_S = 600.0
"""How often the running time is saved while no segment begins or ends."""


class SegmentList:
    """Names of segments, oldest first, with the running time at which each ended.

    Running time is what a monotonic clock counts while recording, over all runs: a machine without a battery-backed
    clock jumps by years when it first gets the time, and no segment must look old because of that.

    The list of kiosk.mp4 is `.kiosk.mp4.segments`, under an exclusive lock while a process records; another process
    that records to the same path keeps a list of its own (`.kiosk-2.mp4.segments`).

    Args:
        path: the path that the segments are named after.
        name_pattern: of the names of segments, with their number; other entries of a list are ignored.
        clock: seconds, monotonic.

    Attributes:
        number: the highest of a segment so far, 0 before the first. It stays when all are deleted: after a step of the
            clock, the time alone could name another one as before.
    """

    def __init__(self, path: Path, name_pattern: re.Pattern[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pattern = name_pattern
        self.number = 0
        self._opened_at_s = self._saved_at_s = clock()
        self._run_s = 0.0
        self._ended_s: dict[str, float] = {}
        self._lock, self._file = _locked_list(numbered(path))
        if self._file is not None:
            self._load(self._file)

    @property
    def names(self) -> list[str]:
        """The names, oldest first."""
        return list(self._ended_s)

    def age_s(self, name: str) -> float:
        """Running time since a segment ended."""
        return self._now_s() - self._ended_s[name]

    def put(self, name: str) -> None:
        """Add a segment, or note that it ended now."""
        self._ended_s[name] = self._now_s()
        self.number = max(self.number, self._number_of(name))
        self._save()

    def remove(self, name: str) -> None:
        """Remove a segment that was deleted, if it is there."""
        if self._ended_s.pop(name, None) is not None:
            self._save()

    def save_when_due(self) -> None:
        """Save the running time if that was not done for long: the program may end by a power cut."""
        if self._clock() - self._saved_at_s >= SAVE_EVERY_S:
            self._save()

    def close(self) -> None:
        """Save the running time and leave the list to other processes. May be called twice."""
        if self._lock is not None:
            self._save()
            self._lock.close()
            self._lock = self._file = None

    def _now_s(self) -> float:
        return self._run_s + self._clock() - self._opened_at_s

    def _number_of(self, name: str) -> int:
        match = self._pattern.fullmatch(name)
        return int(match[1]) if match is not None else 0

    def _load(self, file: Path) -> None:
        try:
            stored = json.loads(file.read_bytes())
            self._run_s = float(stored["run_s"])
            ended_s = {str(name): float(time_s) for name, time_s in stored["segments"]}
            number = int(stored.get("number", 0))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, OverflowError) as error:
            log.warning("%s cannot be read (%s): segments of earlier runs are kept", file, error)
            return
        self._ended_s = {name: time_s for name, time_s in ended_s.items() if self._pattern.fullmatch(name)}
        self.number = max([number, *map(self._number_of, self._ended_s)])

    def _save(self) -> None:
        if self._file is None:
            return
        self._saved_at_s = self._clock()
        content = {
            "run_s": round(self._now_s(), 3),
            "number": self.number,
            "segments": list(self._ended_s.items()),
        }
        try:
            replace_file(self._file, json.dumps(content).encode("ascii"), durable=True)
        except OSError as error:
            log.warning("the list of segments %s was not saved: %s", self._file, error.strerror or error)


def _list_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.segments")


def _locked_list(names: Iterator[Path]) -> tuple[BinaryIO | None, Path | None]:
    """The lock and the path of the first list that no other process holds; None where files cannot be locked."""
    for name in names:
        lock = open(name.with_name(f".{name.name}.segments.lock"), "ab")
        try:
            _take(lock)
        except (BlockingIOError, PermissionError):
            lock.close()
            continue
        except OSError as error:
            lock.close()
            log.warning("%s cannot be locked (%s): segments of earlier runs are kept", lock.name, error.strerror)
            return None, None
        return lock, _list_file(name)
    raise AssertionError("there are always more numbers")


def _take(lock: BinaryIO) -> None:
    """Lock a file until it is closed or the process dies. Raises OSError if another process holds it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(lock.fileno(), 0, os.SEEK_SET)
        msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


_RESUME_FACTOR = 1.05
"""A paused recording resumes at this multiple of `min_free_bytes`: hysteresis against pausing every few seconds."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class SegmentRecorder(Recorder):
    """Records segments of `settings.segment_s` seconds: NAME-20260314-150926-0001.mp4, numbered, in local time.

    Segments follow each other without losing a frame. Those in the program's own list (`SegmentList`), and only they,
    are deleted, the oldest first, when they take too much space (`keep_bytes`), are too old (`keep_s`), or the disk is
    too full (`min_free_bytes`; the newest stays), also while no frame comes and before the first one. While the disk is
    still too full, recording pauses with a warning.

    Args:
        settings: path, quality, audio, duration and limits.
        outputs: has the files that must be neither overwritten nor deleted.
        wall_clock: local time, for file names.
        clock: seconds, monotonic.
        free_bytes: free space on the disk of a folder.
    """

    def __init__(
        self,
        settings: RecorderSettings,
        outputs: Outputs | None = None,
        wall_clock: Callable[[], datetime] = datetime.now,
        clock: Callable[[], float] = time.monotonic,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        if settings.segment_s is None:
            raise ValueError("a SegmentRecorder needs settings.segment_s")
        # Segments have new names, so that nothing can be replaced.
        own = Outputs(outputs.inputs if outputs is not None else None, overwrite=True)
        super().__init__(settings, own, clock, free_bytes=free_bytes)
        self._segment_s = settings.segment_s
        self._wall_clock = wall_clock
        self._pattern = re.compile(
            rf"{re.escape(self._path.stem)}-\d{{8}}-\d{{6}}-(\d{{4,}}){re.escape(self._path.suffix)}"
        )
        self._list: SegmentList | None = None
        self._began_pts_s = 0.0
        self._written_at_s = 0.0
        self._paused = False
        self._skipped_frames = 0
        self._on_loss: Callable[[], None] = lambda: None
        self._written: list[Path] = []

    def open(self, context: RunContext) -> None:
        """Check the settings and the path; nothing is written yet. Raises InputError."""
        super().open(context)
        self._next_check_s, self._on_loss = self._clock(), context.on_loss

    def write(self, presentation: Presentation) -> None:
        """Encode one frame. Raises RunError if writing fails for any reason but a full disk."""
        pts_s = presentation.segmented.frame.pts_s
        self._written_at_s = self._clock()
        try:
            self._keep_limits(is_over=pts_s - self._began_pts_s >= self._segment_s, begins_next=True)
            if self._recording is None:
                self._began_pts_s = pts_s
            if not self._paused:
                super().write(presentation)
        except RunError as error:
            self._pause_if_full(error)
        if self._paused:
            self._skipped_frames += 1
            self._on_loss()

    def idle(self, message: str) -> None:
        """Keep the limits while no frame comes, also for days. Raises RunError as `write` does."""
        if self._source is None or (self._list is None and not _list_file(self._path).exists()):
            return
        # When a live source comes back after that long, its frame begins another segment anyway.
        is_live = self._source.kind is SourceKind.LIVE
        is_over = is_live and self._clock() - self._written_at_s >= self._segment_s
        try:
            self._keep_limits(is_over, begins_next=False)
        except RunError as error:
            self._pause_if_full(error)

    def _keep_limits(self, is_over: bool, begins_next: bool) -> None:
        """Finish the segment if it is over; enforce the limits before the next one and when due. Raises RunError."""
        try:
            if self._recording is not None and is_over:
                self._finish()
            begins = begins_next and self._recording is None
            if begins or self._clock() >= self._next_check_s:
                self._next_check_s = self._clock() + CHECK_EVERY_S
                self._delete_old()
                self._pause_or_resume(may_pause=begins or self._recording is not None)
        except OSError as error:
            raise RunError(f"Recording to {self._path.parent} failed: {error.strerror or error}.") from error

    def close(self) -> None:
        """Finish the current segment. Raises RunError if that fails."""
        self._source = None
        try:
            self._finish()
        finally:
            if self._list is not None:
                self._list.close()
                self._list = None

    @property
    def outputs(self) -> Sequence[str]:
        """The segments of this run that still exist."""
        return tuple(str(path) for path in self._written if path.is_file())

    def _shortage(self) -> None:
        """None: the oldest segments go, or recording pauses, when space is short."""

    def _new_name(self) -> Path:
        named = [self._pattern.fullmatch(name) for name in os.listdir(self._path.parent)]
        first = 1 + max([self._segment_list().number, *(int(match[1]) for match in named if match is not None)])
        stem = f"{self._path.stem}-{self._wall_clock():%Y%m%d-%H%M%S}"
        name = create_new(
            self._path.with_name(f"{stem}-{number:04d}{self._path.suffix}") for number in itertools.count(first)
        )
        self._segment_list().put(name.name)
        self._written = [path for path in self._written if path.is_file()] + [name]
        return name

    def _finish(self) -> None:
        current = self._name
        if current is None:
            return
        try:
            self._finalize()
        except RunError as error:
            if not _disk_is_full(error):
                raise
            log.warning("%s", error)
        finally:
            self._name = None
            remove_empty(current)
            if current.exists():
                self._segment_list().put(current.name)
            else:
                self._segment_list().remove(current.name)

    def _segment_list(self) -> SegmentList:
        if self._list is None:
            self._list = SegmentList(self._path, self._pattern, self._clock)
        return self._list

    def _segment_bytes(self) -> dict[Path, int]:
        """Sizes of the segments that may be deleted, oldest first: those in the list that are there and not inputs."""
        found = {}
        for name in self._segment_list().names:
            path = self._path.with_name(name)
            if path.is_symlink() or not path.is_file():
                self._segment_list().remove(name)  # somebody deleted or replaced it
            elif path not in self._outputs.inputs:
                found[path] = path.stat().st_size
        return found

    def _delete_old(self) -> None:
        """Delete segments beyond the limits."""
        written, segments = self._segment_list(), self._segment_bytes()
        total_bytes = sum(segments.values())
        keep_s = self._settings.keep_s or float("inf")
        newest = next(reversed(segments), None)
        for path, size in segments.items():
            if path == self._name:
                continue
            too_large = self._settings.keep_bytes is not None and total_bytes > self._settings.keep_bytes
            too_old = written.age_s(path.name) > keep_s
            # If all but the newest do not free enough space, something else fills the disk.
            frees_space = path != newest and self._is_full()
            if too_large or too_old or frees_space:
                try:
                    path.unlink()
                except OSError as error:
                    log.warning("the old recording %s could not be deleted: %s", path, error.strerror or error)
                    continue
                log.info("deleted the old recording %s", path)
                written.remove(path.name)
                total_bytes -= size
        written.save_when_due()

    def _pause_or_resume(self, may_pause: bool) -> None:
        """Pause if the disk is too full and something is to be recorded; resume if there is room."""
        if self._is_full():
            if may_pause:
                self._pause(f"less than {self._settings.min_free_bytes / 1e6:g} MB are free in {self._path.parent}")
        elif self._paused:
            log.warning("recording resumed without %s", plural(self._skipped_frames, "frame"))
            self._paused, self._skipped_frames = False, 0

    def _is_full(self) -> bool:
        wanted = self._settings.min_free_bytes * (_RESUME_FACTOR if self._paused else 1.0)
        return self._free_bytes(self._path.parent) < wanted

    def _pause_if_full(self, error: RunError) -> None:
        """Pause if writing failed because the disk is full. Raises the error if that is not so."""
        if not _disk_is_full(error):
            raise error
        self._pause(str(error))

    def _pause(self, reason: str) -> None:
        if not self._paused:
            log.warning("recording paused: %s", reason)
        self._paused = True
        self._finish()


def make_recorder(settings: RecorderSettings, outputs: Outputs) -> Recorder | SegmentRecorder:
    """Makes the recorder for the settings: one file, or segments."""
    return Recorder(settings, outputs) if settings.segment_s is None else SegmentRecorder(settings, outputs)


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in _DISK_FULL:
            return True
        error = error.__cause__
    return False
