"""Writes files atomically: under a temporary name, which is replaced by the final name when the file is complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing, and replace `path` by it when the block succeeds.

    Args:
        path: the file; its folder must exist.

    Raises:
        OSError: the file cannot be written (disk full, no permission); the error names `path`. After this or any other
            error in the block, an existing file is untouched and the temporary file is removed.
    """
    part: str | None = None
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())  # only the owner can access files from mkstemp
        os.replace(part, path)
    except BaseException as error:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)
        if isinstance(error, OSError) and error.errno is not None and _concerns(error, path):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file atomically, text as UTF-8. Raises OSError, see `whole_file`.

    Lone surrogates, as in file names that the locale's encoding cannot decode, become escapes that JSON can read.
    """
    with whole_file(path) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about the file being written: a full disk names no file, other errors the temporary one."""
    return error.filename is None or os.path.basename(error.filename).startswith(path.name + ".")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
