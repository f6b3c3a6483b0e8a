"""Cameras on this machine, through OpenCV."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import InputError, RunError
from pipeline.records import Clock, Image, SourceInfo, SourceKind
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.live import Device, Picture
from pipeline.threads.opencv_process import quiet_opencv

WARM_UP_READS = 10
"""Cameras return a few empty reads while they start."""

MAX_EMPTY_READS = 3
"""So many consecutive empty reads mean that the camera is lost."""

RAW_SIZE_WH, RAW_FPS = (640, 480), 30.0
"""Above this, USB 2 cameras reach their rate only with compressed video (MJPG); AVFoundation chooses on its own."""

MJPG = cv2.VideoWriter.fourcc(*"MJPG")

_APIS = {
    "linux": ("CAP_V4L2", "CAP_ANY"),
    "darwin": ("CAP_AVFOUNDATION", "CAP_ANY"),
    "win32": ("CAP_DSHOW", "CAP_MSMF"),
}
_HINTS = {
    "linux": "another program may be using it, or it is not a capture device (a camera often has two device files)",
    "darwin": "check that it is connected and that this terminal may use it (System Settings, Privacy & Security, "
    "Camera). If macOS has just asked for permission, allow it and start again",
}
PERMISSION_HINT = "add yourself to its group (sudo usermod -aG video $USER) and log in again"
NO_CAMERA = "this machine has no camera device; plug one in, or in a container pass it with --device"
_OTHER_HINT = "check that it is connected, not in use, and allowed in the system's camera privacy settings"
"""What to do about a camera that cannot be opened, by platform."""


@dataclass(frozen=True, slots=True)
class CameraSystem:
    """How this machine exposes its cameras; tests substitute their own.

    Attributes:
        open_capture: opens a capture, given a location and an API number.
        platform: as `sys.platform`.
        dev: the folder in which Linux lists its devices.
    """

    open_capture: Callable[[int | str, int], cv2.VideoCapture] = lambda location, api: cv2.VideoCapture(location, api)
    platform: str = sys.platform
    dev: Path = Path("/dev")


class CameraDevice(Device):
    """One camera.

    Args:
        location: its number ("0"), device path ("/dev/video0", "/dev/v4l/by-id/…") or, on Linux, its serial number
            ("serial:AB12") or another part of its name in /dev/v4l/by-id.
        name: display name.
        mode: the requested `width`, `height` and `fps`; None accepts the camera's default.
        clock: seconds, monotonic.
        system: where the camera is found.
    """

    def __init__(
        self,
        location: str,
        name: str,
        mode: SourceSettings,
        clock: Clock = time.monotonic,
        system: CameraSystem = CameraSystem(),
    ) -> None:
        self.name = name
        self._location: int | str = int(location) if location.isdecimal() else location
        self._serial = location.removeprefix("serial:").strip() if location.startswith("serial:") else None
        self._mode = mode
        self._system = system
        self._capture: cv2.VideoCapture | None = None
        self._first: Picture | None = None
        self._clock = clock

    def open(self) -> SourceInfo:
        if self._serial is not None:
            self._location = str(self._find_by_serial(self._serial))
        if self._system.platform.startswith("linux"):
            self._check_device_file()
        with quiet_opencv():
            capture = self._capture = self._open_any()
            self._configure(capture)
            self._first = self._read(WARM_UP_READS)
        if self._first is None:
            raise InputError(
                f"{self.name} was found but delivers no frame: another program may be using it, or it is no capture "
                "device"
            )
        height, width = self._first.image_bgr.shape[:2]
        fps = capture.get(cv2.CAP_PROP_FPS)
        rate = fps if 0 < fps <= 1000 else None
        return SourceInfo(
            self.name, SourceKind.LIVE, width, height, rate, description=self._describe(width, height, rate)
        )

    def grab(self) -> Picture:
        picture, self._first = self._first or self._read(MAX_EMPTY_READS), None
        if picture is None:
            raise RunError(f"{self.name} stopped delivering frames (unplugged, or taken over by another program)")
        return picture

    def close(self) -> None:
        capture, self._capture = self._capture, None
        self._first = None
        if capture is not None:
            with quiet_opencv():
                capture.release()

    def _open_any(self) -> cv2.VideoCapture:
        if self._system.platform == "win32":
            # Without this, Media Foundation can take minutes to open a camera (opencv issue 17687).
            os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
        for api in _APIS.get(self._system.platform, ("CAP_ANY",)):
            try:
                capture = self._system.open_capture(self._location, getattr(cv2, api))
            except cv2.error:
                continue
            if capture.isOpened():
                return capture
            capture.release()
        raise InputError(f"{self.name} cannot be opened: {_HINTS.get(self._system.platform, _OTHER_HINT)}")

    def _configure(self, capture: cv2.VideoCapture) -> None:
        width, height, fps = self._mode.width, self._mode.height, self._mode.fps
        exceeds_raw = (width or 0) > RAW_SIZE_WH[0] or (height or 0) > RAW_SIZE_WH[1] or (fps or 0) > RAW_FPS
        compressed = exceeds_raw and self._system.platform != "darwin"
        if compressed:
            capture.set(cv2.CAP_PROP_FOURCC, MJPG)
        requested = ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height), (cv2.CAP_PROP_FPS, fps))
        for prop, value in requested:
            if value is not None:
                capture.set(prop, value)
        if compressed and self._system.platform == "win32":
            capture.set(cv2.CAP_PROP_FOURCC, MJPG)  # DirectShow resets it whenever the size changes
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def _read(self, attempts: int) -> Picture | None:
        """The next picture; None after so many empty reads."""
        assert self._capture is not None
        try:
            for _ in range(attempts):
                if self._capture.grab():
                    captured_at_s = self._clock()
                    ok, image = self._capture.retrieve()
                    if ok and image is not None and image.size:
                        return Picture(as_bgr(image), captured_at_s)
        except cv2.error as error:
            raise RunError(f"{self.name}: reading failed: {error.err or error}") from None
        return None

    def _find_by_serial(self, serial: str) -> Path:
        """The camera's device file, looked up at each opening: its number changes as cameras are plugged in and out."""
        if not self._system.platform.startswith("linux"):
            raise InputError(f"{self.name}: cameras are found by serial number on Linux only; give a camera number")
        links = sorted((self._system.dev / "v4l" / "by-id").glob("*-video-index0"))
        found = [link for link in links if serial.casefold() in link.name.casefold()]
        if len(found) == 1:
            return found[0].resolve()
        if found:
            names = ", ".join(link.name for link in found)
            raise InputError(f"{self.name} matches {len(found)} cameras ({names}): give a longer part of the name")
        available = f"there are {', '.join(link.name for link in links)}" if links else self._available()
        raise InputError(f"there is no {self.name}: {available}")

    def _check_device_file(self) -> None:
        path = self._system.dev / f"video{self._location}" if isinstance(self._location, int) else Path(self._location)
        if not path.exists():
            raise InputError(f"there is no {self._full_name(path)}: {self._available()}")
        if not os.access(path, os.R_OK | os.W_OK):
            raise InputError(f"no permission to use {self._full_name(path)}: {PERMISSION_HINT}")

    def _full_name(self, path: Path) -> str:
        return self.name if str(path) in self.name else f"{self.name} ({path})"

    def _available(self) -> str:
        paths = device_files(self._system.dev)
        return f"this machine has {', '.join(map(str, paths))}" if paths else NO_CAMERA

    def _describe(self, width: int, height: int, fps: float | None) -> str:
        text = f"{self.name}: {width}x{height}" + (f" at {fps:g} fps" if fps is not None else "")
        mode = self._mode
        same_size = (mode.width or width, mode.height or height) == (width, height)
        if same_size and (mode.fps is None or fps is None or abs(mode.fps - fps) < 0.5):
            return text
        requested_rate = f" at {mode.fps:g} fps" if mode.fps is not None else ""
        return f"{text} (requested {mode.width or 'any'}x{mode.height or 'any'}{requested_rate})"


def device_files(dev: Path) -> list[Path]:
    """The video devices of Linux, by number: video2 before video10."""
    found = sorted(dev.glob("video*"), key=lambda path: (len(path.name), path.name))
    return [path for path in found if re.fullmatch(r"video[0-9]+", path.name)]


def as_bgr(image: Image) -> Image:
    """Converts gray uint8 (H, W) or (H, W, 1) and BGRA (H, W, 4) to BGR (H, W, 3); returns BGR unchanged."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(image[:, :, :3]) if image.shape[2] == 4 else image
