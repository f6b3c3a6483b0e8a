"""How much of the time each place was covered, against boxes whose place is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.detection_lines import StoredFrame
from pipeline.report.heat_map import GRID_WIDTH, HeatMap, covered
from tests.pipeline.report.stored import HEIGHT, WIDTH, line, one


def frame(*objects):
    return StoredFrame.model_validate(
        line(0, *objects), strict=False
    )  # tuples come as lists, which only JSON allows otherwise


@pytest.mark.parametrize("mask", [True, False])
def test_objects_cover_their_cells_once(mask):
    objects = one((16, 10, 32, 30), mask=mask), one((24, 10, 40, 30), mask=mask)
    grid = covered(frame(*objects), HEIGHT // 2, WIDTH // 4)
    expected = np.zeros((20, 16))
    expected[5:15, 4:10] = 1
    assert np.array_equal(grid, expected)


def test_a_cell_that_is_covered_in_part():
    grid = covered(frame(one((0, 0, 3, 4))), HEIGHT // 4, WIDTH // 4)
    assert grid[0, 0] == pytest.approx(0.75)
    assert grid.sum() == pytest.approx(0.75)


def test_boxes_outside_the_frame_cover_nothing():
    assert not covered(frame(one((-30, -30, -5, -5), mask=False)), 10, 16).any()


def test_the_share_of_the_time():
    heat = HeatMap()
    assert heat.shares() is None
    left, right = frame(one((0, 0, 32, 40))), frame(one((32, 0, 64, 40)))
    for i, shown in enumerate((left, left, left, right, frame())):
        heat.add(shown, float(i))
    shares = heat.shares()
    assert shares.shape == (100, GRID_WIDTH)
    assert shares[:, :80] == pytest.approx(0.6)
    assert shares[:, 80:] == pytest.approx(0.2)


def test_frames_between_the_samples_do_not_count():
    heat = HeatMap()
    heat.add(frame(), 0.0)
    heat.add(frame(one((0, 0, 64, 40))), 0.1)
    assert heat.shares().max() == 0
    heat.add(frame(one((0, 0, 64, 40))), 0.25)
    assert heat.shares() == pytest.approx(0.5)
