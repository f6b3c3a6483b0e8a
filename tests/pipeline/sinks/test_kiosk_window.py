"""The window of a kiosk: monitor, mouse pointer, attract screen."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.settings.output_settings import AttractSettings, WindowSettings
from pipeline.sinks.screen import Monitor
from pipeline.sinks.window import Window
from tests.pipeline.sinks.presentations import context, presentation
from tests.pipeline.sinks.test_window import FakeGui

TWO = [Monitor(0, 0, 1920, 1080), Monitor(1920, 100, 1080, 1920)]


def window_of(gui, monitors=lambda: TWO, hide=lambda: lambda: None, **settings):
    return Window(WindowSettings(**settings), gui=gui, screen=lambda: (True, ""), monitors=monitors, hide=hide)


def test_the_window_goes_to_its_monitor_before_it_fills_the_screen():
    gui = FakeGui()
    window_of(gui, monitor=1, fullscreen=True).open(context())
    assert gui.moves == [(1920, 100)]
    assert gui.sizes[-1] == (1080, 1920)
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN]


def test_the_only_monitor_is_filled_even_without_a_window_manager():
    gui = FakeGui()
    window_of(gui, monitors=lambda: TWO[:1], fullscreen=True).open(context())
    assert (gui.moves, gui.sizes[-1]) == ([], (1920, 1080))
    gui = FakeGui()
    window_of(gui, fullscreen=True).open(context())  # of two, the system chooses
    assert (gui.moves, len(gui.sizes)) == ([], 1)

    def unknown():
        raise OSError("no X")

    window_of(FakeGui(), monitors=unknown, fullscreen=True).open(context())


def test_without_a_monitor_setting_nothing_is_listed_or_moved():
    gui = FakeGui()
    window_of(gui, monitors=lambda: pytest.fail("asked")).open(context())
    assert gui.moves == []


def test_a_missing_monitor_is_an_error_and_no_window_opens():
    gui = FakeGui()
    with pytest.raises(InputError, match=r"no monitor 2; available: 0: 1920x1080\+0\+0, 1: 1080x1920\+1920\+100"):
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


def test_the_window_shows_the_attract_screen_and_saves_the_picture(tmp_path):
    gui = FakeGui()
    settings = WindowSettings(stills_dir=str(tmp_path))
    attract = AttractSettings(after_s=0.001, text="Hello")
    window = Window(settings, gui=gui, screen=lambda: (True, ""), attract=attract)
    window.open(context())
    image = np.full((64, 96, 3), 200, np.uint8)
    window.write(presentation(0, image=image))
    assert (gui.shown[-1] == image).all()
    window.write(later(presentation(1, image=image)))
    assert (gui.shown[-1][0, 0] == 90).all()
    window.close()


def later(given):
    """The same presentation, captured a second later."""
    frame = replace(given.segmented.frame, captured_at_s=given.segmented.frame.captured_at_s + 1.0)
    return replace(given, segmented=replace(given.segmented, frame=frame))
