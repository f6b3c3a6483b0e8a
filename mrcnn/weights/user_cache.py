"""The folders for files that the program caches for a user and can create or download again."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

_temporary: list[str] = []


def user_cache() -> Path:
    """This program's folder in the platform's cache folder; it may not exist yet.

    For a user without a home folder, such as a bare user id in a container, it is below the root, rarely writable.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "stream_segment"


@cache
def temporary_cache(prefix: str) -> Path:
    """A folder in place of one that cannot be written; the same for each prefix, removed when the process ends.

    Raises:
        OSError: it cannot be created.
    """
    folder = tempfile.mkdtemp(prefix=prefix)
    _temporary.append(folder)
    return Path(folder)


@atexit.register
def remove_temporary() -> None:
    """Remove the folders of `temporary_cache`; to be called before `os._exit`, which calls no exit handlers."""
    while _temporary:
        shutil.rmtree(_temporary.pop(), ignore_errors=True)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.sep)
