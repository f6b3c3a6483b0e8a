import numpy as np
import pytest

from pipeline.drawing.status import StatusLine, draw_status

FULL = StatusLine(29.97, 2.13, 25.2, 12, 480.4, 95.5, [("person", 3, 5), ("bus", 1, 1), ("dog", 0, 2)])


def extent(status, height=480, width=640, **options):
    canvas = np.full((height, width, 3), 100, np.uint8)
    draw_status(canvas, status, **options)
    rows, columns = np.nonzero((canvas != 100).any(axis=2))
    return (columns.min(), rows.min(), columns.max(), rows.max()) if len(rows) else None


def test_the_short_line():
    assert FULL.short() == ["25 fps", "3 people", "1 bus"]
    assert StatusLine(display_fps=2.13).short() == ["2.1 fps"]
    assert StatusLine(display_fps=9.94).short() == ["9.9 fps"]
    assert StatusLine(display_fps=9.96).short() == ["10 fps"]
    assert StatusLine(latency_ms=9.0).short() == []
    assert StatusLine(display_fps=25.0, notice="One moment").short() == ["One moment", "25 fps"]


def test_a_tile_has_the_age_of_its_masks_as_well():
    assert FULL.for_tile() == ["25 fps", "masks 96 ms old", "3 people", "1 bus"]
    assert StatusLine(mask_age_ms=9.0).for_tile() == ["masks 9 ms old"]


def test_the_details_say_what_they_are():
    assert FULL.details() == [
        "capture 30 fps",
        "inference 2.1 fps",
        "display 25 fps",
        "12 frames dropped",
        "480 ms from capture to display",
        "masks 96 ms old",
        "3 people (5 so far)",
        "1 bus (1 so far)",
        "0 dogs (2 so far)",
    ]
    assert StatusLine(dropped=1).details() == ["1 frame dropped"]
    assert StatusLine(dropped=1, notice="One moment").details() == ["One moment", "1 frame dropped"]


def test_it_is_small_and_at_the_bottom_left():
    x1, y1, x2, y2 = extent(FULL)
    assert x1 < 8
    assert 472 <= y2 < 480
    assert y2 - y1 < 20
    assert x2 < 340
    detailed = extent(FULL, with_details=True)
    assert detailed[3] == y2
    assert detailed[3] - detailed[1] > 6 * (y2 - y1)


@pytest.mark.parametrize("size_hw", [(144, 176), (60, 80), (1, 1)])
def test_it_stays_inside_narrow_frames(size_hw):
    found = extent(FULL, *size_hw)
    assert found is None or found[2] < size_hw[1]
    extent(FULL, *size_hw, with_details=True)


def test_an_empty_status_draws_nothing():
    assert extent(StatusLine()) is None
    assert extent(StatusLine(), with_details=True) is None
