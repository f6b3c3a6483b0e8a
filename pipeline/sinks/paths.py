"""Input and output files of a run: no file that it reads is written over, and no existing file is replaced unasked."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import shutil
import stat
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import InputError
from pipeline.file_names import check_name
from pipeline.segmentation.weights_file import find_weights
from pipeline.settings.schema import Settings
from pipeline.sources.uri import UriKind, parse_uri

log = logging.getLogger(__name__)

Identity = tuple[int, int]
"""Device and inode: two paths with the same identity are the same file, even through links."""

FOLDER_MARK = ".stream_segment-writing"
"""Lies in an output folder while a run writes to it, so that a second run takes another folder."""

_STANDARD_STREAM = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/[^/]+/fd/\d+")


def identity(path: Path) -> Identity | None:
    """The identity of the file at a path; None if there is none, or if its file system numbers no files.

    Some network drives of Windows give every file the number 0; files without an identity are compared by name.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def is_same_file(path: Path, other: Path) -> bool:
    """Whether two paths name the same file, which need not exist yet."""
    here, there = identity(path), identity(other)
    if here is not None or there is not None:
        return here == there
    path, other = path.resolve(), other.resolve()
    folder = identity(path.parent)
    if path != other and (folder is None or folder != identity(other.parent)):
        return False
    return path.name == other.name or (path.name.casefold() == other.name.casefold() and _ignores_case(path.parent))


