"""The window appears, takes a size, ends; with a fake toolkit, and once with a real X server."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.settings.output_settings import AttractSettings, WindowSettings
from pipeline.sinks.base import Delivery
from pipeline.sinks.window import Window
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of, opened_window
from tests.pipeline.sinks.presentations import context, picture, presentation


@pytest.fixture
def gui():
    return FakeGui()


def test_it_runs_in_the_main_thread():
    assert Window(WindowSettings()).delivery is Delivery.MAIN_THREAD


def test_a_machine_without_a_screen_is_an_error(gui):
    window = Window(WindowSettings(), desktop=desktop_of(gui, screen=lambda: (False, "DISPLAY is not set")))
    with pytest.raises(InputError, match="No window can be opened: DISPLAY is not set"):
        window.open(context())
    window.close()
    assert not gui.windows


def test_frames_are_shown_as_they_arrive(gui):
    window = opened_window(gui)
    for i in range(3):
        window.write(presentation(i))
    assert [(shown == picture(i)).all() for i, shown in enumerate(gui.shown)] == [True] * 3
    assert not window.stop_requested


def test_it_is_resizable_keeps_the_aspect_ratio_and_starts_no_larger_than_a_screen(gui):
    opened_window(gui, context((3840, 2160)))
    opened_window(gui, context((640, 272)))
    opened_window(gui, context((1080, 1920)))
    opened_window(gui, context((720, 576), sample_aspect_ratio=Fraction(64, 45)))
    opened_window(gui, context((160, 120)))
    assert gui.sizes[1::2] == [(1280, 720), (640, 272), (405, 720), (1024, 576), (480, 360)]
    assert gui.sizes[::2] == [(1280, 720)] * 5  # while the source is unknown
    assert gui.windows["stream_segment"] == gui.WINDOW_FREERATIO | gui.WINDOW_GUI_NORMAL


def test_the_picture_has_the_size_of_the_window_with_black_bars():
    gui = FakeGui((200, 64))
    window = opened_window(gui)
    window.write(presentation(3))
    assert gui.shown[0].shape == (64, 200, 3)
    np.testing.assert_array_equal(gui.shown[0][:, 52:148], picture(3))
    assert not gui.shown[0][:, :52].any()
    assert not gui.shown[0][:, 148:].any()


def test_a_window_that_is_resized_while_no_frame_comes_is_drawn_anew():
    gui = FakeGui((96, 64))
    window = opened_window(gui)
    window.write(presentation(0))
    window.idle("")
    assert len(gui.shown) == 1
    gui.size_wh = (192, 128)
    window.idle("")
    assert [image.shape for image in gui.shown] == [(64, 96, 3), (128, 192, 3)]


def test_non_square_pixels_are_stretched(gui):
    window = opened_window(gui)  # a camera that comes after the start was expected with square ones
    window.write(presentation(0, sample_aspect_ratio=Fraction(3, 2)))
    window.write(presentation(1))
    assert [image.shape for image in gui.shown] == [(64, 144, 3), (64, 96, 3)]


@pytest.mark.parametrize("key", ["q", "Q", 27, 27 | 0x100000])
def test_q_and_escape_end(gui, key):
    window = opened_window(gui)
    gui.press(key)
    window.write(presentation(0))
    assert window.stop_requested


def test_keys_work_while_no_frames_arrive(gui):
    window = opened_window(gui)
    gui.press("q")
    window.idle("")
    assert window.stop_requested
    assert not gui.shown


def test_other_keys_do_nothing(gui):
    window = opened_window(gui)
    gui.press("x", 13, 0, 255, 65505, 65513)  # the last two: Shift, Alt
    for i in range(6):
        window.write(presentation(i))
    assert not window.stop_requested
    assert not window.paused


def test_closing_the_window_ends_the_run_and_it_does_not_reopen(gui):
    window = opened_window(gui)
    window.write(presentation(0))
    gui.windows.clear()
    window.write(presentation(1))
    window.idle("camera 0 is gone")
    assert window.stop_requested
    assert len(gui.shown) == 1
    window.close()


def test_f_toggles_full_screen(gui):
    window = opened_window(gui)
    gui.press("f", "F")
    window.write(presentation(0))
    window.write(presentation(1))
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN, gui.WINDOW_NORMAL]


def test_full_screen_from_the_start(gui):
    opened_window(gui, fullscreen=True)
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN]


def test_escape_leaves_full_screen_first_and_q_does_not(gui):
    window = opened_window(gui, fullscreen=True)
    gui.press(27)
    window.idle("")
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN, gui.WINDOW_NORMAL]
    assert not window.stop_requested
    gui.press(27)
    window.idle("")
    assert window.stop_requested
    other_gui = FakeGui()
    other = opened_window(other_gui, fullscreen=True)
    other_gui.press("q")
    other.idle("")
    assert other.stop_requested


def test_the_window_appears_before_the_source_is_known(gui):
    window = Window(WindowSettings(), desktop=desktop_of(gui))
    window.appear("Just a moment …")
    assert gui.shown[-1].shape == (360, 640, 3)
    assert np.median(gui.shown[-1]) < 60
    assert gui.shown[-1].max() > 200
    window.open(context())
    window.write(presentation(0))
    np.testing.assert_array_equal(gui.shown[-1], picture(0))
    assert len(gui.windows) == 1


def test_the_attract_screen_is_shown_at_the_start_and_moves(gui):
    clock = FakeClock(0.0)
    attract = AttractSettings(after_s=5.0)
    window = Window(WindowSettings(), attract=attract, desktop=desktop_of(gui, clock=clock))
    window.appear("Just a moment …")
    clock.now_s = 1.5
    window.idle("Just a moment …")
    first, second = gui.shown[-2:]
    assert (first != second).any()
    tops = [np.flatnonzero((image > 200).any(axis=(1, 2)))[0] for image in (first, second)]
    assert tops[1] - tops[0] == pytest.approx(0.012 * 360, abs=1)  # a quarter of the period: sin = 1


def test_closing_twice_and_unopened_is_fine(gui):
    window = opened_window(gui)
    window.close()
    window.close()
    window.write(presentation(0))
    window.idle("x")
    assert not gui.windows
    assert not gui.shown
    Window(WindowSettings(), desktop=desktop_of(gui)).close()


def test_the_window_shows_the_attract_screen_and_saves_the_picture(gui, tmp_path):
    attract = AttractSettings(after_s=0.001, text="Hello")
    window = Window(WindowSettings(stills_dir=str(tmp_path)), attract=attract, desktop=desktop_of(gui))
    window.open(context())
    image = np.full((64, 96, 3), 200, np.uint8)
    window.write(presentation(0, image=image))
    np.testing.assert_array_equal(gui.shown[-1], image)
    gui.press("s")
    window.write(later(presentation(1, image=image)))
    assert (gui.shown[-2][0, 0] == 90).all()
    np.testing.assert_array_equal(cv2.imread(window.outputs[0]), image)


def later(given):
    """The same presentation, captured a second later."""
    frame = replace(given.segmented.frame, captured_at_s=given.segmented.frame.captured_at_s + 1.0)
    return replace(given, segmented=replace(given.segmented, frame=frame))


REAL = textwrap.dedent(
    """
    import sys, time
    from dataclasses import replace
    from pipeline.controls import Controls
    from pipeline.settings.schema import OverlaySettings, WindowSettings
    from pipeline.sinks.window import Window
    from tests.pipeline.sinks.presentations import context, presentation
    import cv2
    controls = Controls(OverlaySettings())
    window = Window(WindowSettings(stills_dir=sys.argv[1]), controls)
    run = context((320, 240))
    window.open(replace(run, source=replace(run.source, seekable_s=(0.0, 1e6))))
    deadline = time.monotonic() + 30
    index = 0
    told = 0
    while not window.stop_requested and time.monotonic() < deadline:
        window.write(presentation(index))
        index += 1
        if index == 20:
            print("shown", flush=True)
        if len(window.outputs) > told:
            told = len(window.outputs)
            print("saved", flush=True)
        if controls.take_seek() is not None:
            print("sought", flush=True)
    print("ended" if window.stop_requested else "timed out", len(window.outputs), flush=True)
    window.close()
    """
)


@pytest.mark.window("Xvfb", "xdotool")
def test_a_real_window_shows_saves_and_ends(tmp_path):
    read_end, write_end = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=[write_end],
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as numbers:
            environment = {**os.environ, "DISPLAY": f":{numbers.readline().strip()}"}
        program = subprocess.Popen(
            [sys.executable, "-c", REAL, str(tmp_path)],
            cwd=Path(__file__).parents[3],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdout.readline() == "shown\n", program.communicate()[1]
        find = ["xdotool", "search", "--sync", "--name", "stream_segment", "windowfocus", "--sync"]
        subprocess.run([*find, "key", "s"], env=environment, check=True, timeout=20)
        # Of keys that come while the program is busy, OpenCV reports the last one only.
        assert program.stdout.readline() == "saved\n"
        subprocess.run([*find, "key", "Right"], env=environment, check=True, timeout=20)
        assert program.stdout.readline() == "sought\n"
        subprocess.run([*find, "key", "Escape"], env=environment, check=True, timeout=20)
        output, complaints = program.communicate(timeout=40)
        assert output == "ended 1\n", complaints
        assert "Qt" not in complaints
        assert len(list(tmp_path.glob("clip-*.png"))) == 1
    finally:
        server.terminate()
        server.wait(10)
