"""What is seen of a run: picture, slate, attract screen, and where a point of the window lies in the frame."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.drawing.status import StatusLine, draw_status
from pipeline.settings.output_settings import AttractSettings, OverlaySettings
from pipeline.sinks.attract import AttractScreen
from pipeline.sinks.base import Presentation
from pipeline.sinks.viewport import NOTE_S, Viewport
from tests.pipeline.fakes import make_instances
from tests.pipeline.sinks.presentations import picture, presentation

SIZE_WH = (200, 64)


def shown(index=0, annotated=None, **more):
    view = Viewport()
    item = presentation(index, **more)
    view.take(item if annotated is None else replace(item, annotated_bgr=annotated))
    return view


def test_before_the_first_frame_it_is_black():
    assert not Viewport().render(SIZE_WH, 0.0).any()
    assert Viewport().render(None, 0.0).shape == (360, 640, 3)


def test_the_picture_is_a_copy_in_the_middle_and_its_bars_are_black():
    view = shown(2)
    image = view.render(SIZE_WH, 0.0)
    np.testing.assert_array_equal(image[:, 52:148], picture(2))
    assert not image[:, :52].any()
    assert not image[:, 148:].any()
    own = view.render(None, 0.0)
    own[:] = 0
    assert view.picture_bgr.any()


def test_a_slate_hides_the_masks_of_the_last_frame():
    """The frame is gray 60, what was drawn on it is white: of that nothing is left."""
    view = shown(annotated=np.full((64, 96, 3), 255, np.uint8))
    assert (view.render((960, 640), 0.0) == 255).all()
    view.slate = "camera 0 is gone"
    image = view.render((960, 640), 0.0)
    assert image[:200, 100:].max() == pytest.approx(0.35 * 60, abs=1)
    assert image[280:360].max() > 200  # the words


def test_a_slate_before_the_first_frame():
    view = Viewport()
    view.slate = "loading the model"
    image = view.render((640, 360), 0.0)
    assert np.median(image) < 60
    assert image.max() > 200
    assert not view.moves


def test_with_an_attract_screen_the_start_looks_like_it():
    view = Viewport(attract=AttractScreen(AttractSettings(after_s=1.0)))
    view.slate = "Just a moment"
    assert view.moves
    assert (view.render((640, 360), 0.0) != view.render((640, 360), 1.5)).any()
    view.take(presentation(0))
    assert not view.moves  # a camera that is gone later has a slate
    view.slate, view.attracts = "", True
    assert view.moves
    assert view.render(None, 0.0)[0, -1].tolist() == [27, 27, 27]  # 0.45 * 60


def test_a_note_stays_for_a_while_and_paused_for_good():
    view = shown()
    plain = view.render(None, 0.0)
    view.note("masks off", 10.0)
    assert (view.render(None, 10.0 + NOTE_S - 0.01) != plain).any()
    assert not view.note_ends(10.0 + NOTE_S - 0.01)
    assert view.note_ends(10.0 + NOTE_S)
    assert not view.note_ends(10.0 + NOTE_S)
    np.testing.assert_array_equal(view.render(None, 10.0 + NOTE_S), plain)
    view.is_paused = True
    assert (view.render(None, 1000.0) != plain).any()


def test_the_status_is_drawn_once():
    status = StatusLine(display_fps=25.0)
    item = replace(presentation(0), status=status)
    view = Viewport()
    view.take(item)
    assert (view.render(None, 0.0) == picture(0)).all()
    view.has_status = True
    assert (view.render(None, 0.0) != picture(0)).any()
    view.has_status = False
    view.take(replace(item, status=StatusLine(display_fps=25.0, notice="loading the model")))
    notice = picture(0)
    draw_status(notice, StatusLine(notice="loading the model"))
    np.testing.assert_array_equal(view.render(None, 0.0), notice)
    view.has_status = True
    state = Controls(OverlaySettings(status=True)).state
    drawn = Presentation(item.segmented, np.full((64, 96, 3), 7, np.uint8), state, status)
    view.take(drawn)
    assert (view.render(None, 0.0) == 7).all()  # the picture has it already


def test_objects_below_the_threshold_of_the_viewer_cannot_be_chosen():
    controls = replace(Controls(OverlaySettings()).state, min_score=0.7)
    view = Viewport()
    view.take(replace(presentation(0, instances=make_instances(2)), controls=controls))  # scores 0.9 and 0.5
    view.inspector.choose_at(20, 20)
    assert view.inspector.chosen() is None
    view.inspector.choose_at(10, 20)
    assert view.inspector.chosen() is not None


@pytest.mark.parametrize(
    ("aspect", "size_wh", "point", "expected"),
    [
        (1.0, (96, 64), (10, 20), (10.5, 20.5)),
        (1.0, (192, 128), (11, 21), (5.75, 10.75)),
        (1.0, (200, 64), (52, 0), (0.5, 0.5)),
        (1.0, (200, 64), (51, 0), None),
        (1.0, (200, 64), (148, 0), None),
        (1.0, (96, 164), (0, 50), (0.5, 0.5)),
        (1.0, (96, 164), (0, 49), None),
        (2.0, (192, 64), (10, 20), (5.25, 20.5)),
    ],
)
def test_where_a_point_of_the_window_lies_in_the_frame(aspect, size_wh, point, expected):
    view = shown(sample_aspect_ratio=Fraction(aspect))
    assert view.frame_point(*point, size_wh) == expected


def test_there_is_no_frame_to_click_on_behind_a_slate():
    assert Viewport().frame_point(1, 1, (96, 64)) is None
    view = shown()
    view.slate = "gone"
    assert view.frame_point(1, 1, (96, 64)) is None


def test_the_chosen_object_is_framed_where_the_picture_lies():
    view = shown(instances=make_instances(1))  # (5, 4, 15, 30)
    view.inspector.choose_next()
    image = view.render((400, 128), 0.0)  # twice as large, 104 pixels to the right
    assert (image[30, 104 + 10] == 255).all()
    assert (image[30, 104 + 30] == 255).all()
    np.testing.assert_array_equal(image[30, 104 + 20], picture(0)[15, 10])
