"""What the keys and the mouse do in the window: stills, notes, help, what is drawn, recording, choosing an object."""

from __future__ import annotations

import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.controls import Controls, DisplayChange
from pipeline.drawing.panels import draw_chosen
from pipeline.drawing.status import StatusLine
from pipeline.records import SourceKind
from pipeline.settings.output_settings import OverlaySettings
from tests.pipeline.fakes import FakeClock, make_instances
from tests.pipeline.sinks.fake_gui import FakeGui, opened_window
from tests.pipeline.sinks.presentations import context, picture, presentation


@pytest.fixture
def gui():
    return FakeGui()


def test_the_status_is_in_the_window_and_in_no_still(gui, tmp_path):
    status = StatusLine(display_fps=25.0, latency_ms=90.0, mask_age_ms=40.0)
    image = picture(0, (400, 200))
    shown = replace(presentation(0, image=image), status=status)
    window = opened_window(gui, context((400, 200)), tmp_path)
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
    window = opened_window(gui, status=False)
    window.write(replace(presentation(0), status=StatusLine(display_fps=25.0)))
    np.testing.assert_array_equal(gui.shown[-1], picture(0))


def test_the_run_can_be_ended_while_paused(gui):
    window = opened_window(gui)
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
    window = opened_window(gui, run, tmp_path / "new")
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
    window = opened_window(gui, tmp_path=tmp_path / "file")
    gui.press("s")
    window.write(presentation(0))
    assert "saving the still" in caplog.text
    assert window.outputs == ()
    assert not window.stop_requested


def test_s_before_the_first_frame_does_nothing(gui, tmp_path):
    window = opened_window(gui, tmp_path=tmp_path)
    gui.press("s")
    window.idle("loading the model")
    assert list(tmp_path.iterdir()) == []


def test_a_message_is_shown_over_the_dimmed_last_frame_once(gui):
    window = opened_window(gui)
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
    window = opened_window(gui, controls=controls)
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
    window = opened_window(gui, run, controls=controls)
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
    window = opened_window(gui, clock=clock)
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
    window = opened_window(gui, context((640, 360)))
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
    window = opened_window(gui, controls=controls)
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
    window = opened_window(gui, context(kind=SourceKind.STILLS), controls=controls)
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
    window = opened_window(gui)
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
