import numpy as np
import pytest

from pipeline.drawing.places import LINE_BGR, ZONE_BGR, draw_places, line_text, zone_text
from pipeline.scene import LineCount, Scene, ZoneState
from pipeline.settings.presentation_settings import LineSettings, ZoneSettings
from pipeline.tracking.watch import LineCounter, ZoneCounter


def places(height, width):
    line = LineCounter(LineSettings(name="door", points=((0.5, 0.2), (0.5, 0.9))))
    zone = ZoneCounter(ZoneSettings(name="desk", points=((0.1, 0.4), (0.4, 0.4), (0.4, 0.9), (0.1, 0.9))))
    line.set_frame_size(height, width)
    zone.set_frame_size(height, width)
    scene = Scene(lines=(line.state(),), zones=(zone.state(0.0),))
    return scene, [line], [zone]


def test_texts():
    assert line_text(LineCount("door", 3, 1)) == "door: in 3, out 1"
    assert zone_text(ZoneState("desk", 2, 5, 3.7, 1.0, 9.0)) == "desk: 2 now, 4 s"
    assert zone_text(ZoneState("desk", 0, 5, None, 1.0, 9.0)) == "desk: 0 now"


def test_lines_and_zones_are_drawn_thinly_where_they_lie():
    canvas = np.full((361, 643, 3), 90, np.uint8)
    draw_places(canvas, *places(361, 643))
    row = canvas[250]
    near_line = [x for x in range(310, 335) if np.abs(row[x].astype(int) - LINE_BGR).max() < 60]
    near_zone = [x for x in range(643) if np.abs(row[x].astype(int) - ZONE_BGR).max() < 60]
    assert 1 <= len(near_line) <= 3
    assert abs(near_line[0] - 321.5) <= 2
    assert len(near_zone) <= 6
    assert abs(near_zone[0] - 64.3) <= 2
    assert abs(near_zone[-1] - 257.2) <= 2
    assert (canvas == 90).all(axis=2).mean() > 0.93


def test_the_arrow_points_to_the_in_side():
    # From the upper end to the lower one: the right-hand side is the left of the picture.
    canvas = np.full((361, 643, 3), 90, np.uint8)
    scene, lines, _ = places(361, 643)
    draw_places(canvas, Scene(lines=scene.lines), lines, [])
    changed = (canvas != 90).any(axis=2)[180:220]
    assert np.count_nonzero(changed[:, 305:318]) > np.count_nonzero(changed[:, 326:339]) == 0


@pytest.mark.parametrize("size_hw", [(1, 1), (20, 7), (2160, 3840)])
def test_any_frame_size(size_hw):
    canvas = np.full((*size_hw, 3), 90, np.uint8)
    draw_places(canvas, *places(*size_hw))
    assert (canvas != 90).any()


def test_nothing_to_draw():
    canvas = np.full((30, 40, 3), 90, np.uint8)
    draw_places(canvas, Scene(), [], [])
    assert (canvas == 90).all()
