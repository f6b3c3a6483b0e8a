import numpy as np
import pytest

from pipeline.drawing.chips import chip_size, draw_banner, draw_chip, draw_chip_inside, text_size
from pipeline.drawing.palette import PALETTE


@pytest.mark.parametrize(
    ("size_hw", "size"),
    [((144, 176), 10), ((360, 640), 11.5), ((1080, 1920), 24), ((1920, 1080), 24), ((2160, 3840), 40)],
)
def test_text_size_follows_the_frame_within_limits(size_hw, size):
    assert text_size(*size_hw) == size


@pytest.mark.parametrize("text", ["person 98%", "मनुष्य 98%", "人 98%"])
def test_a_chip_has_the_size_that_was_announced(text):
    canvas = np.zeros((80, 400, 3), np.uint8)
    draw_chip(canvas, text, (30, 20), 24.0, PALETTE[0])
    rows, columns = np.nonzero(canvas.any(axis=2))
    width, height = chip_size(text, 24.0)
    assert (columns.min(), columns.max() + 1) == (30, 30 + width)
    assert (rows.min(), rows.max() + 1) == (20, 20 + height)


def test_a_chip_lets_the_background_through():
    dark, bright = np.zeros((60, 200, 3), np.uint8), np.full((60, 200, 3), 255, np.uint8)
    for canvas in (dark, bright):
        draw_chip(canvas, "x", (10, 10), 24.0, (60, 120, 180))
    x, y = 13, 24  # inside the chip, left of the letter
    np.testing.assert_allclose(dark[y, x], [0.86 * 60, 0.86 * 120, 0.86 * 180], atol=1.5)
    np.testing.assert_allclose(bright[y, x].astype(int) - dark[y, x], 0.14 * 255, atol=2)


@pytest.mark.parametrize("at", [(-20, -10), (190, 55), (-500, 5), (300, 300)])
def test_a_chip_is_cropped_to_the_canvas(at):
    canvas = np.zeros((60, 200, 3), np.uint8)
    whole = np.zeros((1060, 1200, 3), np.uint8)
    draw_chip(canvas, "person", at, 24.0, PALETTE[0])
    draw_chip(whole, "person", (at[0] + 500, at[1] + 500), 24.0, PALETTE[0])
    np.testing.assert_array_equal(canvas, whole[500:560, 500:700])


def test_a_line_that_is_too_long_is_made_smaller():
    canvas = np.zeros((60, 200, 3), np.uint8)
    draw_chip_inside(canvas, "a line that does not fit into it", (150, 50), 24.0, PALETTE[0])
    rows, columns = np.nonzero(canvas.any(axis=2))
    assert columns.min() >= 0
    assert 150 < np.ptp(columns) < 200
    assert 8 < np.ptp(rows) < 24
    assert rows.max() == 59


def test_a_banner_is_in_the_middle():
    image = np.full((360, 640, 3), 100, np.uint8)
    draw_banner(image, "camera 0 is gone, trying again")
    rows, columns = np.nonzero((image != 100).any(axis=2))
    assert abs((rows.min() + rows.max()) / 2 - 180) <= 2
    assert abs((columns.min() + columns.max()) / 2 - 320) <= 2
    assert image.max() > 240
