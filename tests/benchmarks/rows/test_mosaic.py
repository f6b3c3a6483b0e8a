import numpy as np

from benchmarks.options import Options
from benchmarks.rows import mosaic
from pipeline.drawing.grid import arrange


def test_every_step_draws_every_tile():
    canvas = mosaic.OneSecond((64, 36)).draw()
    pictures = [
        canvas[y1:y2, x1:x2] for x1, y1, x2, y2 in (cell.picture for cell in arrange([16 / 9] * 9, (1920, 1080)).cells)
    ]
    assert len(pictures) == 9
    assert all((picture == pictures[0]).all() for picture in pictures)
    assert np.ptp(pictures[0]) > 20  # blurred noise


def test_a_value_for_each_size(monkeypatch):
    monkeypatch.setattr(mosaic, "SIZES_WH", ((64, 36), (32, 18)))
    report = mosaic.measure(Options(quick=True))
    assert [value.name for value in report.values] == ["processor, pictures of 64x36", "processor, pictures of 32x18"]
    assert all(value.spread.median > 0 for value in report.values)
