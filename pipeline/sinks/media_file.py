"""The file that a recording is written to."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pipeline.sinks.paths import write_all

log = logging.getLogger(__name__)


class MediaFile:
    """An unbuffered file for PyAV that ignores all writes after the first failed one.

    Finalizing a recording rewrites its header to point at an index at the end. If the disk is too full for that index,
    the old header is restored, so that the recording still plays. The index is on the disk before the header points at
    it: a power cut in between leaves the fragments playable.

    A FIFO is opened once something reads it: what is written before would be lost if nothing ever does, and a reader
    that leaves would not be noticed.

    Args:
        path: the file; created or truncated.
        clock: seconds on a monotonic clock.
        sync_every_s: interval between two calls of fsync, against power failures.
    """

    def __init__(self, path: Path, clock: Callable[[], float], sync_every_s: float = 5.0) -> None:
        self._file: BinaryIO = _opened_fifo(path) if path.is_fifo() else open(path, "w+b", buffering=0)
        self._clock = clock
        self._sync_every_s = sync_every_s
        self._synced_at_s = clock()
        self._overwritten: list[tuple[int, bytes]] | None = None
        self.error: OSError | None = None

    def begin_finalizing(self) -> None:
        """From now on save what is overwritten, to restore it if a write fails."""
        self._overwritten = [] if self.seekable() else None  # nothing is overwritten in a pipe

    def write(self, data: bytes) -> int:
        """Write all of `data`. Raises OSError (disk full …) once; later calls are ignored."""
        if self.error is not None:
            return len(data)
        try:
            if self._overwritten is not None:
                self._save(self._overwritten, len(data))
            write_all(self._file, data)
        except OSError as error:
            self.error = error
            self._restore()
            raise
        return len(data)

    def _save(self, overwritten: list[tuple[int, bytes]], size: int) -> None:
        offset = self._file.tell()
        old = self._file.read(size)
        self._file.seek(offset)
        if old:
            os.fsync(self._file.fileno())
            overwritten.append((offset, old))

    def _restore(self) -> None:
        for offset, old in reversed(self._overwritten or []):
            self._file.seek(offset)
            write_all(self._file, old)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See io.RawIOBase.seek."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See io.RawIOBase.tell."""
        return self._file.tell()

    def seekable(self) -> bool:
        """See io.RawIOBase.seekable; False for a pipe."""
        return self._file.seekable()

    def sync_if_due(self) -> None:
        """Call fsync if the last call is `sync_every_s` ago. Raises OSError."""
        now_s = self._clock()
        if self.error is None and now_s - self._synced_at_s >= self._sync_every_s:
            self._synced_at_s = now_s
            if self.seekable():  # a pipe has nothing to flush, and refuses
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def _opened_fifo(path: Path) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        log.info("waiting for a program that reads the FIFO %s", path)
        descriptor = os.open(path, os.O_WRONLY)
    return open(descriptor, "wb", buffering=0)
