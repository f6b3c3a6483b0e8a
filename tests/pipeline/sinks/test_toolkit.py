"""The toolkit's window: monitor, full screen, mouse pointer, size."""

import pytest

from pipeline.errors import InputError
from pipeline.settings.output_settings import WindowSettings
from pipeline.sinks.keys import Action
from pipeline.sinks.screen import Monitor
from pipeline.sinks.toolkit import Input, ToolkitWindow
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of

TWO = [Monitor(0, 0, 1920, 1080), Monitor(1920, 100, 1080, 1920)]


def window_of(gui, monitors=lambda: TWO, hide=lambda: lambda: None, **settings):
    return ToolkitWindow(WindowSettings(**settings), desktop_of(gui, monitors=monitors, hide=hide))


def test_the_window_goes_to_its_monitor_before_it_fills_the_screen():
    gui = FakeGui()
    window_of(gui, monitor=1, fullscreen=True).open()
    assert gui.moves == [(1920, 100)]
    assert gui.sizes[-1] == (1080, 1920)
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN]


def test_the_only_monitor_is_filled_even_without_a_window_manager():
    gui = FakeGui()
    window_of(gui, monitors=lambda: TWO[:1], fullscreen=True).open()
    assert (gui.moves, gui.sizes[-1]) == ([], (1920, 1080))
    gui = FakeGui()
    window_of(gui, fullscreen=True).open()  # of two, the system chooses
    assert (gui.moves, len(gui.sizes)) == ([], 1)

    def unknown():
        raise OSError("no X")

    window_of(FakeGui(), monitors=unknown, fullscreen=True).open()


def test_without_a_monitor_setting_nothing_is_listed_or_moved():
    gui = FakeGui()
    window_of(gui, monitors=lambda: pytest.fail("asked")).open()
    assert gui.moves == []


class Cocoa(FakeGui):
    """Tells the size of the image that was shown last, and whether the window is on the screen."""

    visible = 1.0

    def getWindowImageRect(self, title):
        height, width = self.shown[-1].shape[:2]
        return 0, 0, width, height

    def getWindowProperty(self, title, name):
        return self.visible


def test_on_macos_images_have_their_own_size_or_that_of_the_screen():
    gui = Cocoa()
    window = ToolkitWindow(WindowSettings(monitor=1), desktop_of(gui, monitors=lambda: TWO, platform="darwin"))
    window.open()
    assert gui.shown[-1].shape == (2, 2, 3)
    assert window.size_wh() is None
    window.toggle_fullscreen()
    assert window.size_wh() == (1080, 1920)
    window.toggle_fullscreen()
    assert window.size_wh() is None

    def unknown():
        raise OSError("the library CoreGraphics is not installed")

    window = ToolkitWindow(WindowSettings(), desktop_of(Cocoa(), monitors=unknown, platform="darwin"))
    window.open()
    window.toggle_fullscreen()
    assert window.size_wh() is None


@pytest.mark.parametrize(("platform", "is_closed"), [("darwin", False), ("win32", True), ("linux", True)])
def test_on_macos_a_minimized_window_is_not_taken_for_a_closed_one(platform, is_closed):
    gui = Cocoa()
    window = ToolkitWindow(WindowSettings(), desktop_of(gui, platform=platform))
    window.open()
    assert not window.closed_by_user
    gui.visible = 0.0
    assert window.closed_by_user is is_closed


def test_a_missing_monitor_is_an_error_and_no_window_opens():
    gui = FakeGui()
    with pytest.raises(InputError, match=r"no monitor 2; available: 0: 1920x1080\+0\+0, 1: 1080x1920\+1920\+100"):
        window_of(gui, monitor=2).open()

    def unknown():
        raise OSError("the library Xinerama is not installed")

    with pytest.raises(InputError, match="cannot be listed: the library"):
        window_of(gui, monitors=unknown, monitor=0).open()
    assert not gui.windows


def test_the_pointer_is_hidden_while_the_window_is_open():
    told = []

    def hide():
        told.append("hidden")
        return lambda: told.append("shown")

    window = window_of(FakeGui(), hide=hide, cursor=False)
    window.open()
    assert told == ["hidden"]
    window.close()
    window.close()
    assert told == ["hidden", "shown"]


def test_a_pointer_that_cannot_be_hidden_is_only_a_warning(caplog):
    def hide():
        raise OSError("the library Xfixes is not installed")

    window_of(FakeGui(), hide=hide, cursor=False).open()
    assert "the mouse pointer cannot be hidden: the library Xfixes" in caplog.text


def test_it_takes_the_size_of_a_picture_only_while_it_does_not_fill_the_screen():
    gui = FakeGui()
    window = window_of(gui, monitor=0, fullscreen=True)
    window.open()
    window.fit_to(640, 480)
    assert gui.sizes[-1] == (1920, 1080)
    window.toggle_fullscreen()
    window.fit_to(640, 480)
    assert gui.sizes[-1] == (640, 480)


def test_keys_and_clicks_are_reported_once():
    gui = FakeGui()
    window = window_of(gui)
    window.open()
    gui.press("q", (12, 34))
    assert [window.poll() for _ in range(3)] == [Input(Action.QUIT), Input(click=(12, 34)), Input()]


def test_its_size_is_that_of_the_toolkit_if_it_tells():
    gui = FakeGui((320, 200))
    window = window_of(gui)
    window.open()
    assert window.size_wh() == (320, 200)
    gui.size_wh = None
    assert window.size_wh() is None
    gui.windows.clear()
    assert window.size_wh() is None
