"""Where recordings are cut, and which frames lie in which stretch."""

from fractions import Fraction

import numpy as np
import pytest

from pipeline.batch.inputs import Recording
from pipeline.batch.stretches import AUTO_SPLIT, Splitting, Stretch, recording_of, stretches_between
from pipeline.records import Frame

RECORDING = Recording("a.mp4", "/in/a.mp4", 5, 6)


@pytest.mark.parametrize(
    ("duration_s", "splitting", "seams"),
    [
        (1199.9, Splitting(600.0), [599950]),
        (899.9, Splitting(600.0), []),
        (900.0, Splitting(600.0), [450000]),
        (1500.0, Splitting(600.0), [500000, 1000000]),
        (6.0, Splitting(1.0, most=3), [2000, 4000]),
        (1.0, Splitting(1.0, most=3), []),
        (600.0, Splitting(1.0, most=1), []),
        (0.0, Splitting(1.0), []),
    ],
)
def test_seams_are_as_far_apart_as_wanted(duration_s, splitting, seams):
    assert splitting.seams_ms(duration_s) == seams


@pytest.mark.parametrize(
    ("left", "workers", "most"),
    [(1, 2, 4), (1, 8, 16), (3, 8, 6), (7, 8, 3), (8, 8, 1), (9, 8, 1), (1, 1, 1), (0, 4, 1)],
)
def test_recordings_are_split_where_few_meet_many_workers(left, workers, most):
    """Two stretches for each worker, rounded up."""
    assert AUTO_SPLIT.for_recordings(left, workers) == Splitting(120.0, most, is_auto=True)
    assert Splitting(60.0).for_recordings(left, workers) == Splitting(60.0)


def frame(pts, time_base):
    return Frame("a", 0, pts, time_base, 0.0, np.zeros((2, 2, 3), np.uint8))


def test_each_frame_lies_in_one_stretch():
    """Also where a seam is no multiple of the time base, and before 0."""
    time_base = Fraction(1001, 30000)
    stretches = stretches_between(RECORDING, (1001, 1034, 2000))
    assert [(one.start_ms, one.end_ms, one.name) for one in stretches] == [
        (None, 1001, "1/4"), (1001, 1034, "2/4"), (1034, 2000, "3/4"), (2000, None, "4/4"),
    ]  # fmt: skip
    lies_in = []
    for pts in range(-2, 62):
        inside = [one.number for one in stretches if not one.is_before(frame(pts, time_base))]
        inside = [number for number in inside if not stretches[number].is_over(frame(pts, time_base))]
        assert len(inside) == 1
        lies_in += inside
    # frame 30 is at 1.001 s, frame 31 at 1.03437 s, frame 59 at 1.96863 s, frame 60 at 2.002 s
    assert lies_in == [0] * 32 + [1] + [2] * 29 + [3] * 2


def test_one_piece_has_no_stretches():
    assert stretches_between(RECORDING, ()) == ()
    assert recording_of(RECORDING) is recording_of(Stretch(RECORDING, 0, 2, None, 5)) is RECORDING
