"""The recordings of a batch: those of folders, lists and globs, with their sizes and times; finding them opens none."""

from __future__ import annotations

import codecs
import glob
import hashlib
import logging
import os
import posixpath
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from pipeline.errors import InputError
from pipeline.file_names import user_path
from pipeline.safe_uri import safe_name
from pipeline.sinks.recorder import FORMATS
from pipeline.sources.uri import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

RECORDING_SUFFIXES = VIDEO_SUFFIXES | frozenset(
    ".3g2 .264 .265 .asf .avchd .dav .dv .f4v .gif .h264 .h265 .hevc .m1v .m2v .mjpeg .mjpg .mpe .mts .mxf .ogg .ogm "
    ".qt .rm .rmvb .vob .y4m".split()
)
"""What is taken of a folder. A file that is named itself, or in a list, may have any suffix."""
_IGNORE_CASE = ("win32", "darwin")
"""Systems on which "a" and "A" are the same file, as a rule."""
PARTIAL_BYTES = 65536
"""How much of the beginning and of the end of a recording its hash covers."""
HIDDEN = "hidden"
"""What files and folders are counted as whose names begin with a dot."""


@dataclass(frozen=True, slots=True, order=True)
class Recording:
    """One input.

    Attributes:
        name: under which its results lie: a relative path with forward slashes.
        path: where it is.
        size: bytes; 0 if it was not there.
        mtime_ns: time of the last change, nanoseconds since 1970; 0 if it was not there.
    """

    name: str
    path: str
    size: int
    mtime_ns: int

    def again(self) -> Recording:
        """The same with its present size and time."""
        return recording_at(self.name, self.path)

    @property
    def video_name(self) -> str:
        """Name of the annotated video: in the recording's own format, if that can be written."""
        return self.name if os.path.splitext(self.name)[1].lower() in FORMATS else f"{self.name}.mp4"

    @property
    def detections_name(self) -> str:
        """Name of the detections file."""
        return f"{self.name}.jsonl"


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        recordings: sorted by name; each name once.
        ignored: how many files of folders were left out, by suffix.
    """

    recordings: Sequence[Recording]
    ignored: Counter[str] = field(default_factory=Counter)


def recording_at(name: str, path: str) -> Recording:
    """A recording with the size and time of the file at a path, which may be missing."""
    try:
        status = os.stat(path)
    except OSError:
        return Recording(name, path, 0, 0)
    return Recording(name, path, status.st_size, status.st_mtime_ns)


def partial_hash(path: str) -> str:
    """SHA-256 of the size, the first and the last bytes of a file. Raises OSError."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(f"{size} ".encode())
        digest.update(file.read(PARTIAL_BYTES))
        if size > PARTIAL_BYTES:
            file.seek(max(PARTIAL_BYTES, size - PARTIAL_BYTES))
            digest.update(file.read(PARTIAL_BYTES))
    return digest.hexdigest()


def find_recordings(inputs: Sequence[str], results: Path) -> Found:
    """The recordings that the user named.

    Args:
        inputs: folders, files, globs, and `@FILE` with one of these on each line.
        results: the folder of the results, which is not searched.

    Raises:
        InputError: an input does not exist, nothing is found, or two recordings would have the same results. What a
            list names may be missing: that is for the batch to report.
    """
    search = _Search(results)
    for text in inputs:
        if text.startswith("@"):
            for line in _lines(text[1:]):
                search.add(line, must_exist=False)
        else:
            search.add(text, must_exist=True)
    recordings = sorted(search.found.values())
    if not recordings:
        raise InputError(f"no recordings found in {', '.join(map(safe_name, inputs))}{_left_out(search.ignored)}")
    _check_outputs(recordings)
    return Found(recordings, search.ignored)


def ignored_text(ignored: Counter[str]) -> str:
    """What was left out, such as "12 files without a video suffix: 10 .txt, 2 hidden"; "" if nothing was."""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in ignored.most_common(8))
    return f"{ignored.total()} files that are no recordings by their names: {kinds}" if ignored else ""


def _left_out(ignored: Counter[str]) -> str:
    return f"; left out: {ignored_text(ignored)}" if ignored else ""