def _ignores_case(folder: Path) -> bool:
    """Whether the folder's file system treats "a" and "A" as the same name; False if that cannot be probed."""
    probe = folder / f".probe-case-{uuid.uuid4().hex}"  # not by tempfile: see `mrcnn.weights.whole_file`
    try:
        probe.mkdir()
        try:
            return probe.with_name(probe.name.upper()).exists()
        finally:
            probe.rmdir()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files that a run reads, which no output may overwrite.

    Attributes:
        identities: of the files that exist.
        missing: the files that may appear later.
    """

    identities: frozenset[Identity] = field(default=frozenset())
    missing: tuple[Path, ...] = ()

    @classmethod
    def of(cls, paths: Iterable[str | Path | None]) -> Inputs:
        """The inputs at these paths, and the files directly in those that are folders."""
        files = [file for path in paths if path is not None for file in _files_at(Path(path).expanduser())]
        found = {file: identity(file) for file in files}
        return cls(
            frozenset(one for one in found.values() if one is not None),
            tuple(file for file, one in found.items() if one is None),
        )

    @classmethod
    def of_run(cls, settings: Settings) -> Inputs:
        """Everything that a run with these settings reads from disk."""
        weights = None
        with contextlib.suppress(InputError):
            weights = find_weights(settings.model.weights).path
        attract = settings.attract
        pictures = (settings.background.picture, attract.picture, attract.video, attract.logo)
        others = (weights, settings.model.labels, settings.loaded_from, *pictures)
        files: list[Path] = []
        with contextlib.suppress(InputError):  # opening the source says what is wrong with it
            target = parse_uri(settings.source.uri.reveal())
            files = [Path(target.location)] if target.kind is UriKind.VIDEO else list(target.images)
        return cls.of([*files, *others])

    def __contains__(self, path: Path) -> bool:
        return identity(path) in self.identities or any(is_same_file(path, other) for other in self.missing)


def _files_at(path: Path) -> list[Path]:
    try:
        return [child for child in path.iterdir() if child.is_file()] if path.is_dir() else [path]
    except (OSError, ValueError):
        return [path]


class Outputs:
    """The files that a run writes.

    A sink claims its path when it opens, which writes nothing, and gets the name to write to with its first frame. If
    one of the claimed paths is taken, all get the same number: out-2.mp4 and out-2.jsonl.

    Args:
        inputs: files that must not be overwritten.
        overwrite: use the claimed paths themselves, and replace what is there.
        reports: whether other names than the claimed ones are logged.
    """

    def __init__(self, inputs: Inputs | None = None, overwrite: bool = False, reports: bool = True) -> None:
        self.inputs = inputs or Inputs()
        self._overwrite = overwrite
        self._reports = reports
        self._claims: dict[Path, str] = {}
        self._folders: set[Path] = set()
        self._names: dict[Path, Path] = {}
        self._made: list[Path] = []
        self._lock = threading.Lock()

    def claim_file(self, path: Path, option: str) -> None:
        """Raises InputError if this file cannot be written, is read by the run, or is another output's.

        Args:
            path: the file to write.
            option: the command-line option ("--output"), for messages.
        """
        check_output_file(path, option, self.inputs)
        self._claim(path, option)

    def claim_folder(self, path: Path, option: str) -> None:
        """Raises InputError if this folder cannot be written, holds a file that the run reads, or is another output's.

        It is created with the first frame, with its parents.
        """
        check_name(path, option)
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        check_folder(existing, f"{option} {path}")
        entry = next((entry for entry in _files_at(path) if entry in self.inputs), None)
        if entry is not None:
            raise InputError(f"{option} {path} contains {entry.name}, which this run reads: give another folder.")
        self._claim(path, option)
        self._folders.add(path)

    def _claim(self, path: Path, option: str) -> None:
        for other, other_option in self._claims.items():
            if is_same_file(path, other):
                raise InputError(f"{other_option} and {option} are both {path}: give them different names.")
        self._claims[path] = option

    def name_of(self, path: Path) -> Path:
        """The name to write a claimed path to, reserved by an empty file or a marked folder. Raises OSError."""
        with self._lock:
            if not self._names:
                self._names = self._reserved()
        return self._names[path]

    @contextlib.contextmanager
    def reserved(self, path: Path) -> Iterator[Path]:
        """The name of a claimed path, or the path itself if it is not claimed; released at the end of the block.

        Raises:
            InputError: it cannot be created.
        """
        try:
            name = self.name_of(path) if path in self._claims else path
        except OSError as error:
            raise InputError(f"{self._claims[path]} {path} cannot be created: {error.strerror or error}") from None
        try:
            yield name
        finally:
            self.release(path)

    def release(self, path: Path) -> None:
        """Give a claim up, and remove what reserved its path: an empty file, mark or folder. May be called twice."""
        with self._lock:
            self._claims.pop(path, None)  # another output may still be to be reserved, after this one has failed
            name = self._names.get(path)
            for made in reversed([made for made in self._made if name in (made, made.parent)]):
                remove_empty(made)
                self._made.remove(made)

    def _reserved(self) -> dict[Path, Path]:
        if self._overwrite:
            for folder in self._folders:
                folder.mkdir(parents=True, exist_ok=True)
            return {path: path for path in self._claims}
        for number in itertools.count(1):
            names = {path: self._numbered(path, number) for path in self._claims}
            try:
                for path, name in names.items():
                    self._reserve(name, path in self._folders)
            except FileExistsError:
                self._undo()
            except OSError:
                self._undo()
                raise
            else:
                self._report(names, number)
                return names
        raise AssertionError("there are always more numbers")

    def _numbered(self, path: Path, number: int) -> Path:
        if number == 1 or is_exempt(path):
            return path
        if path not in self._folders:
            return with_number(path, number)
        path = path.absolute() if not path.name else path  # "."
        return path.with_name(f"{path.name}-{number}")

    def _reserve(self, name: Path, is_folder: bool) -> None:
        if is_folder:
            name.parent.mkdir(parents=True, exist_ok=True)
            if not name.is_dir():
                name.mkdir()
                self._made.append(name)
            elif any(name.iterdir()):
                raise FileExistsError(f"{name} is not empty")
            self._made.append(create_new([name / FOLDER_MARK]))
        elif not is_exempt(name):
            self._made.append(create_new([name]))

    def _undo(self) -> None:
        for made in reversed(self._made):
            remove_empty(made)
        self._made = []

    def _report(self, names: dict[Path, Path], number: int) -> None:
        if number > 1 and self._reports:
            taken = [str(path) for path in self._claims if path.exists() and names[path] != path]
            new = [str(name) for path, name in names.items() if name != path]
            log.info(
                "%s %s: this run writes %s (--overwrite replaces)",
                " and ".join(taken) or "an output",
                "exist" if len(taken) > 1 else "exists",
                " and ".join(new),
            )


def is_exempt(path: Path) -> bool:
    """Whether nothing can be lost by writing to it: devices, FIFOs, and this process's standard streams."""
    if _STANDARD_STREAM.fullmatch(str(path)):
        return True
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still write to the disk of a folder. Raises OSError."""
    return shutil.disk_usage(folder).free


def remove_empty(path: Path) -> None:
    """Remove a file without content or an empty folder; leave anything else."""
    with contextlib.suppress(OSError):
        if path.is_dir():
            path.rmdir()
        elif path.stat().st_size == 0:
            path.unlink()


def check_output_file(path: Path, option: str, inputs: Inputs) -> None:
    """Raises InputError if this file cannot be written, or is one that the run reads.

    Args:
        path: the file to write.
        option: the command-line option ("--output"), for messages.
        inputs: files that must not be overwritten.
    """
    check_name(path, option)
    if path in inputs:
        raise InputError(f"{option} {path} is a file that this run reads: give the output another name.")
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


def with_number(path: Path, number: int) -> Path:
    """out.mp4 for 1, out-2.mp4 for 2 …"""
    return path if number == 1 else path.with_stem(f"{path.stem}-{number}")


def numbered(path: Path) -> Iterator[Path]:
    """Alternatives for a name that may be taken: out.mp4, out-2.mp4, out-3.mp4 …"""
    return (with_number(path, number) for number in itertools.count(1))


def create_new(paths: Iterable[Path]) -> Path:
    """Create an empty file at the first path that is free, and return it.

    Another process that does the same gets another path.

    Raises:
        FileExistsError: all are taken.
        OSError: the folder cannot be written.
    """
    path = None
    for path in paths:
        with contextlib.suppress(FileExistsError), open(path, "xb"):
            return path
    raise FileExistsError(f"{path} exists")


def replace_file(path: Path, data: bytes, durable: bool = False, mode: int = 0o666) -> None:
    """Write a whole file atomically: readers see the old one or the new one.

    Args:
        path: the file; its folder must exist.
        data: its new content.
        durable: whether this holds after a power cut too, which costs an fsync.
        mode: permissions of the file, before the umask.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    # Of the name only the end: with the rest it could be longer than file systems allow, where the name itself is not.
    partial = path.with_name(f".{path.name[-40:]}.{os.getpid()}.part")
    try:
        with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data` to an unbuffered file, whose `write` may accept only part of it."""
    view = memoryview(data)
    while len(view) > 0:
        view = view[file.write(view) :]
