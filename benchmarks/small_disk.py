"""A file system of a few megabytes, which a test fills and empties."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any
from unittest import mock

TOP_UP_S = 0.2
"""How often a disk that is to be full is filled again, while others delete their files."""
_CHUNK = bytes(1 << 16)


class SmallDisk:
    """A tmpfs, or where this process may not mount one, a folder that reports so little free space; a context manager.

    Args:
        folder: where it lies; created.
        size_bytes: its capacity.

    Attributes:
        folder: of the files.
        kind: which of the two it is, in words.
        fills: how often it was filled.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder, self._size_bytes = folder, size_bytes
        self.kind = ""
        self.fills = 0
        self._mounted = False
        self._filler = folder / "somebody else's file"
        self._emptied = threading.Event()
        self._thread: threading.Thread | None = None
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mounted = _mount(self.folder, self._size_bytes)
        size = f"{self._size_bytes / 1e6:.0f} MB"
        if self._mounted:
            self.kind = f"tmpfs of {size}"
        else:
            self.kind = f"folder that reports the free space of a disk of {size} (tmpfs cannot be mounted)"
            self._undo.enter_context(mock.patch("shutil.disk_usage", self._usage(shutil.disk_usage)))
        return self

    def __exit__(self, *_error: object) -> None:
        self.empty()
        self._undo.close()
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, leave_bytes: int) -> None:
        """Fill it up to these free bytes, and again when somebody frees some, until `empty`."""
        self.fills += 1
        self._emptied.clear()
        self._thread = threading.Thread(target=self._keep_full, args=(leave_bytes,), name="soak disk filler")
        self._thread.start()

    def empty(self) -> None:
        """Remove what fills it."""
        self._emptied.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._filler.unlink(missing_ok=True)

    def _keep_full(self, leave_bytes: int) -> None:
        while not self._emptied.is_set():
            with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
                while shutil.disk_usage(self.folder).free > leave_bytes and not self._emptied.is_set():
                    file.write(_CHUNK)
            self._emptied.wait(TOP_UP_S)

    def _usage(self, real: Any) -> Any:
        def usage(path: Any) -> Any:
            if not Path(path).absolute().is_relative_to(self.folder.absolute()):
                return real(path)
            used = 0
            for name in os.listdir(self.folder):
                with contextlib.suppress(FileNotFoundError):
                    used += (self.folder / name).stat().st_size
            return shutil._ntuple_diskusage(self._size_bytes, used, max(0, self._size_bytes - used))

        return usage


def _mount(folder: Path, size_bytes: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
