from itertools import pairwise

import numpy as np
import pytest

from benchmarks.options import Options
from benchmarks.row_process import run_row
from benchmarks.rows import mosaic
from pipeline.drawing.grid import arrange
from tests.pipeline.sinks.fake_gui import FakeGui, desktop_of


def test_each_camera_shows_each_of_its_frames():
    gui = FakeGui((640, 360))
    play = mosaic.Player(desktop_of(gui)).second_of((64, 36))
    play()
    cells = [cell.picture for cell in arrange([16 / 9] * 9, (640, 360)).cells]
    canvases = gui.shown[1:]  # after that with which the toolkit opens its window
    tiles = [[canvas[y1:y2, x1:x2] for canvas in canvases] for x1, y1, x2, y2 in cells]
    changes = [sum(bool((a != b).any()) for a, b in pairwise(tile)) for tile in tiles]
    assert changes == [30] * 5 + [29] * 4  # the last four frames come after the last refresh
    assert all((tile[-1] == tiles[0][-1]).all() for tile in tiles[:5])
    assert np.ptp(tiles[0][-1]) > 20  # blurred noise
    assert len(canvases) <= 60


@pytest.mark.window("Xvfb")
def test_a_value_for_each_size_in_a_window_that_fills_the_screen():
    report = run_row("mosaic", Options(quick=True))
    assert not report.error
    names = [f"processor, pictures of {size}" for size in ("640x360", "1280x720", "1920x1080")]
    assert [value.name for value in report.values] == names
    assert all(value.spread.median > 0 for value in report.values)
    assert report.settings["window"] == [1920, 1080]
