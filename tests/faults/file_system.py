"""A file system that fails once: Python's system calls on the files of a folder are listed, or one of them fails.

Built-in `open` is replaced by Python's own implementation, whose files read and write by `os.read` and `os.write`, so
that these fail too. What libraries in C do with paths by themselves is out of reach.
"""

from __future__ import annotations

import _pyio
import builtins
import errno
import io
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

NO_SPACE, IO_ERROR, DENIED = errno.ENOSPC, errno.EIO, errno.EACCES
MODIFYING: dict[str, tuple[int, ...]] = {
    "open": (DENIED, IO_ERROR, NO_SPACE),
    "write": (NO_SPACE, IO_ERROR),
    "ftruncate": (NO_SPACE,),
    "fsync": (IO_ERROR, NO_SPACE),
    "link": (IO_ERROR, NO_SPACE, DENIED),
    "rename": (IO_ERROR, NO_SPACE, DENIED),
    "replace": (IO_ERROR, NO_SPACE, DENIED),
    "mkdir": (NO_SPACE, DENIED),
    "unlink": (DENIED, IO_ERROR),
    "remove": (DENIED, IO_ERROR),
    "rmdir": (DENIED, IO_ERROR),
    "chmod": (DENIED,),
}
"""What can fail, with the errors that it fails with; the first one in the short run."""
ERRORS = MODIFYING | {"read": (IO_ERROR,), "scandir": (IO_ERROR, DENIED), "listdir": (IO_ERROR, DENIED)}
_BY_DESCRIPTOR = ("write", "read", "fsync", "ftruncate")
"""Their errors name no file."""
_DESCRIPTORS = dict.fromkeys(("link", "rename", "replace"), "dst_dir_fd")
_RANDOM = (
    (re.compile(r"[0-9a-f]{8,}"), "#"),
    (re.compile(r"\.[a-z0-9_]{8}(?=\.(part|old))"), ".#"),
    (re.compile(r"\.\d+\.part"), ".#.part"),
    (re.compile(r"batch-[a-z0-9_]{8}"), "#"),
)


@dataclass(frozen=True)
class Call:
    """A system call: its name, the file below the folder without what is random in it, and which of that kind it is."""

    name: str
    file: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} {self.file} ({self.number})"


class FileSystem:
    """Lists the calls that concern a folder while it is `installed`, and makes one fail.

    Args:
        folder: other files are left alone.
        failing: the call that fails; None for none.
        error: its errno.

    Attributes:
        calls: in their order.
        failed: whether `failing` came.
    """

    def __init__(self, folder: Path, failing: Call | None = None, error: int = 0) -> None:
        self._folder = os.path.realpath(folder)
        self._failing, self._error = failing, error
        self._paths: dict[int, str] = {}
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self.calls: list[Call] = []
        self.failed = False

    @contextmanager
    def installed(self) -> Iterator[FileSystem]:
        """Replace the calls for as long as the block lasts."""
        with mock.patch.multiple(os, **{name: self._counted(name, getattr(os, name)) for name in (*ERRORS, "close")}):
            with mock.patch.object(builtins, "open", _open), mock.patch.object(io, "open", _open):
                yield self

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            path = self._path_of(arguments, options, _DESCRIPTORS.get(name, "dir_fd"))
            if name == "close":
                self._paths.pop(arguments[0], None)
            elif path is not None and self._fails(name, path):
                if name == "write":  # disks fill up in the middle of what is written
                    call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise OSError(self._error, os.strerror(self._error), None if name in _BY_DESCRIPTOR else path)
            result = call(*arguments, **options)
            if name == "open" and path is not None:
                self._paths[result] = path
            return result

        return counted

    def _path_of(self, arguments: tuple[Any, ...], options: dict[str, Any], descriptor: str) -> str | None:
        """The path in the folder that a call is about: its last one, or that of its descriptor."""
        given = [one for one in arguments[:2] if isinstance(one, str | os.PathLike)]
        if isinstance(arguments[0] if arguments else None, int):
            return self._paths.get(arguments[0])
        if not given:
            return None
        below = self._paths.get(options.get(descriptor) or -1, "")
        path = os.path.abspath(os.path.join(below, os.fspath(given[-1])))
        return path if f"{path}/".startswith(f"{self._folder}/") else None

    def _fails(self, name: str, path: str) -> bool:
        file = os.path.relpath(path, self._folder)
        for pattern, text in _RANDOM:
            file = pattern.sub(text, file)
        with self._lock:
            self._seen[name, file] += 1
            call = Call(name, file, self._seen[name, file])
            self.calls.append(call)
            fails = call == self._failing
            self.failed |= fails
        return fails


def _open(file: Any, mode: str = "r", buffering: int = -1, *arguments: Any, **options: Any) -> Any:
    # Descriptors that the interpreter opened itself have no path; _pyio reads them as well.
    return _pyio.open(file, mode, buffering, *arguments, **options)


Check = Callable[[Exception | None], list[str]]
"""Takes what a run raised, and says what is wrong afterwards."""


def enumerate_faults(
    folder: Path, make: Callable[[Path], tuple[Callable[[], object], Check]], errors: int | None = 1, most: int = 6
) -> tuple[int, list[str]]:
    """Run something once for each of its calls, which fails.

    Args:
        folder: gets a folder for each run.
        make: prepares a run in a folder, and returns it with its check.
        errors: how many of the errors of `ERRORS` each call fails with; None for all.
        most: of the calls of one kind, so many first ones and the last one fail.

    Returns:
        How many runs there were, and what was wrong with them.
    """
    run, check = make(_new(folder, "plain"))
    with FileSystem(folder / "plain").installed() as plain:
        run()
    problems = check(None)
    assert problems == [], problems
    last = {(call.name, call.file): call.number for call in plain.calls}
    wanted = [call for call in plain.calls if call.number <= most or call.number == last[call.name, call.file]]
    runs = 0
    for call in wanted:
        for error in ERRORS[call.name][:errors]:
            runs += 1
            below = _new(folder, f"run{runs}")
            run, check = make(below)
            raised = None
            with FileSystem(below, call, error).installed() as system:
                try:
                    run()
                except Exception as caught:  # noqa: BLE001
                    raised = caught
            if system.failed:
                found = check(raised)
                if call.name in ("unlink", "remove", "rmdir") or ".old" in call.file:  # what cannot be removed is left
                    found = [problem for problem in found if not problem.endswith(" is left")]
                problems += [f"{call}, {errno.errorcode[error]}: {problem}" for problem in found]
    return runs, problems


def _new(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
