"""The window of a kiosk: monitor, mouse pointer, attract screen."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.settings import WindowSettings
from pipeline.settings_kiosk import AttractSettings
from pipeline.sinks.attract import Attract
from pipeline.sinks.monitors import Monitor, list_monitors
from pipeline.sinks.window import Window
from tests.pipeline.fakes import make_frame, make_instances
from tests.pipeline.sinks.presentations import context
from tests.pipeline.sinks.test_window import FakeGui

TWO = [Monitor(0, 0, 1920, 1080), Monitor(1920, 100, 1080, 1920)]
LABELS = ("BG", "thing", "other")


def window_of(gui, monitors=lambda: TWO, hide=lambda: lambda: None, **settings):
    return Window(WindowSettings(**settings), gui=gui, screen=lambda: (True, ""), monitors=monitors, hide=hide)


def test_the_window_goes_to_its_monitor_before_it_fills_the_screen():
    gui = FakeGui()
    window_of(gui, monitor=1, fullscreen=True).open(context())
    assert gui.moves == [(1920, 100)]
    assert gui.sizes[-1] == (1080, 1920)
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN]


def test_the_only_monitor_is_filled_also_without_a_window_manager():
    gui = FakeGui()
    window_of(gui, monitors=lambda: TWO[:1], fullscreen=True).open(context())
    assert (gui.moves, gui.sizes[-1]) == ([], (1920, 1080))
    gui = FakeGui()
    window_of(gui, fullscreen=True).open(context())  # of two, the system chooses
    assert (gui.moves, len(gui.sizes)) == ([], 1)

    def unknown():
        raise OSError("no X")

    window_of(FakeGui(), monitors=unknown, fullscreen=True).open(context())


def test_without_a_monitor_nothing_is_asked_or_moved():
    gui = FakeGui()
    window_of(gui, monitors=lambda: pytest.fail("asked")).open(context())
    assert gui.moves == []


def test_a_monitor_that_is_not_there_is_refused_and_no_window_opened():
    gui = FakeGui()
    with pytest.raises(InputError, match=r"no monitor 2; there are 0: 1920x1080\+0\+0, 1: 1080x1920\+1920\+100"):
        window_of(gui, monitor=2).open(context())

    def unknown():
        raise OSError("the library Xinerama is not installed")

    with pytest.raises(InputError, match="cannot be listed: the library"):
        window_of(gui, monitors=unknown, monitor=0).open(context())
    assert not gui.windows


def test_the_pointer_is_hidden_while_the_window_is_open():
    told = []

    def hide():
        told.append("hidden")
        return lambda: told.append("shown")

    window = window_of(FakeGui(), hide=hide, cursor=False)
    window.open(context())
    assert told == ["hidden"]
    window.close()
    window.close()
    assert told == ["hidden", "shown"]


def test_a_pointer_that_cannot_be_hidden_is_only_a_warning(caplog):
    def hide():
        raise OSError("the library Xfixes is not installed")

    window_of(FakeGui(), hide=hide, cursor=False).open(context())
    assert "the mouse pointer cannot be hidden: the library Xfixes" in caplog.text


def seen(at_s, people=0):
    from pipeline.records import SegmentedFrame, StageTimes

    frame = make_frame(9, captured_at_s=at_s)
    return SegmentedFrame(frame, make_instances(people), 9, StageTimes(at_s))


def test_the_attract_screen_comes_after_a_while_and_goes_when_somebody_comes():
    attract = Attract(AttractSettings(after_s=5.0, classes=("thing",), text="Hello"), LABELS)
    shown = []
    for at_s, people in ((100.0, 0), (104.9, 0), (105.0, 0), (106.0, 1), (110.9, 0), (111.0, 0)):
        item = seen(at_s, people)
        shown.append(attract.instead_of(item, item.frame.image_bgr) is item.frame.image_bgr)
    assert shown == [True, True, False, True, True, False]


def test_before_the_first_result_nobody_is_called_away():
    from dataclasses import replace

    attract = Attract(AttractSettings(after_s=5.0, classes=("thing",)), LABELS)
    for at_s in (100.0, 120.0):
        item = replace(seen(at_s), instances_index=None)
        assert attract.instead_of(item, item.frame.image_bgr) is item.frame.image_bgr


def test_the_attract_screen_is_the_dark_picture_with_the_text_or_a_picture(tmp_path):
    import cv2

    item = seen(100.0)
    image = np.full((240, 320, 3), 200, np.uint8)
    attract = Attract(AttractSettings(after_s=1.0, classes=("thing",), text="Hello"), LABELS)
    attract.instead_of(item, image)
    dark = attract.instead_of(seen(101.0), image)
    assert (dark[5, 5] == 90).all()
    assert (dark[110:130] > 200).any()
    assert (image == 200).all()
    cv2.imwrite(str(tmp_path / "poster.png"), np.full((50, 70, 3), (1, 2, 3), np.uint8))
    settings = AttractSettings(after_s=1.0, classes=("thing",), text="", picture=str(tmp_path / "poster.png"))
    poster = Attract(settings, LABELS)
    poster.instead_of(item, image)
    screen = poster.instead_of(seen(101.0), image)
    assert screen.shape == image.shape
    assert (screen == (1, 2, 3)).all()


def test_attract_needs_a_time_and_classes_that_are_there():
    with pytest.raises(ValueError, match="after_s"):
        Attract(AttractSettings(), LABELS)
    with pytest.raises(InputError, match=r"attract\.classes"):
        Attract(AttractSettings(after_s=1.0), LABELS)


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs the X server Xvfb")
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
