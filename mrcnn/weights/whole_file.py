"""Files that are there whole or not at all: written under another name, and put in place when they are complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write in the block; it takes the place of `path` when the block has ended well.

    Args:
        path: the file; its folder must exist.

    Raises:
        OSError: it cannot be written (disk full, no permission); it names `path`. What was there is untouched, and
            nothing else is left behind, also after any other error of the block.
    """
    part: str | None = None
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o666 & ~_umask())  # mkstemp's files are their owner's alone
        os.replace(part, path)
    except BaseException as error:
        if part is not None:
            with contextlib.suppress(OSError):
                os.unlink(part)
        if isinstance(error, OSError) and error.errno is not None and _concerns(error, path):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8. Raises OSError as `whole_file` does.

    Lone surrogates, as in file names that the locale's encoding cannot read, become escapes that JSON reads back.
    """
    with whole_file(path) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is of the file that is written: a full disk names no file, other errors the temporary one."""
    return error.filename is None or os.path.basename(error.filename).startswith(path.name + ".")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
