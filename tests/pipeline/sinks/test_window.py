"""The window: keys, pause, images, stills, seeking, the end; with a fake toolkit, and once with a real X server."""

from __future__ import annotations

import logging
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

from pipeline.controls import Controls, DisplayChange
from pipeline.drawing.panels import draw_chosen
from pipeline.drawing.status import StatusLine
from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import AttractSettings, OverlaySettings, PlaySpeed, WindowSettings
from pipeline.sinks.base import Delivery
from pipeline.sinks.window import Window
from tests.pipeline.fakes import FakeClock, make_instances
from tests.pipeline.sinks.fake_gui import LEFT, RIGHT, FakeGui, desktop_of
from tests.pipeline.sinks.presentations import context, picture, presentation


@pytest.fixture
def gui():
    return FakeGui()


def opened(gui, run=None, tmp_path=None, controls=None, is_alone=True, clock=None, **settings):
    if tmp_path is not None:
        settings["stills_dir"] = str(tmp_path)
    desktop = desktop_of(gui, clock=clock or FakeClock())
    window = Window(WindowSettings(**settings), controls, desktop=desktop, is_alone=is_alone)
    window.open(run or context())
    gui.shown.clear()  # the window appears black
    return window


def test_it_runs_in_the_main_thread():
    assert Window(WindowSettings()).delivery is Delivery.MAIN_THREAD


def test_a_machine_without_a_screen_is_an_error(gui):
    window = Window(WindowSettings(), desktop=desktop_of(gui, screen=lambda: (False, "DISPLAY is not set")))
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
    opened(gui, context((160, 120)))
    assert gui.sizes[1::2] == [(1280, 720), (640, 272), (405, 720), (1024, 576), (480, 360)]
    assert gui.sizes[::2] == [(1280, 720)] * 5  # while the source is unknown
    assert gui.windows["stream_segment"] == gui.WINDOW_FREERATIO | gui.WINDOW_GUI_NORMAL


def test_the_picture_has_the_size_of_the_window_with_black_bars():
    gui = FakeGui((200, 64))
    window = opened(gui)
    window.write(presentation(3))
    assert gui.shown[0].shape == (64, 200, 3)
    np.testing.assert_array_equal(gui.shown[0][:, 52:148], picture(3))
    assert not gui.shown[0][:, :52].any()
    assert not gui.shown[0][:, 148:].any()


def test_a_window_that_is_resized_while_no_frame_comes_is_drawn_anew():
    gui = FakeGui((96, 64))
    window = opened(gui)
    window.write(presentation(0))
    window.idle("")
    assert len(gui.shown) == 1
    gui.size_wh = (192, 128)
    window.idle("")
    assert [image.shape for image in gui.shown] == [(64, 96, 3), (128, 192, 3)]


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
    gui.press("x", 13, 0, 255, 65505, 65513)  # the last two: Shift, Alt
    for i in range(6):
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


def test_escape_leaves_full_screen_first_and_q_does_not(gui):
    window = opened(gui, fullscreen=True)
    gui.press(27)
    window.idle("")
    assert gui.fullscreen == [gui.WINDOW_FULLSCREEN, gui.WINDOW_NORMAL]
    assert not window.stop_requested
    gui.press(27)
    window.idle("")
    assert window.stop_requested
    other_gui = FakeGui()
    other = opened(other_gui, fullscreen=True)
    other_gui.press("q")
    other.idle("")
    assert other.stop_requested


def test_space_pauses_and_resumes(gui):
    window = opened(gui)
    gui.press(" ")
    window.write(presentation(0))
    assert window.paused
    np.testing.assert_array_equal(gui.shown[0], picture(0))
    assert (gui.shown[-1] != picture(0)).any()  # "paused"
    shown = len(gui.shown)
    window.idle("camera 0 is gone")
    assert len(gui.shown) == shown
    gui.press(" ")
    window.idle("")
    assert not window.paused
    window.write(presentation(2))
    assert (gui.shown[-1] == picture(2)).all()
    assert gui.titles == ["stream_segment (paused)", "stream_segment"]


def test_a_live_source_goes_on_behind_a_paused_picture(gui):
    window = opened(gui, context(kind=SourceKind.LIVE))
    gui.press(" ")
    window.write(presentation(0))
    shown = len(gui.shown)
    window.write(presentation(1))
    assert len(gui.shown) == shown
    gui.press(" ")
    window.write(presentation(2))
    np.testing.assert_array_equal(gui.shown[-1], picture(0))
    window.write(presentation(3))
    np.testing.assert_array_equal(gui.shown[-1], picture(3))


def test_a_file_plays_at_its_own_speed_unless_the_settings_say_otherwise():
    assert Window(WindowSettings()).paced
    assert not Window(WindowSettings(speed=PlaySpeed.FULL)).paced


