"""The folder for what a program keeps for its user and can make or fetch again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """This program's folder in the user's cache, by the custom of the system; it may not be there yet."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "stream_segment"
