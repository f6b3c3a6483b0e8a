"""Cameras on this machine, through OpenCV."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, RunError
from pipeline.sources.base import Clock
from pipeline.sources.pump import Device, DeviceInfo, Picture
from pipeline.threads.opencv_process import quiet_opencv

WARM_UP_READS = 10
"""Cameras give a few empty reads while they start."""

BAD_READS = 3
"""So many empty reads in a row are the loss of the camera."""

RAW_SIZE_WH, RAW_FPS = (640, 480), 30.0
"""Beyond this, USB 2 cameras reach their rate only with compressed (MJPG) pictures; AVFoundation chooses by itself."""

MJPG = cv2.VideoWriter.fourcc(*"MJPG")

_APIS = {
    "linux": ("CAP_V4L2", "CAP_ANY"),
    "darwin": ("CAP_AVFOUNDATION", "CAP_ANY"),
    "win32": ("CAP_DSHOW", "CAP_MSMF"),
}


class Capture(Protocol):
    """The part of cv2.VideoCapture that is used."""

    def isOpened(self) -> bool:
        """Whether the device could be opened."""

    def set(self, prop: int, value: float) -> bool:
        """Request a value of a CAP_PROP; the driver may still choose another."""

    def get(self, prop: int) -> float:
        """The value of a CAP_PROP; 0 if the driver does not support it."""

    def grab(self) -> bool:
        """Wait for the next frame without decoding it. False if none came."""

    def retrieve(self) -> tuple[bool, Any]:
        """Decode the grabbed frame: whether it worked, and uint8 (H, W, 3), BGR."""

    def release(self) -> None:
        """Close the device."""


class CameraDevice(Device):
    """One camera.

    Args:
        location: its number ("0"), device path ("/dev/video0", "/dev/v4l/by-id/…") or, under Linux, its serial number
            ("serial:AB12"), or another part of its name in /dev/v4l/by-id.
        name: how people call it.
        width, height, fps: what to ask for; None leaves the camera's own choice.
        clock: seconds, monotonic.
        open_capture: makes a capture from a location and an API number; for tests.
        platform: as `sys.platform`.
        dev: where Linux keeps its devices.
    """

    def __init__(
        self,
        location: str,
        name: str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        clock: Clock = time.monotonic,
        open_capture: Callable[[int | str, int], Capture] | None = None,
        platform: str = sys.platform,
        dev: Path = Path("/dev"),
    ) -> None:
        self.name = name
        self._location: int | str = int(location) if location.isdecimal() else location
        self._serial = location.removeprefix("serial:").strip() if location.startswith("serial:") else None
        self._wanted = (width, height, fps)
        self._open_capture = open_capture or cv2.VideoCapture
        self._platform = platform
        self._dev = dev
        self._capture: Capture | None = None
        self._first: Picture | None = None
        self._clock = clock

    def open(self) -> DeviceInfo:
        if self._serial is not None:
            self._location = str(self._find_by_serial(self._serial))
        if self._platform.startswith("linux"):
            self._check_device_file()
        with quiet_opencv():
            capture = self._open_any()
            self._capture = capture
            self._configure(capture)
            self._first = self._warm_up()
        height, width = self._first.image_bgr.shape[:2]
        fps = capture.get(cv2.CAP_PROP_FPS)
        rate = fps if 0 < fps <= 1000 else None
        return DeviceInfo(width, height, rate, self._describe(width, height, rate))

    def grab(self) -> Picture:
        first, self._first = self._first, None
        if first is not None:
            return first
        for _ in range(BAD_READS):
            picture = self._read()
            if picture is not None:
                return picture
        raise RunError(f"{self.name} gives no more pictures (unplugged, or taken by another program)")

    def close(self) -> None:
        capture, self._capture = self._capture, None
        self._first = None
        if capture is not None:
            with quiet_opencv():
                capture.release()

    def _open_any(self) -> Capture:
        if self._platform == "win32":
            # Without this, Media Foundation can take minutes to open a camera (opencv issue 17687).
            os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
        for api in _APIS.get(self._platform, ("CAP_ANY",)):
            try:
                capture = self._open_capture(self._location, getattr(cv2, api))
            except cv2.error:
                continue
            if capture.isOpened():
                return capture
            capture.release()
        raise InputError(self._cannot_open())

    def _configure(self, capture: Capture) -> None:
        width, height, fps = self._wanted
        big = (width or 0) > RAW_SIZE_WH[0] or (height or 0) > RAW_SIZE_WH[1] or (fps or 0) > RAW_FPS
        compressed = big and self._platform != "darwin"
        if compressed:
            capture.set(cv2.CAP_PROP_FOURCC, MJPG)
        wanted = ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height), (cv2.CAP_PROP_FPS, fps))
        for prop, value in wanted:
            if value is not None:
                capture.set(prop, value)
        if compressed and self._platform == "win32":
            capture.set(cv2.CAP_PROP_FOURCC, MJPG)  # DirectShow forgets it with every new size
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def _warm_up(self) -> Picture:
        for _ in range(WARM_UP_READS):
            picture = self._read()
            if picture is not None:
                return picture
        raise InputError(
            f"{self.name} was found but gives no picture: another program may be using it, or it is no capture device"
        )

    def _read(self) -> Picture | None:
        assert self._capture is not None
        try:
            if not self._capture.grab():
                return None
            captured_at_s = self._clock()
            ok, image = self._capture.retrieve()
        except cv2.error as error:
            raise RunError(f"{self.name}: reading failed: {error.err or error}") from None
        return Picture(as_bgr(image), captured_at_s) if ok and image is not None and image.size else None

    def _find_by_serial(self, serial: str) -> Path:
        """The camera's device file, looked up anew each time: its number changes as cameras come and go."""
        if not self._platform.startswith("linux"):
            raise InputError(f"{self.name}: cameras are found by serial number under Linux only; give a number here")
        links = sorted((self._dev / "v4l" / "by-id").glob("*-video-index0"))
        found = [link for link in links if serial.casefold() in link.name.casefold()]
        if len(found) == 1:
            return found[0].resolve()
        if found:
            names = ", ".join(one.name for one in found)
            raise InputError(f"{self.name} fits {len(found)} cameras ({names}): give more of it")
        there = f"there are {', '.join(one.name for one in links)}" if links else self._present()
        raise InputError(f"there is no {self.name}: {there}")

    def _check_device_file(self) -> None:
        path = self._dev / f"video{self._location}" if isinstance(self._location, int) else Path(self._location)
        if not path.exists():
            raise InputError(f"there is no {self._full_name(path)}: {self._present()}")
        if not os.access(path, os.R_OK | os.W_OK):
            raise InputError(
                f"no permission to use {self._full_name(path)}: add yourself to its group "
                "(sudo usermod -aG video $USER) and log in again"
            )

    def _full_name(self, path: Path) -> str:
        return self.name if str(path) in self.name else f"{self.name} ({path})"

    def _present(self) -> str:
        found = sorted(self._dev.glob("video*"), key=lambda path: (len(path.name), path.name))
        paths = [str(path) for path in found if re.fullmatch(r"video[0-9]+", path.name)]
        if paths:
            return f"this machine has {', '.join(paths)}"
        return "this machine has no camera device; plug one in, or in a container pass it with --device"

    def _cannot_open(self) -> str:
        if self._platform == "darwin":
            hint = (
                "is it connected, and may this terminal use the camera (System Settings, Privacy & Security, Camera)? "
                "If macOS has just asked, allow it and start again"
            )
        elif self._platform.startswith("linux"):
            hint = "another program may be using it, or it is no capture device (a camera often has two device files)"
        else:
            hint = "is it connected, not used by another program, and allowed in the system's camera privacy settings?"
        return f"{self.name} cannot be opened: {hint}"

    def _describe(self, width: int, height: int, fps: float | None) -> str:
        rate = f" at {fps:g} fps" if fps is not None else ""
        text = f"{self.name}: {width}x{height}{rate}"
        wanted_w, wanted_h, wanted_fps = self._wanted
        same_size = (wanted_w or width, wanted_h or height) == (width, height)
        same_rate = wanted_fps is None or fps is None or abs(wanted_fps - fps) < 0.5
        if same_size and same_rate:
            return text
        asked_rate = f" at {wanted_fps:g} fps" if wanted_fps is not None else ""
        return f"{text} (asked for {wanted_w or 'any'}x{wanted_h or 'any'}{asked_rate})"


def as_bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) from gray (H, W), (H, W, 1) or BGRA (H, W, 4) pictures; others unchanged."""
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    return np.ascontiguousarray(image[:, :, :3]) if image.shape[2] == 4 else image
