"""What a window draws over its picture: inside the canvas, where it should be, readable."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.drawing import panels
from pipeline.drawing.palette import WHITE
from pipeline.drawing.text import text_width
from pipeline.records import SourceKind
from pipeline.sinks.keys import help_rows

SIZES_WH = [(176, 144), (640, 360), (480, 640), (1920, 1080)]


def canvas_of(size_wh, gray=120):
    return np.full((size_wh[1], size_wh[0], 3), gray, np.uint8)


def changed(canvas, gray=120):
    """First and last column and row that were drawn on."""
    rows, columns = (np.flatnonzero((canvas != gray).any(axis=axis)) for axis in ((1, 2), (0, 2)))
    return columns[0], columns[-1], rows[0], rows[-1]


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_a_note_is_at_the_top_in_the_middle(size_wh):
    canvas = canvas_of(size_wh)
    panels.draw_note(canvas, "paused")
    left, right, top, bottom = changed(canvas)
    assert (left + right) / 2 == pytest.approx(size_wh[0] / 2, abs=2)
    assert 0 < top < bottom < 0.2 * size_wh[1]
    untouched = canvas_of(size_wh)
    panels.draw_note(untouched, "")
    assert (untouched == 120).all()


@pytest.mark.parametrize("size_wh", SIZES_WH)
def test_the_sign_of_a_recording_is_red_at_the_top_right(size_wh):
    canvas = canvas_of(size_wh)
    panels.draw_recording(canvas)
    left, right, _, bottom = changed(canvas)
    assert left > size_wh[0] / 3
    assert 0.95 * size_wh[0] <= right < size_wh[0] - 2
    assert bottom < 0.2 * size_wh[1]
    blue, _, red = canvas.astype(int).transpose(2, 0, 1)
    assert (red - blue > 100).sum() > 100


@pytest.mark.parametrize("size_wh", SIZES_WH)
@pytest.mark.parametrize("kind", list(SourceKind))
def test_the_list_of_keys_fits(size_wh, kind):
    canvas = canvas_of(size_wh)
    panels.draw_keys(canvas, help_rows(kind))
    left, right, top, bottom = changed(canvas)
    assert (left + right) / 2 == pytest.approx(size_wh[0] / 2, abs=1)
    assert (top + bottom) / 2 == pytest.approx(size_wh[1] / 2, abs=1)
    assert 0 <= left < right < size_wh[0]
    assert 0 <= top < bottom < size_wh[1]


def test_the_list_of_keys_is_readable_from_640x360_on(monkeypatch):
    sizes = []
    write = panels.write
    monkeypatch.setattr(panels, "write", lambda *given: (sizes.append(given[3]), write(*given)))
    for size_wh in ((640, 360), (1920, 1080)):
        panels.draw_keys(canvas_of(size_wh), help_rows(SourceKind.RECORDED))
    assert min(sizes) >= 11
    assert max(sizes) >= 24


def test_the_chosen_object_is_framed_and_described_below():
    canvas = canvas_of((640, 360))
    panels.draw_chosen(canvas, (100, 50, 200, 150), "person · 98%")
    assert (canvas[100, 100] == WHITE).all()
    assert (canvas[100, 200] == WHITE).all()
    assert (canvas[100, 101:199] == 120).sum() > 90
    below = (canvas[155:, :] != 120).any(axis=(0, 2))
    columns = np.flatnonzero(below)
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(150, abs=3)


def test_the_description_of_an_object_at_the_edge_stays_inside():
    canvas = canvas_of((640, 360))
    panels.draw_chosen(canvas, (560, 250, 700, 400), "person · #7 · 98% · 12 s in view")
    width = text_width("person · #7 · 98% · 12 s in view", 11.5)
    rows = (canvas[:, 640 - width : 640] != 120).any(axis=2).mean(axis=1)
    assert (rows > 0.9).sum() >= 10  # the whole chip, above the lower edge


def test_text_is_broken_at_spaces():
    text = "one two three"
    width = text_width("one two", 20)
    assert panels.wrapped(text, 20, width) == ["one two", "three"]
    assert panels.wrapped(text, 20, 1) == ["one", "two", "three"]
    assert panels.wrapped("one\ntwo three", 20, 10_000) == ["one", "two three"]
    assert panels.wrapped("", 20, 100) == [""]


def test_the_lines_of_a_title_are_of_similar_length(monkeypatch):
    written = []
    monkeypatch.setattr(panels, "write", lambda canvas, text, at, size, color: written.append((text, size)))
    panels.draw_title(canvas_of((1920, 1080)), "Camera not found, trying again …", 540)
    assert written == [("Camera not found,", 108.0), ("trying again …", 108.0)]
    written.clear()
    panels.draw_title(canvas_of((400, 360)), "Supercalifragilisticexpialidocious", 180)
    ((word, size),) = written
    assert word == "Supercalifragilisticexpialidocious"
    assert text_width(word, size) < 0.92 * 400 < text_width(word, 36)


def test_written_text_has_its_color_and_is_cropped():
    canvas = canvas_of((60, 40), 0)
    panels.write(canvas, "HHHH", (-10, -3), 40, (10, 200, 30))
    ink = canvas.reshape(-1, 3)[(canvas.reshape(-1, 3) > 0).any(axis=1)]
    assert (ink == (10, 200, 30)).all(axis=1).mean() > 0.5
    untouched = canvas_of((60, 40), 0)
    for at in ((-500, 0), (60, 0), (0, 40), (0, -90)):
        panels.write(untouched, "HHHH", at, 40, WHITE)
    panels.write(untouched, "", (0, 0), 40, WHITE)
    assert not untouched.any()


def test_a_title_of_nothing_draws_nothing():
    canvas = canvas_of((640, 360))
    panels.draw_title(canvas, "", 180)
    assert (canvas == 120).all()


def test_a_title_is_legible_on_any_picture():
    """White text on a ground that is darker than half of white."""
    for gray in (60, 255):
        canvas = canvas_of((640, 360), gray)
        panels.draw_title(canvas, "H", 180)
        left, right, top, bottom = changed(canvas, gray)
        ground = canvas[top + 20 : bottom - 20, left + 3 : left + 8]
        assert ground.max() < 140
        assert (canvas[top:bottom, left:right] == 255).any()
