"""This machine's screen: whether a window can be opened, its monitors, its mouse pointer."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2

PROBE = (sys.executable, "-c", "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()")
"""A command that opens a window in a process of its own, and exits with 0 on success."""
PROBE_LIMIT_S = 20.0
_DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")


def screen_available(
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    command: Sequence[str] = PROBE,
    modules: Iterable[str] = sys.modules,
) -> tuple[bool, str]:
    """Returns whether a window can be opened, and the reason if not, otherwise "".

    Args:
        environment: environment variables.
        platform: as `sys.platform`.
        command: opens a window in a process of its own, and exits with 0 on success.
        modules: names of the imported modules, in import order.
    """
    if not has_gui():
        return (
            False,
            "this OpenCV was built without window support; install opencv-contrib-python, not a -headless build",
        )
    if platform in ("win32", "darwin"):
        return True, ""
    if imported_too_late(list(modules)):
        return False, "PyAV was imported before OpenCV, which makes windows hang; import pipeline or cv2 before av"
    display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if not display:
        return False, "DISPLAY is not set"
    problem = _problem(tuple(command), _display_of(environment))
    return problem == "", problem and f"the display {display} {problem}"


def start_probe(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform, command: Sequence[str] = PROBE
) -> None:
    """Begin what `screen_available` waits for if it is given the same, so that it is done when that is called."""
    display = _display_of(environment)
    if display and platform not in ("win32", "darwin") and has_gui():
        _probe(tuple(command), display)


def _display_of(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, environment[name]) for name in _DISPLAY_VARIABLES if environment.get(name))


@lru_cache(maxsize=1)
def _probe(command: tuple[str, ...], display: tuple[tuple[str, str], ...]) -> subprocess.Popen[bytes]:
    """The running command. In another process: Qt aborts its own if a display does not respond."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **dict(display)}, stdin=quiet, stdout=quiet, stderr=quiet)


@lru_cache(maxsize=1)
def _problem(command: tuple[str, ...], display: tuple[tuple[str, str], ...]) -> str:
    """Why the command fails, "" if it does not."""
    probe = _probe(command, display)
    try:
        return "" if probe.wait(PROBE_LIMIT_S) == 0 else "cannot be opened"
    except subprocess.TimeoutExpired:
        probe.kill()
        probe.wait()
        return "does not respond"


def has_gui() -> bool:
    """Whether OpenCV was built with window support."""
    try:
        return bool(cv2.currentUIFramework())
    except cv2.error:
        return False


def imported_too_late(modules: Sequence[str]) -> bool:
    """Whether OpenCV was imported after PyAV: it then uses PyAV's X11 and hangs (see `pipeline/__init__.py`)."""
    return "av" in modules and "cv2" in modules and modules.index("av") < modules.index("cv2")


@dataclass(frozen=True, slots=True)
class Monitor:
    """Position and size of a monitor on the desktop, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.x}+{self.y}"


def list_monitors(platform: str = sys.platform) -> list[Monitor]:
    """The monitors, in the system's order. Raises OSError if they cannot be listed."""
    if platform == "win32":
        return _windows_monitors()
    if platform == "darwin":
        return _mac_monitors()
    return _x11_monitors()


def hide_pointer(platform: str = sys.platform) -> Callable[[], None]:
    """Hide the mouse pointer. Returns a function that shows it again. Raises OSError if that is impossible."""
    if platform == "win32":
        user32: Any = getattr(ctypes, "windll").user32  # noqa: B009 - exists on Windows only
        user32.ShowCursor(False)
        return lambda: user32.ShowCursor(True)
    if platform == "darwin":
        graphics = _library("CoreGraphics")
        display = graphics.CGMainDisplayID()
        graphics.CGDisplayHideCursor(display)
        return lambda: graphics.CGDisplayShowCursor(display)
    return _hide_x11_pointer()


def _library(name: str) -> Any:
    path = ctypes.util.find_library(name)
    if path is None:
        raise OSError(f"the library {name} is not installed")
    return ctypes.CDLL(path)


def _open_display() -> tuple[Any, ctypes.c_void_p]:
    x11 = _library("X11")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if not display:
        raise OSError("the X display cannot be opened")
    return x11, ctypes.c_void_p(display)


class _XineramaScreen(ctypes.Structure):
    _fields_ = (
        ("screen", ctypes.c_int),
        ("x", ctypes.c_short),
        ("y", ctypes.c_short),
        ("width", ctypes.c_short),
        ("height", ctypes.c_short),
    )


def _x11_monitors() -> list[Monitor]:
    xinerama = _library("Xinerama")
    x11, display = _open_display()
    try:
        xinerama.XineramaQueryScreens.restype = ctypes.POINTER(_XineramaScreen)
        count = ctypes.c_int(0)
        screens = xinerama.XineramaQueryScreens(display, ctypes.byref(count))
        if screens:
            return [Monitor(each.x, each.y, each.width, each.height) for each in screens[: count.value]]
        screen = x11.XDefaultScreen(display)
        return [Monitor(0, 0, x11.XDisplayWidth(display, screen), x11.XDisplayHeight(display, screen))]
    finally:
        x11.XCloseDisplay(display)


def _hide_x11_pointer() -> Callable[[], None]:
    """XFixes hides the pointer on the whole screen until the connection that requested it closes."""
    fixes = _library("Xfixes")
    x11, display = _open_display()
    event, error = ctypes.c_int(0), ctypes.c_int(0)
    if not fixes.XFixesQueryExtension(display, ctypes.byref(event), ctypes.byref(error)):
        x11.XCloseDisplay(display)
        raise OSError("the X display cannot hide the pointer")
    major, minor = ctypes.c_int(4), ctypes.c_int(0)
    fixes.XFixesQueryVersion(display, ctypes.byref(major), ctypes.byref(minor))
    x11.XDefaultRootWindow.restype = ctypes.c_ulong
    fixes.XFixesHideCursor(display, ctypes.c_ulong(x11.XDefaultRootWindow(display)))
    x11.XSync(display, 0)
    return lambda: x11.XCloseDisplay(display)


class _Rect(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("left", "top", "right", "bottom"))


def _windows_monitors() -> list[Monitor]:
    found: list[Monitor] = []
    # WINFUNCTYPE exists on Windows only; tests run this with CFUNCTYPE.
    make_type: Any = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
    pointer = ctypes.c_void_p
    callback_type = make_type(ctypes.c_int, pointer, pointer, ctypes.POINTER(_Rect), pointer)

    def add(_monitor: Any, _context: Any, rect: Any, _data: Any) -> int:
        box = rect.contents
        found.append(Monitor(box.left, box.top, box.right - box.left, box.bottom - box.top))
        return 1

    getattr(ctypes, "windll").user32.EnumDisplayMonitors(None, None, callback_type(add), 0)  # noqa: B009
    return found


class _CgRect(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_double) for name in ("x", "y", "width", "height"))


def _mac_monitors() -> list[Monitor]:
    graphics = _library("CoreGraphics")
    graphics.CGDisplayBounds.restype = _CgRect
    displays, count = (ctypes.c_uint32 * 16)(), ctypes.c_uint32(0)
    graphics.CGGetActiveDisplayList(16, displays, ctypes.byref(count))
    bounds = [graphics.CGDisplayBounds(displays[index]) for index in range(count.value)]
    return [Monitor(*(int(value) for value in (each.x, each.y, each.width, each.height))) for each in bounds]