def _lines(text: str) -> list[str]:
    path = user_path(text, "the list")
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
        return [os.fsdecode(line.removesuffix(b"\r")) for line in lines if line.strip()]
    except OSError as error:
        raise InputError(f"the list {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:  # under Windows only; PowerShell 5 writes UTF-16 unless told otherwise
        raise InputError(f"the list {path} is not UTF-8: write it with `| Out-File -Encoding utf8 {path}`") from None


def _check_outputs(recordings: Sequence[Recording]) -> None:
    """Raises InputError if two would be written to the same file, as a.avi and a.avi.mp4 would, or a.mp4 and A.mp4.

    Nor can one be written to what is a folder of another one's, as a.mp4 and a.mp4/b.mp4 of two folders would.
    """
    writers: dict[str, str] = {}
    for recording in recordings:
        for name in (recording.video_name, recording.detections_name):
            other = writers.setdefault(_one_case(name), recording.name)
            if other != recording.name:
                raise InputError(f"{other} and {recording.name} would both give {name}: rename one")
    for recording in recordings:
        for folder in accumulate(recording.name.split("/")[:-1], posixpath.join):
            other = writers.get(_one_case(folder), "")
            if other:
                raise InputError(f"{other} would give the file {folder}, a folder for {recording.name}: rename one")


def _one_case(name: str) -> str:
    return name.casefold() if sys.platform in _IGNORE_CASE else name


class _Search:
    """Collects recordings by name."""

    def __init__(self, results: Path) -> None:
        self.found: dict[str, Recording] = {}
        self.ignored: Counter[str] = Counter()
        self._results = _folder_identity(results)

    def add(self, text: str, must_exist: bool) -> None:
        """Add a folder, a file or what a glob matches."""
        path = str(user_path(text, "input"))
        if os.path.isdir(path) and _folder_identity(Path(path)) == self._results:
            raise InputError(f"{safe_name(path)} has the recordings and gets the results: give another --output")
        if os.path.isdir(path):
            self._add_folder(path)
        elif os.path.lexists(path):
            self._add_file(path)
        elif glob.has_magic(path) and (matches := sorted(glob.glob(path, recursive=True))):
            for match in matches:
                self._add_folder(match) if os.path.isdir(match) else self._add_file(match)
        elif must_exist:
            what = "no file matches" if glob.has_magic(path) else "there is no file or folder"
            raise InputError(f"{what} {safe_name(path)}")
        else:
            self._add_file(path)

    def _add_folder(self, folder: str) -> None:
        top = os.path.abspath(folder)
        for entry in self._entries_below(top):
            name = entry.path[len(top) :].lstrip(os.sep).replace(os.sep, "/")
            self._put(Recording(name, entry.path, *_size_and_time(entry)))

    def _add_file(self, path: str) -> None:
        absolute = os.path.abspath(path)
        try:
            below = os.path.relpath(absolute)
        except ValueError:  # on another drive of Windows
            below = os.pardir
        name = os.path.splitdrive(absolute)[1] if below.startswith(os.pardir) else below
        self._put(recording_at(name.replace(os.sep, "/").lstrip("/"), absolute))

    def _put(self, recording: Recording) -> None:
        other = self.found.setdefault(recording.name, recording)
        if other.path != recording.path:
            raise InputError(
                f"{other.path} and {recording.path} would both give results named {recording.name}: give the folder "
                "above them, or the files themselves"
            )

    def _entries_below(self, top: str) -> Iterator[os.DirEntry[str]]:
        """Files with the suffix of a recording, through links too; each folder once."""
        folders, seen = [top], {self._results}
        while folders:
            folder = folders.pop()
            identity = _folder_identity(Path(folder))
            if identity in seen:
                continue
            seen.add(identity)
            try:
                entries = list(os.scandir(folder))
            except OSError as error:
                logger.warning("%s cannot be read and is left out: %s", folder, error.strerror or error)
                self.ignored["unreadable"] += 1
                continue
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):
                    self.ignored[HIDDEN] += 1
                elif _is_folder(entry):
                    folders.append(entry.path)
                elif suffix not in RECORDING_SUFFIXES:
                    self.ignored[suffix or "without suffix"] += 1
                else:
                    yield entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link that cannot be followed is taken for a file."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to what this user may not see
        return False


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Of a file; zeros for a broken link, which the batch reports as missing."""
    try:
        status = entry.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _folder_identity(folder: Path) -> tuple[int, int] | str:
    """Equal for the same folder, also through links; on file systems without numbers, by its path."""
    try:
        status = folder.stat()
    except OSError:
        return str(folder)
    return (status.st_dev, status.st_ino) if status.st_ino else str(folder.resolve())
