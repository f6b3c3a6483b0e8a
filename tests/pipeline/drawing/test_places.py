import cv2
import numpy as np
import pytest

from pipeline.drawing.chips import chip_size
from pipeline.drawing.places import LINE_BGR, ZONE_BGR, draw_places, line_text, name_rectangles, zone_text
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


def zones_at(*points, name="desk", size_hw=(360, 640), occupancy=0, dwell_s=None):
    """Zones that hang down from these highest points, in pixels, and their scene."""
    height, width = size_hw
    zones = []
    for x, y in points:
        corners = ((x / width, y / height), (min((x + 9) / width, 1.0), 0.99), (max((x - 9) / width, 0.0), 0.99))
        zones.append(ZoneCounter(ZoneSettings(name=name, points=corners)))
        zones[-1].set_frame_size(height, width)
    states = [ZoneState(name, occupancy, 5, dwell_s, None, None)] * len(zones)
    return Scene(zones=tuple(states)), zones


def test_a_name_hangs_from_the_highest_point_with_room_for_digits():
    scene, zones = zones_at((320, 100))
    ((x1, y1, x2, y2),) = name_rectangles((360, 640), scene, [], zones)
    width, height = chip_size("desk: 99 now, 9999 s", 11.5)
    assert (x2 - x1, y2 - y1) == (width, height)
    assert abs((x1 + x2) / 2 - 320) <= 1
    assert y1 in (99, 100)  # the point is a fraction of the height


@pytest.mark.parametrize("point", [(320, 100), (3, 2), (637, 300)])
@pytest.mark.parametrize(("occupancy", "dwell_s"), [(0, None), (2, 7.0), (12, 345.6)])
def test_the_name_lies_in_its_rectangle_which_stays_when_counts_grow(point, occupancy, dwell_s):
    scene, zones = zones_at(point, occupancy=occupancy, dwell_s=dwell_s)
    start = zones_at(point)[0]
    assert name_rectangles((360, 640), scene, [], zones) == name_rectangles((360, 640), start, [], zones)
    ((x1, y1, x2, y2),) = name_rectangles((360, 640), scene, [], zones)
    canvas = np.full((360, 640, 3), 90, np.uint8)
    draw_places(canvas, scene, [], zones)
    canvas[y1:y2, x1:x2] = 90
    outline = np.full((360, 640, 3), 90, np.uint8)
    polygon = np.round(np.array(zones[0].polygon)).astype(np.int32)
    cv2.polylines(outline, [polygon], True, ZONE_BGR, 9)
    assert not ((canvas != 90) & (outline == 90)).any()


def test_names_do_not_cover_one_another():
    scene, zones = zones_at((320, 100), (330, 104), (300, 95), (320, 108), (600, 100))
    rectangles = name_rectangles((360, 640), scene, [], zones)
    for index, (x1, y1, x2, y2) in enumerate(rectangles):
        for left, top, right, bottom in rectangles[index + 1 :]:
            assert x2 <= left or right <= x1 or y2 <= top or bottom <= y1
    tops = [y1 for _, y1, _, _ in rectangles]
    height = chip_size("desk", 11.5)[1]
    assert tops[0] in (99, 100)
    assert tops[1] == tops[0] + height + 1  # below the first, which is nearer than above it
    assert tops[2] == tops[0] - height - 1
    assert tops[4] in (99, 100)  # farther to the right, nothing is in its way


def test_a_frame_without_room_for_all_names_shows_them_one_over_the_other():
    scene, zones = zones_at((20, 5), (20, 5), size_hw=(20, 40))
    assert len(set(name_rectangles((20, 40), scene, [], zones))) == 1
