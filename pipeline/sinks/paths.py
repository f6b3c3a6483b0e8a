"""Output files: checks of their paths before anything is written, numbered names, unbuffered writing."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import InputError
from pipeline.file_names import check_name

Identity = tuple[int, int]
"""Device and inode: two paths with the same identity are the same file, even through links."""


def identity(path: Path) -> Identity | None:
    """The identity of the file at a path; None if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files that a run reads, which no output may overwrite."""

    identities: frozenset[Identity] = field(default=frozenset())

    @classmethod
    def of(cls, paths: Iterable[str | Path | None]) -> Inputs:
        """The inputs at paths, in folders (every file) and matching globs; other texts (cameras, URLs) are ignored."""
        found = (identity(path) for text in paths if text is not None for path in _expand(str(text)))
        return cls(frozenset(one for one in found if one is not None))

    def __contains__(self, path: Path) -> bool:
        return identity(path) in self.identities


def _expand(text: str) -> Iterable[Path]:
    path = Path(text)
    if path.is_dir():
        yield from (child for child in path.iterdir() if child.is_file())
    elif identity(path) is not None:
        yield path
    else:
        yield from (Path(match) for match in glob.glob(text, recursive=True))


def check_output_file(path: Path, option: str, inputs: Inputs) -> None:
    """Raises InputError if this file cannot be written, or is one that the run reads.

    Args:
        path: the file to write.
        option: the command-line option ("--output"), for messages.
        inputs: files that must not be overwritten.
    """
    check_name(path, option)
    if path in inputs:
        raise InputError(f"{option} {path} is the input itself: give the output another name.")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder, expected a file name such as {path / ('out' + path.suffix)}.")
    check_folder(path.parent, f"{option} {path}")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{option} {path} exists and cannot be written: check its permissions or give another name.")


def check_folder(folder: Path, what: str) -> None:
    """Raises InputError unless `folder` exists and is writable; the message begins with `what`."""
    if not folder.exists():
        raise InputError(f"{what}: the folder {folder} does not exist. Create it first, or give another path.")
    if not folder.is_dir():
        raise InputError(f"{what}: {folder} is not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{what}: the folder {folder} cannot be written to. Check its permissions, or give another.")


def numbered(path: Path) -> Iterator[Path]:
    """Alternatives for a name that may be taken: out.mp4, out-2.mp4, out-3.mp4 …"""
    yield path
    yield from (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, whose `write` may accept only part of it."""
    view = memoryview(data)
    while len(view) > 0:
        view = view[file.write(view) :]
