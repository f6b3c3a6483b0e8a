"""Writes files atomically: under a temporary name, which is replaced by the final name when the file is complete."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

REPLACE_WAIT_S = 5.0
"""How long a file may stay open in another program, under Windows."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing, and replace `path` by it when the block succeeds.

    Args:
        path: the file; its folder must exist.

    Raises:
        OSError: the file cannot be written (disk full, no permission); the error names `path`. After this or any other
            error in the block, an existing file is untouched and the temporary file is removed.
    """
    # Not by tempfile, which tries other names for hours in a folder that may not be written under Windows.
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(part, path)
    except BaseException as error:
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


def _replace(part: Path, path: Path) -> None:
    """Windows replaces no file that is open: there, wait for whoever reads it, such as `evaluate` beside `train`."""
    give_up_s = time.monotonic() + REPLACE_WAIT_S
    while True:
        try:
            os.replace(part, path)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= give_up_s:
                raise
        time.sleep(0.1)


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about the file being written: a full disk names no file, other errors the temporary one."""
    return error.filename is None or os.path.basename(error.filename).startswith(path.name + ".")
