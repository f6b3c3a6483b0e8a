import cv2
import numpy as np
import pytest

from pipeline.tracking.polylines import closed, contains, crossings, distance_to_polyline, in_pixels

UP = ((100.0, 200.0), (100.0, 50.0))  # the right-hand side is x > 100
BENT = ((0.0, 100.0), (100.0, 100.0), (100.0, 0.0))
RING = ((10.0, 10.0), (90.0, 20.0), (80.0, 70.0), (50.0, 40.0), (15.0, 75.0))


def test_points_are_relative_or_pixels():
    assert in_pixels([(0.5, 0.25), (1, 1)], 361, 643) == ((321.5, 90.25), (643, 361))
    assert in_pixels([(0, 0), (1, 1.5)], 361, 643) == ((0, 0), (1, 1.5))


@pytest.mark.parametrize(
    ("start", "end", "path", "net"),
    [
        ((90, 100), (110, 100), UP, 1),
        ((110, 100), (90, 120), UP, -1),
        ((90, 100), (110, 100), UP[::-1], -1),
        ((90, 30), (110, 40), UP, 0),  # past its end
        ((90, 60), (110, 30), UP, 0),  # past its end, though the bounding box of the segment covers it
        ((80, 100), (95, 100), UP, 0),
        ((90, 100), (90, 100), UP, 0),
        ((50, 50), (150, 50), BENT, 1),
        ((50, 50), (50, 150), BENT, 1),
        ((30, 120), (120, 30), BENT, 0),  # in at one leg, out at the other: no side was changed
        ((20, 120), (150, 50), BENT, 0),
    ],
)
def test_crossings(start, end, path, net):
    assert crossings(start, end, path) == net


def test_a_path_across_the_line_counts_once_however_it_is_split():
    for x in (99.0, 100.0, 101.0):
        assert crossings((90, 100), (x, 100), UP) + crossings((x, 100), (110, 100), UP) == 1
        assert crossings((110, 100), (x, 100), UP) + crossings((x, 100), (90, 100), UP) == -1


def test_distances():
    assert distance_to_polyline((104, 100), UP) == 4
    assert distance_to_polyline((103, 204), UP) == 5
    assert distance_to_polyline((110, 90), BENT) == 10
    assert distance_to_polyline((7, 7), ((7.0, 3.0), (7.0, 3.0))) == 4


def test_contains_agrees_with_opencv():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (500, 2))
    contour = np.array(RING, np.float32)
    for x, y in points:
        assert contains(RING, (x, y)) == (cv2.pointPolygonTest(contour, (float(x), float(y)), False) > 0)
    assert {contains(RING, tuple(point)) for point in points} == {True, False}


def test_the_outline_of_a_zone_is_closed():
    assert closed(RING)[5] == RING[0]
    assert distance_to_polyline((12, 40), closed(RING)) == pytest.approx(0, abs=0.7)  # on the closing side
