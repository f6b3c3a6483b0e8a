"""The window: keys, pause, stills, slate, the end; with a fake toolkit, and once with a real X server."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.drawing.status import StatusLine
from pipeline.errors import InputError
from pipeline.records import SegmentedFrame, SourceKind, StageTimes
from pipeline.settings.output_settings import AttractSettings, WindowSettings
from pipeline.sinks.base import Delivery
from pipeline.sinks.window import AttractScreen, Window, slate
from tests.pipeline.fakes import make_frame, make_instances
from tests.pipeline.sinks.presentations import context, picture, presentation


class FakeGui:
    """The window functions of cv2, with a screen and a keyboard that tests can inspect and use."""

    WINDOW_NORMAL, WINDOW_KEEPRATIO, WINDOW_GUI_NORMAL, WINDOW_FULLSCREEN = 0, 256, 16, 1
    WND_PROP_FULLSCREEN, WND_PROP_VISIBLE = 0, 4

    def __init__(self):
        self.windows = {}
        self.shown = []
        self.keys = []
        self.fullscreen = []
        self.titles = []
        self.sizes = []
        self.moves = []

    def namedWindow(self, title, flags):
        self.windows[title] = flags

    def resizeWindow(self, title, width, height):
        self.sizes.append((width, height))

    def moveWindow(self, title, x, y):
        assert not self.fullscreen, "a window that fills a screen is not moved to another"
        self.moves.append((x, y))

    def imshow(self, title, image):
        assert title in self.windows, "showing a frame would bring the closed window back"
        self.shown.append(np.array(image))

    def waitKey(self, delay):
        return self.keys.pop(0) if self.keys else -1

    def getWindowProperty(self, title, name):
        if title not in self.windows:
            raise cv2.error("NULL window")
        return 1.0

    def setWindowProperty(self, title, name, value):
        assert name == self.WND_PROP_FULLSCREEN
        self.fullscreen.append(value)

    def setWindowTitle(self, title, text):
        self.titles.append(text)

    def destroyWindow(self, title):
        if title not in self.windows:
            raise cv2.error("NULL window")
        del self.windows[title]

    def press(self, *keys):
        self.keys += [key if isinstance(key, int) else ord(key) for key in keys]


@pytest.fixture
def gui():
    return FakeGui()


def opened(gui, run=None, tmp_path=None, **settings):
    if tmp_path is not None:
        settings["stills_dir"] = str(tmp_path)
    window = Window(
        WindowSettings(**settings),
        gui=gui,
        screen=lambda: (True, ""),
        now=lambda: datetime(2026, 3, 14, 15, 9, 26),
    )
    window.open(run or context())
    return window


def test_it_runs_in_the_main_thread():
    assert Window(WindowSettings()).delivery is Delivery.MAIN_THREAD


def test_a_machine_without_a_screen_is_an_error(gui):
    window = Window(WindowSettings(), gui=gui, screen=lambda: (False, "DISPLAY is not set"))
    with pytest.raises(InputError, match="No window can be opened: DISPLAY is not set"):
        window.open(context())
    window.close()
    assert not gui.windows


def test_frames_are_shown_as_they_arrive(gui):
    window = opened(gui)
    for i in range(3):
        window.write(presentation(i))
    assert [(shown == picture(i)).all() for i, shown in enumerate(gui.shown)] == [True] * 3
    assert not window.stop_requested


def test_it_is_resizable_keeps_the_aspect_ratio_and_starts_no_larger_than_a_screen(gui):
    opened(gui, context((3840, 2160)))
    opened(gui, context((640, 272)))
    opened(gui, context((1080, 1920)))
    opened(gui, context((720, 576), sample_aspect_ratio=Fraction(64, 45)))
    assert gui.sizes == [(1280, 720), (640, 272), (405, 720), (1024, 576)]
    assert gui.windows["stream_segment"] == gui.WINDOW_KEEPRATIO | gui.WINDOW_GUI_NORMAL


def test_non_square_pixels_are_stretched(gui):
    window = opened(gui, context(sample_aspect_ratio=Fraction(3, 2)))
    window.write(presentation(0))
    assert gui.shown[0].shape == (64, 144, 3)


@pytest.mark.parametrize("key", ["q", "Q", 27, 27 | 0x100000])
def test_q_and_escape_end(gui, key):
    window = opened(gui)
    gui.press(key)
    window.write(presentation(0))
    assert window.stop_requested


def test_keys_work_while_no_frames_arrive(gui):
    window = opened(gui)
    gui.press("q")
    window.idle("")
    assert window.stop_requested
    assert not gui.shown


def test_other_keys_do_nothing(gui):
    window = opened(gui)
    gui.press("x", 13, 0, 255)
    for i in range(4):
        window.write(presentation(i))
    assert not window.stop_requested
    assert not window.paused


def test_closing_the_window_ends_the_run_and_it_does_not_reopen(gui):
    window = opened(gui)
    window.write(presentation(0))
    gui.windows.clear()
    window.write(presentation(1))
    window.idle("camera 0 is gone")
    assert window.stop_requested
    assert len(gui.shown) == 1
    window.close()


def test_f_toggles_full_screen(gui):
    window = opened(gui)
    gui.press("f", "F")
    window.write(presentation(0))
    window.write(presentation(1))
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN, gui.WINDOW_NORMAL]


def test_full_screen_from_the_start(gui):
    opened(gui, fullscreen=True)
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN]


def test_space_pauses_and_resumes(gui):
    window = opened(gui)
    gui.press(" ")
    window.write(presentation(0))
    assert window.paused
    window.write(presentation(1))
    window.idle("camera 0 is gone")
    assert len(gui.shown) == 1
    gui.press(" ")
    window.idle("")
    assert not window.paused
    window.write(presentation(2))
    assert (gui.shown[-1] == picture(2)).all()
    assert gui.titles == ["stream_segment (paused)", "stream_segment"]


def test_the_status_is_in_the_window_and_in_no_still(gui, tmp_path):
    status = StatusLine(display_fps=25.0, latency_ms=90.0, mask_age_ms=40.0)
    image = picture(0, (400, 200))
    shown = replace(presentation(0, image=image), status=status)
    window = opened(gui, context((400, 200)), tmp_path)
    window.write(shown)
    short = (gui.shown[-1] != image).any(axis=2).sum()
    gui.press("d")
    window.write(shown)
    window.write(shown)
    details = (gui.shown[-1] != image).any(axis=2).sum()
    assert details > 3 * short > 0
    gui.press("s")
    window.write(shown)
    np.testing.assert_array_equal(cv2.imread(window.outputs[0]), image)


def test_the_status_of_the_window_can_be_switched_off(gui):
    window = opened(gui, status=False)
    window.write(replace(presentation(0), status=StatusLine(display_fps=25.0)))
    np.testing.assert_array_equal(gui.shown[-1], picture(0))


def test_the_run_can_be_ended_while_paused(gui):
    window = opened(gui)
    gui.press(" ", "q")
    window.write(presentation(0))
    window.idle("")
    assert window.stop_requested


@pytest.mark.parametrize(
    ("run", "pts", "names"),
    [
        (context(source_id="a clip.mp4"), 83_480, ["a-clip-00-01-23.480.png", "a-clip-00-01-23.480-2.png"]),
        (
            context(source_id="camera 0", kind=SourceKind.LIVE),
            83_480,
            ["camera-0-20260314-150926.png", "camera-0-20260314-150926-2.png"],
        ),
        (context(source_id="photos", kind=SourceKind.STILLS), 0, ["x.png", "x-2.png"]),
        (
            context(source_id="rtsp://host:554/a/b", kind=SourceKind.LIVE),
            0,
            ["rtsp-host-554-a-b-20260314-150926.png", "rtsp-host-554-a-b-20260314-150926-2.png"],
        ),
    ],
)
def test_s_saves_stills_and_never_overwrites(gui, tmp_path, run, pts, names, caplog):
    window = opened(gui, run, tmp_path / "new")
    source_id = "x.jpg" if run.source.kind is SourceKind.STILLS else run.source.source_id
    item = presentation(4, pts, source_id=source_id)
    gui.press("s", "S")
    with caplog.at_level(logging.INFO):
        window.write(item)
        window.write(item)
    saved = [tmp_path / "new" / name for name in names]
    assert window.outputs == tuple(str(path) for path in saved)
    assert all((cv2.imread(str(path)) == picture(4)).all() for path in saved)
    assert "saved" in caplog.text


def test_a_still_that_cannot_be_saved_is_a_warning(gui, tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    window = opened(gui, tmp_path=tmp_path / "file")
    gui.press("s")
    window.write(presentation(0))
    assert "saving the still" in caplog.text
    assert window.outputs == ()
    assert not window.stop_requested


def test_s_before_the_first_frame_does_nothing(gui, tmp_path):
    window = opened(gui, tmp_path=tmp_path)
    gui.press("s")
    window.idle("loading the model")
    assert list(tmp_path.iterdir()) == []


def test_a_message_is_shown_over_the_dimmed_last_frame_once(gui):
    window = opened(gui)
    window.write(presentation(0))
    for _ in range(3):
        window.idle("camera 0 is gone, trying again")
    window.idle("camera 0 is gone, trying again in 2 s")
    assert len(gui.shown) == 3
    assert gui.shown[1][:20].mean() < 0.5 * picture(0)[:20].mean()
    window.write(presentation(1))
    window.idle("camera 0 is gone, trying again")
    assert len(gui.shown) == 5


def test_a_slate_without_a_frame_is_gray_with_a_message():
    image = slate(None, "loading the model")
    assert image.shape == (360, 640, 3)
    assert np.median(image) < 60
    assert image.max() > 200


def test_closing_twice_and_unopened_is_fine(gui):
    window = opened(gui)
    window.close()
    window.close()
    window.write(presentation(0))
    window.idle("x")
    assert not gui.windows
    assert not gui.shown
    Window(WindowSettings(), gui=gui).close()


REAL = textwrap.dedent(
    """
    import sys, time
    from pipeline.settings.schema import WindowSettings
    from pipeline.sinks.window import Window
    from tests.pipeline.sinks.presentations import context, presentation
    import cv2
    window = Window(WindowSettings(stills_dir=sys.argv[1]))
    window.open(context((320, 240)))
    deadline = time.monotonic() + 30
    index = 0
    while not window.stop_requested and time.monotonic() < deadline:
        window.write(presentation(index))
        index += 1
        if index == 20:
            print("shown", flush=True)
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
        subprocess.run([*find, "key", "Escape"], env=environment, check=True, timeout=20)
        output, complaints = program.communicate(timeout=40)
        assert output == "ended 1\n", complaints
        assert "Qt" not in complaints
        assert len(list(tmp_path.glob("clip-*.png"))) == 1
    finally:
        server.terminate()
        server.wait(10)


