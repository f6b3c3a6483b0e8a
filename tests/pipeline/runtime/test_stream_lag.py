"""The lag between two streams, from what moves in them."""

from fractions import Fraction

import numpy as np
import pytest

from pipeline.records import Frame
from pipeline.runtime.stream_lag import StreamLag


def picture(at_s, x, size_wh):
    """A white bar at a position (0 … 1) on a texture that stands still."""
    width, height = size_wh
    image = np.random.default_rng(3).integers(80, 110, (height, width, 3)).astype(np.uint8)
    image[:, round(x * width * 0.9) : round((x * 0.9 + 0.1) * width)] = 255
    return Frame("any", 0, 0, Fraction(1), at_s, image)


def position(t):
    """Back and forth once in two seconds, at different speeds."""
    return 0.5 + 0.5 * np.sin(np.pi * t)


def measured(lag_s, position=position, seconds=3.0):
    """The main stream has 640x360 at 30 frames a second, the sub-stream 352x288 at 12."""
    lag = StreamLag()
    frames = [(t, "main") for t in np.arange(10, 10 + seconds, 1 / 30)]
    pictures = [(t, "sub") for t in np.arange(10.013, 10 + seconds, 1 / 12)]
    for t, stream in sorted(frames + pictures):
        if stream == "main":
            lag.see_frame(picture(t, position(t - lag_s), (640, 360)))
        else:
            lag.see_picture(picture(t, position(t), (352, 288)))
    return lag.seconds


@pytest.mark.parametrize("lag_s", [0.0, 0.07, 0.3, -0.05, -0.25])
def test_the_lag_is_measured_to_a_part_of_a_frame(lag_s):
    assert measured(lag_s) == pytest.approx(lag_s, abs=0.02)


def test_where_nothing_moves_there_is_none():
    assert measured(0.2, lambda _: 0.5, seconds=1.2) == 0.0


def test_where_nothing_moves_any_more_it_stays():
    assert measured(0.2, lambda t: position(min(t, 11.5)), seconds=4.0) == pytest.approx(0.2, abs=0.02)


def test_a_stream_that_is_alone_has_none():
    lag = StreamLag()
    for t in np.arange(10, 12, 0.1):
        lag.see_frame(picture(t, position(t), (640, 360)))
    assert lag.seconds == 0.0
