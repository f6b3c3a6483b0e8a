"""The window pauses, steps through images, seeks in files."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.records import SourceKind
from pipeline.settings.output_settings import OverlaySettings, PlaySpeed, WindowSettings
from pipeline.sinks.window import Window
from tests.pipeline.sinks.fake_gui import LEFT, RIGHT, FakeGui, opened_window
from tests.pipeline.sinks.presentations import context, picture, presentation


@pytest.fixture
def gui():
    return FakeGui()


def test_space_pauses_and_resumes(gui):
    window = opened_window(gui)
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
    window = opened_window(gui, context(kind=SourceKind.LIVE))
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


def stills(count, gui, **more):
    return opened_window(gui, context(kind=SourceKind.STILLS, frame_count=count), **more)


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


def test_the_last_image_that_could_be_read_stays_too(gui):
    window = stills(3, gui, is_alone=False)
    window.write(presentation(0))
    assert not window.paused
    window.source_ended()
    assert window.paused
    gui.press(RIGHT)
    window.idle("")
    assert window.paused, "there is no other"
    gui.press(13)
    window.idle("")
    assert not window.paused


def test_an_image_that_was_left_does_not_come_back_at_the_end(gui):
    window = stills(3, gui)
    window.write(presentation(0))
    gui.press(13)
    window.idle("")
    window.source_ended()
    assert not window.paused


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
    return opened_window(gui, run, controls=controls, **more)


def test_there_is_no_seeking_before_the_first_frame(gui, monkeypatch):
    controls, notes = Controls(OverlaySettings()), []
    window = playing(gui, controls)
    monkeypatch.setattr(window, "_note", notes.append)
    gui.press(RIGHT)
    window.idle("loading the model")
    assert notes == ["no seeking before the first frame"]
    assert controls.take_seek() is None


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


def test_a_file_that_was_read_to_its_end_cannot_be_sought_in(gui):
    controls = Controls(OverlaySettings())
    window = playing(gui, controls)
    gui.press(" ", LEFT)
    window.write(presentation(0, pts=19_000))
    controls.end_seeking()
    window.idle("")
    assert controls.take_seek() is None
    assert window.paused


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
