"""The window of several cameras: keys, clicks, pause, stills, the attract screen; with a fake toolkit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.drawing.mosaic import Mosaic, Tile
from pipeline.drawing.status import StatusLine
from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import AttractSettings, OverlaySettings, WindowSettings
from pipeline.sinks.base import Presentation
from pipeline.sinks.cameras_window import REFRESH_S, CamerasWindow
from tests.pipeline.fakes import FakeClock, make_instances
from tests.pipeline.sinks.fake_gui import LEFT, RIGHT, FakeGui, desktop_of
from tests.pipeline.sinks.presentations import context, presentation

SIZE = (640, 360)
LEVELS = {"hall": 50, "yard": 100, "gate": 150}
ESC = 27
LIVE = context((64, 36), SourceKind.LIVE)


class Screen:
    """A window of three cameras, with their controls; `see` gives each a new frame and refreshes."""

    def __init__(self, attract=None, **settings):
        self.gui, self.clock = FakeGui(SIZE), FakeClock(100.0)
        self.controls = {name: Controls(OverlaySettings()) for name in LEVELS}
        desktop = desktop_of(self.gui, clock=self.clock)
        self.window = CamerasWindow(WindowSettings(**settings), self.controls.get, attract, desktop)
        self.window.open(list(LEVELS))
        self.states = dict.fromkeys(LEVELS, "")

    def frame(self, name, instances=None, index=0):
        made = presentation(index, image=np.full((36, 64, 3), LEVELS[name], np.uint8), instances=instances)
        frame = replace(made.segmented.frame, captured_at_s=self.clock())
        times = replace(made.segmented.times, presented_at_s=self.clock())
        return Presentation(replace(made.segmented, frame=frame, times=times), frame.image_bgr)

    def see(self, *keys, instances=None):
        """Presses keys, one at each refresh, and returns which cameras are seen then, by their gray levels."""
        self.gui.press(*keys)
        for _ in range(max(1, len(keys))):
            self.clock.now_s += REFRESH_S
            for name in self.states:
                if not self.states[name]:
                    self.window.write(name, self.frame(name, instances), LIVE)
            self.window.idle(self.states)
        return seen(self.gui.shown[-1])


def seen(canvas):
    return {name for name, level in LEVELS.items() if (canvas == level).mean() > 0.05}


ALL = set(LEVELS)


def test_it_opens_with_words_and_shows_all_cameras():
    screen = Screen()
    waiting = Mosaic(SIZE).draw([Tile(name, slate="no picture yet") for name in LEVELS])
    np.testing.assert_array_equal(screen.gui.shown[-1], waiting)
    assert screen.see() == ALL


def test_a_machine_without_a_screen_is_an_error():
    desktop = desktop_of(FakeGui(), screen=lambda: (False, "DISPLAY is not set"))
    window = CamerasWindow(WindowSettings(), lambda _: None, desktop=desktop)
    with pytest.raises(InputError, match="No window can be opened: DISPLAY is not set"):
        window.open(["hall"])
    window.idle({"hall": ""})
    window.close()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("2", {"yard"}),
        ("23", {"gate"}),
        ("9", ALL),  # there are three
        (["2", ESC], ALL),
        ("20", ALL),
        ([RIGHT], {"hall"}),
        ([RIGHT, RIGHT], {"yard"}),
        ([LEFT], {"gate"}),
        (["1", LEFT], {"gate"}),
        ([(320, 270)], {"gate"}),  # the third tile is in the middle of the second row
        ([(10, 270)], ALL),  # beside it is none
        ([(320, 270), ESC], ALL),
    ],
)
def test_keys_and_clicks_choose_cameras(keys, expected):
    screen = Screen()
    screen.see()
    assert screen.see(*keys) == expected
    assert not screen.window.stop_requested


def test_escape_goes_back_then_leaves_full_screen_then_quits():
    screen = Screen(fullscreen=True)
    assert screen.gui.fullscreen == [1]
    screen.see("1", ESC)
    assert screen.gui.fullscreen == [1]
    screen.see(ESC)
    assert screen.gui.fullscreen == [1, 0]
    assert not screen.window.stop_requested
    screen.see(ESC)
    assert screen.window.stop_requested


def test_q_quits_and_f_fills_the_screen():
    screen = Screen()
    screen.see("f")
    assert screen.gui.fullscreen == [1]
    screen.see("q")
    assert screen.window.stop_requested


def test_closing_the_window_ends_the_run():
    screen = Screen()
    screen.see()
    screen.gui.destroyWindow("stream_segment")
    screen.see()
    assert screen.window.stop_requested
    screen.window.close()


def test_a_camera_that_is_offline_says_so():
    screen = Screen()
    screen.see()
    screen.states["yard"] = "offline since 14:03"
    screen.clock.now_s += 0.6
    assert screen.see() == ALL - {"yard"}
    pictures = [(np.full((36, 64, 3), level, np.uint8), name) for name, level in LEVELS.items()]
    tiles = [Tile(name, picture, slate=screen.states[name]) for picture, name in pictures]
    np.testing.assert_array_equal(screen.gui.shown[-1], Mosaic(SIZE).draw(tiles))


def test_the_slate_hides_the_masks():
    screen = Screen()
    made = screen.frame("hall")
    drawn = np.full((36, 64, 3), 222, np.uint8)
    screen.window.write("hall", Presentation(made.segmented, drawn), LIVE)
    screen.states |= {"hall": "offline since 14:03"}
    screen.clock.now_s += 0.6
    screen.window.idle(screen.states)
    tiles = [Tile("hall", made.segmented.frame.image_bgr, slate="offline since 14:03")]
    tiles += [Tile(name, slate="no picture yet") for name in ("yard", "gate")]
    np.testing.assert_array_equal(screen.gui.shown[-1], Mosaic(SIZE).draw(tiles))


def test_cameras_come_and_go():
    screen = Screen()
    screen.see("3")
    del screen.states["gate"]
    assert screen.see() == {"hall", "yard"}
    screen.window.write("gate", screen.frame("gate"), LIVE)  # its last frame comes late
    screen.states["gate"] = ""
    assert screen.see() == ALL


def test_it_refreshes_no_more_often_than_a_screen_does():
    screen = Screen()
    screen.see()
    count = len(screen.gui.shown)
    for _ in range(9):
        screen.clock.now_s += REFRESH_S / 10
        screen.window.write("hall", screen.frame("hall"), LIVE)
        screen.window.idle(screen.states)
    assert len(screen.gui.shown) == count
    screen.clock.now_s += REFRESH_S / 5
    screen.window.idle(screen.states)
    assert len(screen.gui.shown) == count + 1


def test_nothing_is_shown_again_without_a_change():
    screen = Screen()
    screen.see()
    count = len(screen.gui.shown)
    for _ in range(3):
        screen.clock.now_s += REFRESH_S
        screen.window.idle(screen.states)
    assert len(screen.gui.shown) == count


def test_h_shows_the_keys_and_hides_them():
    screen = Screen()
    screen.see()
    before = screen.gui.shown[-1]
    screen.see("h")
    panel = (screen.gui.shown[-1] != before).any(axis=2)
    assert panel[100:260, 200:440].mean() > 0.5
    screen.see("h")
    np.testing.assert_array_equal(screen.gui.shown[-1], before)


def test_a_pause_stops_the_pictures_and_says_so():
    screen = Screen()
    screen.see()
    before = screen.gui.shown[-1]
    screen.see(" ")
    assert screen.window.paused
    assert screen.gui.titles == ["stream_segment (paused)"]
    assert (screen.gui.shown[-1][:25] != before[:25]).any()  # the note at the top
    np.testing.assert_array_equal(screen.gui.shown[-1][40:], before[40:])
    screen.clock.now_s += 60.0  # still the picture of then, and not one of a camera that stalls
    screen.states["hall"] = "offline since 14:03"
    assert screen.see() == ALL
    assert screen.see("2") == {"yard"}
    screen.see(" ")
    assert not screen.window.paused
    assert screen.gui.titles[-1] == "stream_segment"
    assert screen.see(ESC) == ALL - {"hall"}


def test_switches_are_of_the_cameras_in_view():
    screen = Screen()
    screen.see("b")
    assert [one.state.overlay.boxes for one in screen.controls.values()] == [True] * 3
    screen.see("2", "b")
    assert [one.state.overlay.boxes for one in screen.controls.values()] == [True, False, True]
    screen.see("m", "t", "l")
    overlay = screen.controls["yard"].state.overlay
    assert (overlay.masks, overlay.ids, overlay.labels) == (False, True, False)
    screen.see(ESC, "b")  # they differ: all of them follow the first
    assert [one.state.overlay.boxes for one in screen.controls.values()] == [False] * 3


def test_a_note_says_what_was_switched_and_goes():
    screen = Screen()
    screen.see()
    before = screen.gui.shown[-1]
    screen.see("b")
    assert (screen.gui.shown[-1][:25] != before[:25]).any()
    screen.clock.now_s += 2.5
    screen.see()
    np.testing.assert_array_equal(screen.gui.shown[-1], before)


def test_a_click_on_an_object_of_the_chosen_camera_describes_it():
    screen = Screen()
    one = make_instances(1)
    x1, y1, x2, y2 = one.boxes_xyxy[0].tolist()
    one = replace(one, boxes_xyxy=np.array([[10, 5, 30, 20]], np.float32))
    assert (x1, y1, x2, y2) != (10, 5, 30, 20)
    screen.see("1", instances=one)
    screen.see(instances=one)
    before = screen.gui.shown[-1]
    # Text of 11.5 px, a caption of 17 rows: the picture is 610 x 343 at (15, 17); a pixel of the frame is 9.53 wide.
    screen.see((15 + 190, 17 + 120), instances=one)
    changed = (screen.gui.shown[-1] != before).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed[17 + 48, 15 + 190]  # the box's upper edge
    assert abs(columns.min() - (15 + 95)) <= 3
    assert abs(rows.min() - (17 + 48)) <= 3
    screen.see((15 + 590, 17 + 10), instances=one)  # beside it
    np.testing.assert_array_equal(screen.gui.shown[-1], before)
    screen.see("i", instances=one)
    assert (screen.gui.shown[-1] != before).any()


def test_r_records_the_cameras_in_view():
    screen = Screen()
    screen.see("2", "r")
    assert [one.state.recording for one in screen.controls.values()] == [False, True, False]
    screen.see(ESC, "r")  # one records: it ends
    assert [one.state.recording for one in screen.controls.values()] == [False] * 3
    screen.see("r")
    assert [one.state.recording for one in screen.controls.values()] == [True] * 3


def test_recordings_are_signed_and_their_ends_noted():
    screen = Screen()
    screen.see()
    before = screen.gui.shown[-1]
    screen.controls["gate"].set_recording(True)
    made = screen.frame("gate")
    state = screen.controls["gate"].state
    screen.window.write("gate", Presentation(made.segmented, made.annotated_bgr, state), LIVE)
    screen.clock.now_s += REFRESH_S
    screen.window.idle(screen.states)
    changed = (screen.gui.shown[-1] != before).any(axis=2)
    assert changed[180:200].any()  # the caption of the third tile
    assert not changed[:180].any()
    screen.see()
    screen.controls["gate"].recording_to("out/gate-1.mp4")
    screen.controls["gate"].recording_ended(1)
    screen.see()
    assert (screen.gui.shown[-1][:25, 250:390] != before[:25, 250:390]).any()  # the note at the top
    screen.clock.now_s += 2.5
    screen.see()
    screen.controls["gate"].recording_ended(1, "the disk is full")
    screen.see()
    assert (screen.gui.shown[-1][:25, 250:390] != before[:25, 250:390]).any()


def test_i_needs_a_camera():
    screen = Screen()
    screen.see()
    before = screen.gui.shown[-1]
    screen.see("i", instances=make_instances(1))
    assert (screen.gui.shown[-1][:25] != before[:25]).any()


def test_stills_of_one_camera_and_of_all(tmp_path):
    screen = Screen(stills_dir=str(tmp_path / "{camera}"))
    screen.see()
    screen.see("s")
    screen.see("3", "s")
    every, one = tmp_path / "cameras" / "cameras-20260314-150926.png", tmp_path / "gate" / "gate-20260314-150926.png"
    assert screen.window.stills == [str(every), str(one)]
    assert cv2.imread(str(every)).shape == (360, 640, 3)
    np.testing.assert_array_equal(cv2.imread(str(one)), np.full((36, 64, 3), LEVELS["gate"], np.uint8))


def test_a_still_of_a_camera_with_non_square_pixels_is_stretched(tmp_path):
    screen = Screen(stills_dir=str(tmp_path))
    made = screen.frame("hall")
    frame = replace(made.segmented.frame, sample_aspect_ratio=Fraction(2))
    screen.window.write("hall", replace(made, segmented=replace(made.segmented, frame=frame)), LIVE)
    screen.gui.press("1", "s")
    for _ in range(2):
        screen.window.idle({"hall": ""})
        screen.clock.now_s += REFRESH_S
    assert cv2.imread(screen.window.stills[0]).shape == (36, 128, 3)


def test_a_kiosk_rotates_through_the_cameras():
    screen = Screen(rotate_s=1.0)
    found = []
    for _ in range(240):
        found.append(screen.see())
    assert [found[index] for index in (0, 50, 70, 110, 130, 170, 190)] == [
        *({"hall"}, {"hall"}, {"yard"}, {"yard"}, {"gate"}, {"gate"}, {"hall"})
    ]


def test_the_attract_screen_comes_when_nobody_is_in_any_picture():
    screen = Screen(attract=AttractSettings(after_s=1.0, text="Come closer!"))
    screen.see()
    somebody = make_instances(1)
    for _ in range(70):
        screen.see()
    assert screen.see() == set()  # dimmed, with large text
    count = len(screen.gui.shown)
    screen.clock.now_s += 1 / 30
    screen.window.idle(screen.states)
    assert len(screen.gui.shown) == count + 1  # it moves
    screen.clock.now_s += 1 / 30
    assert screen.see(instances=somebody) == ALL
    screen.window.close()


def test_no_attract_screen_while_somebody_is_in_one_of_the_pictures():
    screen = Screen(attract=AttractSettings(after_s=1.0))
    for _ in range(70):
        screen.window.write("yard", screen.frame("yard", make_instances(1)), LIVE)
        screen.states["yard"] = ""
        screen.clock.now_s += REFRESH_S
        for name in ("hall", "gate"):
            screen.window.write(name, screen.frame(name), LIVE)
        screen.window.idle(screen.states)
    assert seen(screen.gui.shown[-1]) == ALL
    screen.states["yard"] = "offline since 14:03"  # who was there is not seen any more
    screen.clock.now_s += 0.6
    screen.see()
    screen.clock.now_s += 1 / 30
    screen.see()
    assert seen(screen.gui.shown[-1]) == set()


def test_non_square_pixels_are_stretched():
    screen = Screen()
    made = screen.frame("hall")
    frame = replace(made.segmented.frame, sample_aspect_ratio=Fraction(2))
    # A camera that comes after the start was expected with square pixels.
    screen.window.write("hall", replace(made, segmented=replace(made.segmented, frame=frame)), context((64, 36)))
    screen.window.idle({"hall": ""})
    expected = Mosaic(SIZE).draw([Tile("hall", np.full((36, 64, 3), 50, np.uint8), pixel_aspect=2.0)])
    np.testing.assert_array_equal(screen.gui.shown[-1], expected)


def test_the_status_of_a_camera_that_is_seen_alone_is_switched():
    screen = Screen(status=False)
    made = screen.frame("hall")
    status = StatusLine(display_fps=15.0, mask_age_ms=120.0)

    def shown(*cameras):
        screen.clock.now_s += REFRESH_S
        screen.window.write("hall", Presentation(made.segmented, made.annotated_bgr, status=status), LIVE)
        screen.window.idle(dict.fromkeys(cameras, ""))
        return screen.gui.shown[-1]

    bare = Tile("hall", made.annotated_bgr)
    full = Tile("hall", made.annotated_bgr, ("15 fps", "masks 120 ms old"))
    np.testing.assert_array_equal(shown("hall"), Mosaic(SIZE).draw([bare]))
    np.testing.assert_array_equal(
        shown("hall", "yard"), Mosaic(SIZE).draw([full, Tile("yard", slate="no picture yet")])
    )
    screen.gui.press("d")
    np.testing.assert_array_equal(shown("hall"), Mosaic(SIZE).draw([full]))
