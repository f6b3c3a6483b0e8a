"""Lists the cameras of this machine, with names, sizes and rates."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import av

from pipeline.errors import InputError
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.camera import PERMISSION_HINT, CameraDevice, CameraSystem, device_files
from pipeline.sources.v4l2 import CameraMode, camera_modes
from pipeline.threads.stage import FirstError, Stage

ANSWER_S = 20.0
"""How long the cameras, asked at the same time, may take; some need more than ten seconds to open on Windows."""

FFMPEG_FORMATS = {"darwin": "avfoundation", "win32": "dshow"}
"""What FFmpeg calls each system's cameras."""


@dataclass(frozen=True, slots=True)
class ListedCamera:
    """A camera, or a device that does not answer.

    Attributes:
        source: what `--source` takes.
        name: as the camera or the system calls it.
        by_id: its path by serial number, which stays when cameras are plugged in and out (Linux).
        modes: what it offers; on systems other than Linux, only the mode that it starts in.
        fault: why it cannot be used, with what to do; None if it can.
    """

    source: str
    name: str
    by_id: str | None = None
    modes: tuple[CameraMode, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A device that may be a camera; `describe` returns None if it is not, and raises if it cannot be used."""

    source: str
    name: str
    describe: Callable[[], ListedCamera | None]


class _Asked:
    """A candidate that is being asked."""

    def __init__(self, candidate: _Candidate) -> None:
        self._candidate = candidate
        self._errors = FirstError()
        self._found: ListedCamera | None = None
        self._stage = Stage(f"camera {candidate.source}", self._ask, self._errors)
        self._stage.start()

    def _ask(self) -> None:
        self._found = self._candidate.describe()

    def answer(self, wait_s: float, asked_for_s: float) -> ListedCamera | None:
        """The camera, with a fault if it failed or has not answered yet after `wait_s`."""
        fault = None
        if not self._stage.wait(wait_s):
            fault = f"no answer within {asked_for_s:g} s: unplug it and plug it in again"
        elif self._errors.error is not None:
            fault = str(self._errors.error)
        if fault is None:
            return self._found
        return ListedCamera(self._candidate.source, self._candidate.name, fault=fault)


@dataclass(frozen=True, slots=True)
class CameraLister:
    """Lists cameras; tests substitute what it asks.

    Attributes:
        system: where the cameras are.
        sysfs: where Linux keeps their names.
        modes: see `camera_modes`.
        names: the cameras' names in the order of their numbers, given FFmpeg's name of the system.
        answer_s: how long the cameras, asked at the same time, may take.
    """

    system: CameraSystem = field(default_factory=CameraSystem)
    sysfs: Path = Path("/sys/class/video4linux")
    modes: Callable[[Path], tuple[str, tuple[CameraMode, ...]] | None] = camera_modes
    names: Callable[[str], Sequence[str]] = lambda name: device_names(name)
    answer_s: float = ANSWER_S

    def cameras(self) -> list[ListedCamera]:
        """All cameras, by number. On Linux none starts; elsewhere each is opened for a moment."""
        if self.system.platform.startswith("linux"):
            return self._answers([self._on_linux(path) for path in device_files(self.system.dev)])
        names = self.names(FFMPEG_FORMATS.get(self.system.platform, ""))
        return self._answers(
            [_Candidate(str(number), name, partial(self._open, number, name)) for number, name in enumerate(names)]
        )

    def _answers(self, candidates: Sequence[_Candidate]) -> list[ListedCamera]:
        """What the candidates say, each in a thread of its own, because a driver may hang."""
        asked = [_Asked(candidate) for candidate in candidates]
        give_up_at = time.monotonic() + self.answer_s
        answers = [one.answer(max(0.0, give_up_at - time.monotonic()), self.answer_s) for one in asked]
        return [camera for camera in answers if camera is not None]

    def _on_linux(self, path: Path) -> _Candidate:
        number = path.name.removeprefix("video")
        try:
            name = (self.sysfs / path.name / "name").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            name = str(path)
        return _Candidate(number, name, partial(self._describe, number, name, path))

    def _describe(self, number: str, name: str, path: Path) -> ListedCamera | None:
        if not os.access(path, os.R_OK | os.W_OK):
            raise InputError(f"no permission to use {path}: {PERMISSION_HINT}")
        try:
            found = self.modes(path)
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror or error}") from None
        if found is None:
            return None
        links = sorted((self.system.dev / "v4l" / "by-id").glob("*-video-index0"))
        by_id = next((str(link) for link in links if link.resolve() == path.resolve()), None)
        return ListedCamera(number, found[0] or name, by_id, found[1])

    def _open(self, number: int, name: str) -> ListedCamera:
        camera = CameraDevice(str(number), f"camera {number}", SourceSettings(), system=self.system)
        with closing(camera):
            info = camera.open()
        rates = () if info.fps is None else (info.fps,)
        return ListedCamera(str(number), name, modes=(CameraMode("", info.width, info.height, rates),))


def device_names(ffmpeg_format: str) -> list[str]:
    """The names of the cameras that FFmpeg lists for a system; "camera 0" where it cannot list them."""
    try:
        devices = av.enumerate_input_devices(ffmpeg_format)
    except (av.FFmpegError, ValueError, OSError):
        return ["camera 0"]
    names = [str(device.description or device.name) for device in devices if "video" in device.media_types]
    return [name for name in names if not name.startswith("Capture screen")]  # macOS lists its screens, too
