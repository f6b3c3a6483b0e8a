"""The folder for what a program keeps for its user and can make or fetch again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """This program's folder in the user's cache, by the custom of the system; it may not be there yet.

    For a user without a home, such as a bare number in a container, it lies below the root, rarely writable.
    """
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "stream_segment"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.sep)
