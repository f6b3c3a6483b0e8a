"""Watches what a case does outside its folder: files, commands and connections, also by libraries in C."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATHS = {
    "os.remove": (0,), "os.rename": (0, 1), "os.mkdir": (0,), "os.rmdir": (0,), "os.link": (1,), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.utime": (0,), "shutil.rmtree": (0,), "os.setxattr": (0,),
}  # fmt: skip
"""Audit events that change a path, and which of their arguments those are."""
_COMMANDS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.fork", "ctypes.dlopen")
_SENDING = ("socket.connect", "socket.sendto", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname")
_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_MOVED, _IN_CREATE, _IN_DELETE = 0x1, 0x2, 0x20, 0xC0, 0x100, 0x200
_IN_ISDIR = 0x40000000
_EVENT = struct.Struct("iIII")


class Guard:
    """Notes what nobody asked for, from the moment that it is `armed`.

    Beside the folder of the case lies a bait: files that inputs name though the user did not, and a port of this
    machine that nobody may call. inotify and the port show what libraries do that Python does not see.

    Args:
        folders: what a case may write to.
        bait: a folder with files; made and filled by the caller.

    Attributes:
        armed: whether anything is noted.
        may_connect: whether connections of Python's own are in order (a page that is served).
    """

    def __init__(self, folders: Sequence[Path], bait: Path) -> None:
        self._folders = [os.path.realpath(folder) for folder in folders]
        self._bait = os.path.realpath(bait)
        self.armed = self.may_connect = False
        self.found: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._inotify = _watch(bait)
        sys.addaudithook(self._audit)

    def check(self) -> list[str]:
        """What happened since the last check."""
        found, self.found = [*dict.fromkeys(self.found)], []
        if _events(self._inotify):
            found.append("the bait was opened")
        try:
            self._listening.accept()[0].close()
            found.append("the bait's port was called")
        except BlockingIOError:
            pass
        return found

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event in _COMMANDS or (event in _SENDING and not self.may_connect):
            self.found.append(f"{event} {arguments!r}"[:200])
        elif event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and bool(flags & _WRITING)
            self._check_path(event, path, writes)
        elif event in _PATHS:
            for number in _PATHS[event]:
                self._check_path(event, arguments[number], True)

    def _check_path(self, event: str, path: Any, writes: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor, which was opened before
        self.armed = False
        try:
            real = os.path.realpath(os.fsdecode(path))
        except ValueError:
            return
        finally:
            self.armed = True
        outside = real != "/dev/null" and not any(f"{real}/".startswith(f"{folder}/") for folder in self._folders)
        if (writes and outside) or f"{real}/".startswith(f"{self._bait}/"):
            self.found.append(f"{event} {real}")


def _watch(folder: Path) -> int:
    """A descriptor that tells what happens to the files in a folder; see inotify(7)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    mask = _IN_ACCESS | _IN_MODIFY | _IN_OPEN | _IN_MOVED | _IN_CREATE | _IN_DELETE
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(folder), mask) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    return int(descriptor)


def _events(descriptor: int) -> int:
    """How many events of files were waiting. The folder itself may be listed, as by somebody who looks through /tmp."""
    try:
        data = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return 0
    at = found = 0
    while at < len(data):
        _, mask, _, length = _EVENT.unpack_from(data, at)
        found += not mask & _IN_ISDIR
        at += _EVENT.size + length
    return found


def emptied(folder: Path) -> Path:
    """The folder without what was in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
