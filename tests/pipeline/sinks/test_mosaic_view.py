"""What the window of several cameras shows: all of them, a chosen one, one after the other; and never an old picture
as if it were live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.drawing.mosaic import Mosaic, Tile
from pipeline.drawing.status import StatusLine
from pipeline.sinks.base import Presentation
from pipeline.sinks.mosaic_view import MosaicView
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.presentations import presentation

SIZE = (640, 360)
NAMES = ("hall", "yard", "gate")
LEVELS = {"hall": 50, "yard": 100, "gate": 150}


@pytest.fixture
def clock():
    return FakeClock(100.0)


def at(name, presented_at_s, status=None):
    """A presentation of a camera whose picture is of one gray level."""
    made = presentation(0, image=np.full((36, 64, 3), LEVELS[name], np.uint8))
    times = replace(made.segmented.times, presented_at_s=presented_at_s)
    return Presentation(replace(made.segmented, times=times), made.annotated_bgr, status=status)


def shown(view, size_wh=SIZE):
    """Which cameras are seen, by their gray levels; None if nothing has changed."""
    canvas = view.draw(size_wh)
    return None if canvas is None else {name for name, level in LEVELS.items() if (canvas == level).mean() > 0.05}


def all_three(clock, rotate_s=None):
    view = MosaicView(clock, rotate_s)
    view.set_cameras(NAMES)
    for name in NAMES:
        view.show(name, at(name, clock()))
    return view


def test_all_cameras_are_seen_until_one_is_chosen(clock):
    view = all_three(clock)
    assert shown(view) == {"hall", "yard", "gate"}
    view.choose(2)
    assert view.chosen == "yard"
    assert shown(view) == {"yard"}
    view.choose(3)
    assert shown(view) == {"gate"}
    view.choose(4)  # there is none
    assert shown(view) is None
    assert view.back()
    assert shown(view) == {"hall", "yard", "gate"}
    assert not view.back()


def test_a_click_chooses_the_camera_below_it(clock):
    view = all_three(clock)
    view.click(5, 5)  # nothing is drawn yet
    assert view.chosen is None
    view.draw(SIZE)
    view.click(320, 270)  # the third tile is in the middle of the second row
    assert view.chosen == "gate"
    view.draw(SIZE)
    view.click(320, 180)
    assert view.chosen == "gate"


def test_a_click_between_tiles_chooses_none(clock):
    view = all_three(clock)
    view.draw(SIZE)
    view.click(2, 270)
    assert view.chosen is None


def test_steps_go_through_the_cameras(clock):
    view = all_three(clock)
    seen = []
    for by in (1, 1, 1, 1, -1, -1):
        view.step(by)
        view.draw(SIZE)
        seen.append(view.chosen)
    assert seen == ["hall", "yard", "gate", "hall", "gate", "yard"]
    view.back()
    view.draw(SIZE)
    view.step(-1)
    assert view.chosen == "gate"


def test_nothing_is_drawn_without_a_change(clock):
    view = all_three(clock)
    assert view.draw(SIZE) is not None
    assert view.draw(SIZE) is None
    view.show("hall", at("hall", clock(), StatusLine(display_fps=15)))
    assert view.draw(SIZE) is not None
    assert view.draw((800, 450)).shape == (450, 800, 3)


def test_the_tiles_say_rate_age_and_objects(clock):
    view = MosaicView(clock)
    view.set_cameras(["hall"])
    live = at("hall", clock(), StatusLine(display_fps=15.2, mask_age_ms=120.4, counts=[("person", 2, 5)]))
    view.show("hall", live)
    expected = Mosaic(SIZE).draw([Tile("hall", live.annotated_bgr, ("15 fps", "masks 120 ms old", "2 people"))])
    np.testing.assert_array_equal(view.draw(SIZE), expected)


def test_what_keeps_pictures_from_coming_is_said_until_one_comes(clock):
    view = MosaicView(clock)
    view.set_cameras(["hall", "yard"])
    first = view.draw(SIZE).copy()
    np.testing.assert_array_equal(
        first, Mosaic(SIZE).draw([Tile("hall", slate="no picture yet"), Tile("yard", slate="no picture yet")])
    )
    picture = at("hall", clock(), StatusLine(display_fps=15))
    view.show("hall", picture)
    view.explain("hall", "offline since 14:03")
    view.explain("yard", "disabled")
    clock.now_s += 0.6
    offline = [Tile("hall", picture.annotated_bgr, slate="offline since 14:03"), Tile("yard", slate="disabled")]
    np.testing.assert_array_equal(view.draw(SIZE), Mosaic(SIZE).draw(offline))
    picture = at("hall", clock(), StatusLine(display_fps=15))
    view.show("hall", picture)
    back = [Tile("hall", picture.annotated_bgr, ("15 fps",)), Tile("yard", slate="disabled")]
    np.testing.assert_array_equal(view.draw(SIZE), Mosaic(SIZE).draw(back))


def test_pictures_that_come_while_the_network_loads_are_live(clock):
    view = MosaicView(clock)
    view.set_cameras(["hall"])
    picture = at("hall", clock(), StatusLine(display_fps=15))
    view.show("hall", picture)
    view.explain("hall", "loading the model")
    expected = Mosaic(SIZE).draw([Tile("hall", picture.annotated_bgr, ("loading the model", "15 fps"))])
    np.testing.assert_array_equal(view.draw(SIZE), expected)


@pytest.mark.parametrize(
    ("fps", "age_s", "slate"),
    [
        (25, 1.9, ""),
        (25, 2.1, "no picture for 2 s"),
        (None, 3.1, "no picture for 3 s"),
        (None, 1.9, ""),
        (0.2, 14.9, ""),  # a picture every five seconds
        (0.2, 15.6, "no picture for 16 s"),
    ],
)
def test_an_old_picture_is_not_shown_as_live(clock, fps, age_s, slate):
    view = MosaicView(clock)
    view.set_cameras(["hall"])
    picture = at("hall", clock(), StatusLine(display_fps=fps))
    view.show("hall", picture)
    clock.now_s += age_s
    details = picture.status.for_tile() if not slate else ()
    expected = Mosaic(SIZE).draw([Tile("hall", picture.annotated_bgr, details, slate)])
    np.testing.assert_array_equal(view.draw(SIZE), expected)


def test_a_kiosk_shows_one_camera_after_the_other(clock):
    view = all_three(clock, rotate_s=5.0)
    seen = []
    for _ in range(8):
        for name in NAMES:
            view.show(name, at(name, clock()))
        seen.append(shown(view) or seen[-1])
        clock.now_s += 2.5
    assert seen == [{"hall"}, {"hall"}, {"yard"}, {"yard"}, {"gate"}, {"gate"}, {"hall"}, {"hall"}]


def test_the_rotation_leaves_out_cameras_without_a_picture(clock):
    view = all_three(clock, rotate_s=5.0)
    view.explain("yard", "offline since 14:03")
    assert shown(view) == {"hall"}
    clock.now_s += 5.0
    for name in ("hall", "gate"):
        view.show(name, at(name, clock()))
    assert shown(view) == {"gate"}
    view.explain("gate", "offline since 14:04")  # its turn ends
    clock.now_s += 0.6
    assert shown(view) == {"hall"}
    view.explain("hall", "offline since 14:05")
    canvas = view.draw((700, 400))  # all of them, dimmed
    assert [(canvas == round(0.35 * level)).mean() > 0.05 for level in (50, 100, 150)] == [True] * 3


def test_a_choice_stops_the_rotation_until_the_user_goes_back(clock):
    view = all_three(clock, rotate_s=5.0)
    view.draw(SIZE)
    view.choose(3)
    clock.now_s += 60.0
    view.show("gate", at("gate", clock()))
    assert shown(view) == {"gate"}
    view.choose(0)
    for name in NAMES:
        view.show(name, at(name, clock()))
    assert shown(view) == {"hall", "yard", "gate"}
    assert view.back()
    assert len(shown(view)) == 1
    assert not view.back()


def test_cameras_come_and_go(clock):
    view = MosaicView(clock)
    assert view.draw(SIZE) is None
    view.set_cameras(["hall", "yard"])
    view.show("hall", at("hall", clock()))
    view.show("yard", at("yard", clock()))
    view.choose(2)
    assert shown(view) == {"yard"}
    view.set_cameras(["hall", "gate"])
    view.show("gate", at("gate", clock()))
    assert shown(view) == {"hall", "gate"}
    view.show("yard", at("yard", clock()))  # a new one, or the last frame of one that has gone
    view.set_cameras(["hall", "gate"])
    assert shown(view) is None
    view.show("yard", at("yard", clock()))
    view.set_cameras(["yard", "hall", "gate"])
    assert shown(view) == {"yard", "hall", "gate"}
    view.set_cameras([])
    assert not view.draw(SIZE).any()
    assert view.draw(SIZE) is None


@pytest.mark.parametrize("size_wh", [(32, 18), (1, 1), (300, 90)])
def test_a_tiny_window_gets_a_larger_picture_of_its_aspect(clock, size_wh):
    canvas = all_three(clock).draw(size_wh)
    assert min(canvas.shape[:2]) == 180
    assert canvas.shape[1] / canvas.shape[0] == pytest.approx(size_wh[0] / size_wh[1], rel=0.01)


def test_non_square_pixels(clock):
    view = MosaicView(clock)
    view.set_cameras(["hall"])
    made = at("hall", clock())
    view.show("hall", made, pixel_aspect=2.0)
    np.testing.assert_array_equal(
        view.draw(SIZE), Mosaic(SIZE).draw([Tile("hall", made.annotated_bgr, pixel_aspect=2.0)])
    )
