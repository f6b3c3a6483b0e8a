"""Operations on files that several machines share, each of which survives an interruption as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import posixpath
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pipeline.sinks.paths import replace_file

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
"""EINVAL is what Windows says: "Incorrect function" (FAT), "not supported", "too many links"."""
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EXDEV}
"""Why a single file cannot be put where it belongs, while others can; EACCES is what Windows says of a folder there."""

Record = dict[str, Any]
"""What is kept of a recording, as JSON has it."""


class InTheWayError(OSError):
    """Something that is there already keeps a file from being put into place."""


def path_in(folder: Path, key: str) -> Path:
    """Where the record with a key lies below a folder; spread over subfolders, so that none has very many."""
    return folder / key[:2] / f"{key}.json"


def names_in(folder: Path) -> Iterator[str]:
    """The names of the files two levels down, without their suffix; files one level down are a file manager's."""
    for part in entries_in(folder):
        with contextlib.suppress(NotADirectoryError), os.scandir(part) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    yield entry.name[: -len(".json")]


def entries_in(folder: Path) -> list[Path]:
    """What lies in a folder; nothing if it is not there."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def bytes_of(record: Record) -> bytes:
    """A record as it is written."""
    return json.dumps(record, ensure_ascii=True).encode("ascii") + b"\n"


def read_record(path: Path) -> Record | None:
    """A record; None if it is not there, cannot be read, or was cut short where the file system has no links."""
    try:
        return readable_record(path)
    except OSError:
        return None


def readable_record(path: Path) -> Record | None:
    """The same, but raises OSError if it is there and cannot be read."""
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def remove_if_possible(path: Path) -> None:
    """Remove a file whose remains do no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_record(path: Path, record: Record) -> None:
    """Write a record that survives a power cut. Raises OSError."""
    with open(path, "wb") as file:
        file.write(bytes_of(record))
        file.flush()
        os.fsync(file.fileno())


def flush(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a power cut; Windows does that for folders."""
    if os.name != "posix" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def link_new(source: Path, target: Path) -> bool:
    """Give a complete file a second name; False if that exists.

    File systems without links (FAT, some network drives) copy and rename it: there, two that do this in the same
    instant both succeed.
    """
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    if target.exists():
        return False
    replace_file(target, source.read_bytes(), durable=True)
    return True


def in_the_way(root: Path, name: str) -> str | None:
    """What keeps a file from being put below a folder: a file where its folder must be, or a folder at its name."""
    *folders, file = accumulate(name.split("/"), posixpath.join)
    files = (one for one in folders if os.path.lexists(root / one) and not os.path.isdir(root / one))
    return next(files, file if os.path.isdir(root / file) else None)


def move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename files, each from a source to a target whose folder is made; those moved before are no longer there.

    Raises:
        InTheWayError: something is in the way of one; all are back where they were.
        OSError: the targets cannot be written; some may have been moved.
    """
    try:
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # moved before an interruption, or by another driver
                os.replace(source, target)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        for source, target in moves:
            if not source.exists():
                with contextlib.suppress(OSError):
                    os.replace(target, source)
        raise InTheWayError(error.errno, error.strerror, error.filename2 or error.filename) from error
