import subprocess
import sys

import pytest

from pipeline.sinks.monitors import Monitor, list_monitors


def test_a_monitor_as_text():
    assert str(Monitor(1920, -100, 1080, 1920)) == "1080x1920+1920+-100"


@pytest.mark.window("Xvfb", "xvfb-run")
def test_monitors_and_pointer_of_a_real_x_server():
    script = (
        "from pipeline.sinks.monitors import hide_pointer, list_monitors; print(*list_monitors()); hide_pointer()()"
    )
    command = ["xvfb-run", "-a", "-s", "-screen 0 1024x600x24", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1024x600+0+0"), done.stderr


def test_without_a_display_the_monitors_cannot_be_listed(monkeypatch):
    if sys.platform in ("win32", "darwin"):
        pytest.skip("these always have a display")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(OSError, match=r"display|not installed"):
        list_monitors()
