"""A process that copies finished segments before they are deleted, and looks at every frame of them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.helper_process import HelperProcess
from benchmarks.marked_people import marks
from benchmarks.recorded_files import decoded
from benchmarks.soak_verdict import Recording

_SEGMENT = re.compile(r"(.+)-(\d{4})\d{4}-\d{6}-(\d{4,})\.mp4")
POLL_S = 0.2
NICENESS = 10


@dataclass(frozen=True)
class Archived:
    """One segment of a camera.

    Attributes:
        camera: its name.
        year: in its name.
        number: in its name.
        recording: what was found in it.
        uncovered: frames that show a mark of `marked_people`.
    """

    camera: str
    year: int
    number: int
    recording: Recording
    uncovered: int


class Archivist(HelperProcess):
    """The process, a context manager."""

    def __init__(self) -> None:
        super().__init__("archivist", _main)

    def watch(self, folder: Path) -> None:
        """Copy and look at what is recorded there from now on."""
        self.send(folder)

    def report(self, timeout_s: float) -> list[Archived]:
        """All segments, also those that are gone, when everything has been looked at; nothing may be recording."""
        self.send("report")
        found: list[Archived] = self.receive(timeout_s)
        return found


@dataclass
class WatchedFolder:
    """What is known of a folder.

    Attributes:
        recorded: where segments are written.
        copies: where they are copied to.
        taken: names that were copied.
        waiting: copies that nobody has looked at, oldest first.
    """

    recorded: Path
    copies: Path
    taken: set[str] = field(default_factory=set)
    waiting: list[Path] = field(default_factory=list)

    def take(self, also_newest: bool) -> None:
        """Copy those that are finished: a camera's newest may still be written."""
        found: dict[str, list[tuple[int, str]]] = {}
        for name in os.listdir(self.recorded):
            if match := _SEGMENT.fullmatch(name):
                found.setdefault(match[1], []).append((int(match[3]), name))
        for named in found.values():
            named.sort()
            for _, name in named if also_newest else named[:-1]:
                if name not in self.taken:
                    with contextlib.suppress(FileNotFoundError):
                        self.waiting.append(Path(shutil.copyfile(self.recorded / name, self.copies / name)))
                        self.taken.add(name)

    def look_at_one(self) -> Archived | None:
        """What is in the oldest copy, which is then deleted; None if there is none."""
        if not self.waiting:
            return None
        path = self.waiting.pop(0)
        uncovered = 0

        def count(image_bgr: object) -> None:
            nonlocal uncovered
            uncovered += bool(marks(image_bgr))  # type: ignore[arg-type]

        recording = decoded(path, count)
        path.unlink()
        match = _SEGMENT.fullmatch(path.name)
        assert match is not None
        return Archived(match[1], int(match[2]), int(match[3]), recording, uncovered)


def _main(pipe: Connection) -> None:
    os.nice(NICENESS)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="soak-archive") as copies:
        _run(pipe, Path(copies))


def _run(pipe: Connection, copies: Path) -> None:
    pipe.send("ready")
    folder: WatchedFolder | None = None
    archive: list[Archived] = []
    copied_at_s = 0.0
    while True:
        busy = folder is not None and bool(folder.waiting)
        if pipe.poll(0.0 if busy else POLL_S):
            order = pipe.recv()
            if order == "end":
                return
            if order != "report":
                folder, archive = WatchedFolder(order, copies), []
                continue
            if folder is not None:
                folder.take(also_newest=True)
                while (found := folder.look_at_one()) is not None:
                    archive.append(found)
            pipe.send(archive)
        elif folder is not None:
            if time.monotonic() - copied_at_s >= POLL_S:
                copied_at_s = time.monotonic()
                folder.take(also_newest=False)
            if (found := folder.look_at_one()) is not None:
                archive.append(found)