LABELS = ("BG", "thing", "other")


def seen(at_s, people=0):
    frame = make_frame(9, captured_at_s=at_s)
    return SegmentedFrame(frame, make_instances(people), 9, StageTimes(at_s))


def test_the_attract_screen_appears_after_the_delay_and_goes_when_somebody_comes():
    attract = AttractScreen(AttractSettings(after_s=5.0, classes=("thing",), text="Hello"), LABELS)
    shown = []
    for at_s, people in ((100.0, 0), (104.9, 0), (105.0, 0), (106.0, 1), (110.9, 0), (111.0, 0)):
        item = seen(at_s, people)
        shown.append(attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr)
    assert shown == [True, True, False, True, True, False]


def test_no_attract_screen_before_the_first_result():
    attract = AttractScreen(AttractSettings(after_s=5.0, classes=("thing",)), LABELS)
    for at_s in (100.0, 120.0):
        item = replace(seen(at_s), instances_index=None)
        assert attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr


def test_unknown_is_not_nobody():
    """A network that hangs leaves its last result, in which nobody was there yet."""
    attract = AttractScreen(AttractSettings(after_s=3.0, classes=("thing",)), LABELS)
    shown = []
    results = (
        (100.0, 100.0),
        (104.0, 104.0),
        (108.0, 104.0),
        (109.1, 104.0),
        (110.0, 110.0),
        (112.9, 112.9),
        (114.0, 114.0),
    )
    for at_s, inferred_at_s in results:
        item = replace(seen(at_s), times=StageTimes(at_s, inferred_at_s, inferred_at_s))
        shown.append(attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr)
    # From 109.1 on nobody is known of; results show nobody again for 3 seconds from 109.1 to 112.1.
    assert shown == [True, False, False, True, True, False, False]