def test_the_status_is_in_the_window_and_in_no_still(gui, tmp_path):
    status = StatusLine(display_fps=25.0, latency_ms=90.0, mask_age_ms=40.0)
    image = picture(0, (400, 200))
    shown = replace(presentation(0, image=image), status=status)
    window = opened(gui, context((400, 200)), tmp_path)
    window.write(shown)
    short = (gui.shown[-1] != image).any(axis=2).sum()
    gui.press("d")
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


def switched_draw(controls, calls):
    """Stands for the presenter: the picture is as bright as the score threshold, and black without masks."""

    def draw(segmented):
        calls.append(segmented.frame.index)
        state = controls.state
        return np.full((64, 96, 3), round(200 * state.min_score) if state.overlay.masks else 0, np.uint8)

    return draw


def test_keys_switch_what_is_drawn_for_everybody(gui):
    controls = Controls(OverlaySettings())
    window = opened(gui, controls=controls)
    overlay = controls.state.overlay
    assert (overlay.masks, overlay.boxes, overlay.labels, overlay.ids) == (True, False, True, False)
    gui.press("m", "b", "L", "t")
    for i in range(4):
        window.write(presentation(i))
    overlay = controls.state.overlay
    assert (overlay.masks, overlay.boxes, overlay.labels, overlay.ids) == (False, True, False, True)
    gui.press("m")
    window.idle("")
    assert controls.state.overlay.masks


@pytest.mark.parametrize("kind", [SourceKind.RECORDED, SourceKind.STILLS])
def test_a_picture_that_stays_is_drawn_anew_after_every_switch_from_wherever_it_comes(gui, kind):
    controls, calls = Controls(OverlaySettings()), []
    run = replace(context(kind=kind), draw=switched_draw(controls, calls))
    window = opened(gui, run, controls=controls)
    window.write(replace(presentation(5), controls=controls.state))
    if kind is SourceKind.RECORDED:
        gui.press(" ")
        window.idle("")
    window.idle("")
    assert calls == []
    gui.press("m")
    window.idle("")
    assert calls == [5]
    assert not gui.shown[-1][40:].any()
    controls.change_display(DisplayChange(masks=True, min_score=0.5))  # as the page does
    window.idle("")
    window.idle("")
    assert calls == [5, 5]
    assert (gui.shown[-1][40:] == 100).all()


def test_a_note_says_what_a_key_did_for_a_while(gui):
    clock = FakeClock()
    window = opened(gui, clock=clock)
    gui.press("m")
    window.write(presentation(0))
    assert (gui.shown[-1] != picture(0)).any()
    clock.now_s += 2.4
    window.write(presentation(0))
    assert (gui.shown[-1] != picture(0)).any()
    shown = len(gui.shown)
    window.idle("")
    assert len(gui.shown) == shown
    clock.now_s += 0.2
    window.idle("")
    np.testing.assert_array_equal(gui.shown[-1], picture(0))


def test_h_shows_the_keys_until_it_is_pressed_again(gui):
    window = opened(gui, context((640, 360)))
    image = picture(0, (640, 360))
    gui.press("h")
    window.write(presentation(0, image=image))
    changed = (gui.shown[-1] != image).any(axis=2)
    assert changed[100:260, 250:390].mean() > 0.9  # a panel in the middle
    assert not changed[:, :100].any()
    gui.press("h")
    window.idle("")
    np.testing.assert_array_equal(gui.shown[-1], image)


def test_r_records_and_the_window_says_so(gui):
    controls = Controls(OverlaySettings())
    window = opened(gui, controls=controls)
    gui.press("r")
    window.write(presentation(0))
    assert (controls.state.recording, controls.state.take) == (True, 1)
    window.write(presentation(1))
    assert has_red_chip(gui.shown[-1])
    gui.press("r")
    window.idle("")
    assert not controls.state.recording
    controls.recording_to("/videos/take.mp4")
    controls.recording_ended(1)
    window.write(presentation(2))
    assert (gui.shown[-1] != picture(2)).any()  # "saved take.mp4"
    assert not has_red_chip(gui.shown[-1])


def has_red_chip(image_bgr):
    blue, _, red = np.moveaxis(image_bgr.astype(int), 2, 0)
    return ((red - blue)[:30, 40:] > 100).sum() > 100


def test_images_are_not_recorded(gui):
    controls = Controls(OverlaySettings(), recording=True)  # they are written
    window = opened(gui, context(kind=SourceKind.STILLS), controls=controls)
    window.write(presentation(0))
    np.testing.assert_array_equal(gui.shown[-1], picture(0))
    gui.press("r")
    window.idle("")
    assert controls.state.take == 1


