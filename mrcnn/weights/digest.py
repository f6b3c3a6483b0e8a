"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: Path) -> str:
    """The same, computed once while size and time of the file stay as they are."""
    stat = path.stat()
    return _remembered(path.absolute(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _remembered(path: Path, size: int, changed_ns: int) -> str:
    return sha256_of(path)