def test_results_and_not_time_alone_show_that_nobody_was_there():
    attract = AttractScreen(AttractSettings(after_s=3.0, classes=("thing",)), LABELS)
    for at_s, inferred_at_s, live in ((100.0, 100.0, True), (103.5, 101.0, True), (104.0, 103.0, False)):
        item = replace(seen(at_s), times=StageTimes(at_s, inferred_at_s, inferred_at_s))
        assert (attract.apply(item, item.frame.image_bgr) is item.frame.image_bgr) == live


def test_the_attract_screen_is_the_dark_picture_with_the_text_or_a_picture(tmp_path):
    item = seen(100.0)
    image = np.full((240, 320, 3), 200, np.uint8)
    attract = AttractScreen(AttractSettings(after_s=1.0, classes=("thing",), text="Hello"), LABELS)
    attract.apply(item, image)
    dark = attract.apply(seen(101.0), image)
    assert (dark[5, 5] == 90).all()
    assert (dark[110:130] > 200).any()
    assert (image == 200).all()
    cv2.imwrite(str(tmp_path / "poster.png"), np.full((50, 70, 3), (1, 2, 3), np.uint8))
    settings = AttractSettings(after_s=1.0, classes=("thing",), text="", picture=str(tmp_path / "poster.png"))
    poster = AttractScreen(settings, LABELS)
    poster.apply(item, image)
    screen = poster.apply(seen(101.0), image)
    assert screen.shape == image.shape
    assert (screen == (1, 2, 3)).all()


def test_attract_needs_a_delay_and_known_classes():
    with pytest.raises(ValueError, match="after_s"):
        AttractScreen(AttractSettings(), LABELS)
    with pytest.raises(InputError, match=r"attract\.classes"):
        AttractScreen(AttractSettings(after_s=1.0), LABELS)
