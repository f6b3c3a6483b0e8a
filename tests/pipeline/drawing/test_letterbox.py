"""Letterboxing: where the image lies, worked out by hand, and where it is black."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.drawing.letterbox import Fit, fit, letterbox


@pytest.mark.parametrize(
    ("image_hw", "size_wh", "inner"),
    [
        ((20, 40), (100, 80), (0, 15, 100, 65)),  # scaled by 2.5: bars of 15 rows above and below
        ((60, 30), (80, 30), (32, 0, 47, 30)),  # scaled by 0.5: bars of 32 and 33 columns
        ((1, 500), (10, 10), (0, 4, 10, 5)),  # at least one row
    ],
)
def test_the_image_fits_between_black_bars(
    image_hw: tuple[int, int], size_wh: tuple[int, int], inner: tuple[int, int, int, int]
) -> None:
    canvas = letterbox(np.full((*image_hw, 3), 200, np.uint8), size_wh)
    expected = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x1, y1, x2, y2 = inner
    expected[y1:y2, x1:x2] = 200
    np.testing.assert_array_equal(canvas, expected)


def test_an_image_of_that_size_is_returned_itself() -> None:
    image = np.zeros((7, 5, 3), np.uint8)
    assert letterbox(image, (5, 7)) is image


def test_pixels_that_are_not_square_are_stretched() -> None:
    canvas = letterbox(np.full((20, 40, 3), 200, np.uint8), (100, 80), 0.5)
    assert (canvas[:, 10:90] == 200).all()  # seen as a square
    assert not canvas[:, :10].any()
    assert not canvas[:, 90:].any()
    assert letterbox(np.zeros((20, 40, 3), np.uint8), (40, 20), 2.0).shape == (20, 40, 3)


def test_places() -> None:
    assert fit((40, 20), (100, 80)) == Fit(0, 15, 100, 50)
    assert fit((16, 9), (1000, 1000)) == Fit(0, 219, 1000, 562)
    assert fit((1, 500), (10, 10)) == Fit(4, 0, 1, 10)
