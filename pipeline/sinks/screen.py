"""Whether a window can be opened here, told without opening one in this process: the toolkit may end it."""

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
    """Whether a window can be opened, and the reason why not ("" if it can).

    Args:
        environment: environment variables.
        platform: as `sys.platform`.
        command: opens a window in a process of its own; ends with 0 if that worked.
        modules: names of the imported modules, in the order of their import.
    """
    if not has_gui():
        return False, "this OpenCV was built without windows; install opencv-contrib-python, not a -headless build"
    if platform in ("win32", "darwin"):
        return True, ""
    if loaded_too_late(list(modules)):
        return False, "PyAV was imported before OpenCV, whose windows then hang; import pipeline or cv2 before av"
    display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if not display:
        return False, "DISPLAY is not set"
    # Where the display does not answer, Qt aborts the process that asks.
    try:
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=_PROBE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return False, f"the display {display} does not answer"
    return (True, "") if done.returncode == 0 else (False, f"the display {display} cannot be opened")


def has_gui() -> bool:
    """Whether OpenCV was built with windows."""
    try:
        return bool(cv2.currentUIFramework())
    except cv2.error:
        return False


def loaded_too_late(modules: Sequence[str]) -> bool:
    """Whether OpenCV came after PyAV: it then uses PyAV's X11 library and hangs (see `pipeline/__init__.py`)."""
    return "av" in modules and "cv2" in modules and modules.index("av") < modules.index("cv2")
