"""Whether a window can be opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sinks import screen
from pipeline.sinks.screen import Monitor, imported_too_late, list_monitors, screen_available

WORKS = (sys.executable, "-c", "pass")
ABORTS = (sys.executable, "-c", "import os; os.abort()")
HANGS = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture(autouse=True)
def _a_build_with_windows(monkeypatch):
    monkeypatch.setattr(screen, "has_gui", lambda: True)


@pytest.mark.parametrize("environment", [{}, {"DISPLAY": ""}, {"WAYLAND_DISPLAY": ""}])
def test_linux_without_a_display(environment):
    assert screen_available(environment, "linux", WORKS, ()) == (False, "DISPLAY is not set")


@pytest.mark.parametrize("environment", [{"DISPLAY": ":0"}, {"WAYLAND_DISPLAY": "wayland-0"}])
def test_linux_with_a_working_display(environment):
    assert screen_available(environment, "linux", WORKS, ()) == (True, "")


def test_linux_with_a_display_that_aborts_the_process():
    assert screen_available({"DISPLAY": ":99"}, "linux", ABORTS, ()) == (False, "the display :99 cannot be opened")


def test_linux_with_a_display_that_hangs(monkeypatch):
    monkeypatch.setattr(screen, "PROBE_LIMIT_S", 0.2)
    assert screen_available({"DISPLAY": "far:0"}, "linux", HANGS, ()) == (False, "the display far:0 does not respond")


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_systems_that_always_have_a_screen(platform):
    assert screen_available({}, platform, ABORTS, ()) == (True, "")


def test_a_build_of_opencv_without_windows(monkeypatch):
    monkeypatch.setattr(screen, "has_gui", lambda: False)
    available, reason = screen_available({"DISPLAY": ":0"}, "linux", WORKS, ())
    assert not available
    assert "opencv-contrib-python" in reason


def test_pyav_before_opencv_would_hang():
    available, reason = screen_available({"DISPLAY": ":0"}, "linux", WORKS, ("sys", "av", "cv2"))
    assert not available
    assert "PyAV was imported before OpenCV" in reason


@pytest.mark.parametrize(
    ("modules", "late"),
    [(("cv2", "av"), False), (("av", "cv2"), True), (("cv2",), False), (("av",), False), ((), False)],
)
def test_the_order_of_imports(modules, late):
    assert imported_too_late(modules) == late


def test_importing_the_pipeline_loads_them_in_the_right_order():
    code = "import sys; from pipeline.sinks import recorder, screen; print(screen.imported_too_late([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"


def test_a_monitor_as_text():
    assert str(Monitor(1920, -100, 1080, 1920)) == "1080x1920+1920+-100"


@pytest.mark.window("Xvfb", "xvfb-run")
def test_monitors_and_pointer_of_a_real_x_server():
    script = "from pipeline.sinks.screen import hide_pointer, list_monitors; print(*list_monitors()); hide_pointer()()"
    command = ["xvfb-run", "-a", "-s", "-screen 0 1024x600x24", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1024x600+0+0"), done.stderr


def test_without_a_display_the_monitors_cannot_be_listed(monkeypatch):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("these always have a display")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(OSError, match=r"display|not installed"):
        list_monitors()


def test_a_probe_that_was_started_is_the_one_that_is_waited_for(tmp_path, monkeypatch):
    count = (sys.executable, "-c", f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'runs').open('a').write('x')")
    monkeypatch.setenv("DISPLAY", ":7")
    screen.start_probe(platform="linux", command=count)
    assert screen_available(platform="linux", command=count, modules=()) == (True, "")
    assert (tmp_path / "runs").read_text() == "x"


def test_no_probe_is_started_without_a_display_or_where_none_is_needed(monkeypatch):
    monkeypatch.setattr(screen.subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    screen.start_probe({}, "linux")
    screen.start_probe({"DISPLAY": ":0"}, "darwin")
