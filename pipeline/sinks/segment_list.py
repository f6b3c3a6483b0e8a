"""The list of the segments that this program has written, kept in a file beside them: only these are ever deleted."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.sinks.paths import numbered, replace_file

log = logging.getLogger(__name__)


class SegmentList:
    """Names of segments, oldest first, with the running time at which each ended.

    Running time is what a monotonic clock counts while recording, over all runs: a machine without a battery-backed
    clock jumps by years when it first gets the time, and no segment must look old because of that.

    The list of kiosk.mp4 is `.kiosk.mp4.segments`, under an exclusive lock while a process records; another process
    that records to the same path keeps a list of its own (`.kiosk-2.mp4.segments`).

    Args:
        path: the path that the segments are named after.
        name_pattern: of the names of segments; other entries of a list are ignored.
        clock: seconds, monotonic.
    """

    def __init__(self, path: Path, name_pattern: re.Pattern[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opened_at_s = clock()
        self._run_s = 0.0
        self._ended_s: dict[str, float] = {}
        self._lock, self._file = _locked_list(numbered(path))
        if self._file is not None:
            self._load(self._file, name_pattern)

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
        self._save()

    def remove(self, name: str) -> None:
        """Remove a segment that was deleted."""
        del self._ended_s[name]
        self._save()

    def close(self) -> None:
        """Save the running time and leave the list to other processes. May be called twice."""
        if self._lock is not None:
            self._save()
            self._lock.close()
            self._lock = self._file = None

    def _now_s(self) -> float:
        return self._run_s + self._clock() - self._opened_at_s

    def _load(self, file: Path, name_pattern: re.Pattern[str]) -> None:
        try:
            stored = json.loads(file.read_bytes())
            self._run_s = float(stored["run_s"])
            ended_s = {str(name): float(time_s) for name, time_s in stored["segments"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read (%s): segments of earlier runs are kept", file, error)
            return
        self._ended_s = {name: time_s for name, time_s in ended_s.items() if name_pattern.fullmatch(name)}

    def _save(self) -> None:
        if self._file is None:
            return
        content = {"run_s": round(self._now_s(), 3), "segments": list(self._ended_s.items())}
        try:
            replace_file(self._file, json.dumps(content).encode("ascii"), durable=True)
        except OSError as error:
            log.warning("the list of segments %s was not saved: %s", self._file, error.strerror or error)


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
        return lock, name.with_name(f".{name.name}.segments")
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
