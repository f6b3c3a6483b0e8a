"""Checks whether a window can be opened, in another process, because a failing toolkit may abort its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

import cv2

_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
_PROBE_LIMIT_S = 20.0


def screen_available(
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    command: Sequence[str] = (sys.executable, "-c", _PROBE),
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
    # Qt aborts its process if the display does not respond.
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=_PROBE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return False, f"the display {display} does not respond"
    return (True, "") if done.returncode == 0 else (False, f"the display {display} cannot be opened")


def has_gui() -> bool:
    """Whether OpenCV was built with window support."""
    try:
        return bool(cv2.currentUIFramework())
    except cv2.error:
        return False


def imported_too_late(modules: Sequence[str]) -> bool:
    """Whether OpenCV was imported after PyAV: it then uses PyAV's X11 and hangs (see `pipeline/__init__.py`)."""
    return "av" in modules and "cv2" in modules and modules.index("av") < modules.index("cv2")