def test_a_click_describes_an_object_and_i_the_next_one(gui):
    item = presentation(0, instances=make_instances(2))  # (5, 4, 15, 30) and (17, 4, 27, 30)
    person, dog = picture(0), picture(0)
    draw_chosen(person, (5, 4, 15, 30), "person · 90%")
    draw_chosen(dog, (17, 4, 27, 30), "dog · 50%")
    window = opened(gui)
    gui.press((20, 20))
    window.write(item)
    assert (dog[4, 17:27] != picture(0)[4, 17:27]).any()
    np.testing.assert_array_equal(gui.shown[-1], dog)
    gui.press((60, 50))
    window.write(item)
    np.testing.assert_array_equal(gui.shown[-1], picture(0))
    gui.press("i", "i", "i")
    for shown in (person, dog, picture(0)):
        window.idle("")
        np.testing.assert_array_equal(gui.shown[-1], shown)


def stills(count, gui, **more):
    return opened(gui, context(kind=SourceKind.STILLS, frame_count=count), **more)


@pytest.mark.parametrize("key", [" ", 13, "x", RIGHT])
def test_an_image_stays_until_a_key(gui, key):
    window = stills(2, gui)
    window.write(presentation(0))
    window.idle("")
    assert window.paused
    gui.press(key)
    window.idle("")
    assert not window.paused
    window.write(presentation(1))
    assert window.paused
    assert not window.stop_requested


def test_the_last_image_stays_until_a_key_but_an_arrow(gui):
    window = stills(1, gui)
    window.write(presentation(0))
    gui.press(RIGHT, 65505)
    window.idle("")
    window.idle("")
    assert window.paused
    gui.press(13)
    window.idle("")
    assert not window.paused
    assert not window.stop_requested


def test_images_that_are_written_pass_and_the_last_one_stays(gui):
    window = stills(2, gui, is_alone=False)
    window.write(presentation(0))
    assert not window.paused
    window.write(presentation(1))
    assert window.paused


def test_arrows_step_through_the_images_and_back(gui, tmp_path):
    window = stills(3, gui, tmp_path=tmp_path)
    seen = []

    def press(key):
        gui.press(key)
        window.idle("")
        shown = [i for i in range(3) if (gui.shown[-1][40:] == picture(i)[40:]).all()]
        seen.append((shown, window.paused))

    for i in range(3):
        window.write(presentation(i, source_id=f"{i}.jpg"))
        if i < 2:
            press(RIGHT)
    for key in (LEFT, LEFT, LEFT, RIGHT, "s", RIGHT, RIGHT):
        press(key)
    # The first two presses let the next image come; then everything is there already.
    assert seen[:2] == [([0], False), ([1], False)]
    assert seen[2:] == [([1], True), ([0], True), ([0], True), ([1], True), ([1], True), ([2], True), ([2], True)]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "1.png")), picture(1))


def playing(gui, controls, **more):
    run = context()
    run = replace(run, source=replace(run.source, seekable_s=(2.0, 20.0)))
    return opened(gui, run, controls=controls, **more)


def test_arrows_seek_in_a_file(gui):
    controls = Controls(OverlaySettings())
    window = playing(gui, controls)
    gui.press(RIGHT)
    window.write(presentation(0, pts=4000))
    assert controls.take_seek() == 9.0
    gui.press(RIGHT, RIGHT, LEFT)
    for expected in (14.0, 19.0, 14.0):  # from where it will be, since the frame is not there yet
        window.idle("")
        assert controls.take_seek() == expected
    frame = replace(presentation(1, pts=34_000), segmented=shifted(34_000, 20_000))
    window.write(frame)
    gui.press(LEFT)
    window.idle("")
    assert controls.take_seek() == 9.0  # 34 s of playing is 14 s in the file


def shifted(pts, shift):
    segmented = presentation(1, pts=pts).segmented
    return replace(segmented, frame=replace(segmented.frame, shift=shift))


def test_a_seek_ends_at_the_ends_of_the_file(gui):
    controls = Controls(OverlaySettings())
    window = playing(gui, controls)
    gui.press(RIGHT, RIGHT, LEFT)
    window.write(presentation(0, pts=18_000))
    assert controls.take_seek() == 20.0
    window.idle("")
    assert controls.take_seek() is None
    window.write(presentation(1, pts=3_000))
    assert controls.take_seek() == 2.0


def test_a_file_that_is_written_cannot_be_sought_in(gui):
    controls = Controls(OverlaySettings())
    window = playing(gui, controls, is_alone=False)
    gui.press(RIGHT)
    window.write(presentation(0, pts=4000))
    assert controls.take_seek() is None
    assert (gui.shown[-1] != picture(0)).any()  # the reason
    gui = FakeGui()
    window = playing(gui, controls)
    controls.set_recording(True)
    gui.press(RIGHT)
    window.write(presentation(0, pts=4000))
    assert controls.take_seek() is None


def test_a_paused_file_shows_the_frame_after_a_seek(gui):
    window = playing(gui, Controls(OverlaySettings()))
    gui.press(" ", RIGHT)
    window.write(presentation(0, pts=4000))
    assert window.paused
    window.idle("")
    assert not window.paused
    window.write(presentation(1, pts=9000))
    assert window.paused
    assert (gui.shown[-1][50:] == picture(1)[50:]).all()


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
    window = opened(gui)
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
