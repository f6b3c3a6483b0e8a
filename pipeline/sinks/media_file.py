"""The file under a recording: written straight to its path, so that what is in it survives the end of the process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


class MediaFile:
    """What PyAV writes to: unbuffered, and after the first failed write everything is swallowed.

    Finishing a recording rewrites its head to point at an index at the end. Where the disk is too full for that index,
    the old head comes back: with it, what was written before still plays.

    Args:
        path: the file; made or emptied.
        clock: seconds on a monotonic clock.
        sync_every_s: how often what was written is forced from memory to the disk, against power cuts.
    """

    def __init__(self, path: Path, clock: Callable[[], float], sync_every_s: float = 5.0) -> None:
        self._file: BinaryIO = open(path, "w+b", buffering=0)
        self._clock = clock
        self._sync_every_s = sync_every_s
        self._synced_at_s = clock()
        self._replaced: list[tuple[int, bytes]] | None = None
        self.error: OSError | None = None

    def finishing(self) -> None:
        """From now on remember what is written over, to bring it back if a write fails."""
        self._replaced = []

    def write(self, data: bytes) -> int:
        """Write all of it; raises OSError (disk full …) once, and later says nothing."""
        if self.error is not None:
            return len(data)
        try:
            if self._replaced is not None:
                self._remember(len(data))
            self._write_all(data)
        except OSError as error:
            self.error = error
            self._bring_back()
            raise
        return len(data)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view) > 0:
            view = view[self._file.write(view) :]

    def _remember(self, size: int) -> None:
        assert self._replaced is not None
        offset = self._file.tell()
        old = self._file.read(size)
        self._file.seek(offset)
        if old:
            self._replaced.append((offset, old))

    def _bring_back(self) -> None:
        for offset, old in reversed(self._replaced or []):
            self._file.seek(offset)
            self._write_all(old)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of files."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of files."""
        return self._file.tell()

    def seekable(self) -> bool:
        """As of files: False for a pipe."""
        return self._file.seekable()

    def sync_if_due(self) -> None:
        """Force what was written to the disk if that was long ago. Raises OSError."""
        now_s = self._clock()
        if self.error is None and now_s - self._synced_at_s >= self._sync_every_s:
            self._synced_at_s = now_s
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()
