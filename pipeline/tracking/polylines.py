"""Polylines and polygons in a frame: distance, crossing, containment. Points are (x, y) in pixels, y downwards.

Plain numbers instead of arrays: a line has two or three points, and every frame has many lines and objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot

Point = tuple[float, float]
Polyline = Sequence[Point]
"""Two points or more, joined in this order."""


def in_pixels(points: Polyline, height: int, width: int) -> tuple[Point, ...]:
    """Converts points to pixels: they are relative to the frame's size if no coordinate is above 1."""
    if max(max(point) for point in points) > 1.0:
        return tuple((float(x), float(y)) for x, y in points)
    return tuple((x * width, y * height) for x, y in points)


def distance_to_polyline(point: Point, polyline: Polyline) -> float:
    """Pixels from a point to the nearest point of a polyline."""
    return min(_distance(point, first, second) for first, second in pairwise(polyline))


def _distance(point: Point, first: Point, second: Point) -> float:
    """Pixels from a point to the nearest point of a segment."""
    step_x, step_y = second[0] - first[0], second[1] - first[1]
    offset_x, offset_y = point[0] - first[0], point[1] - first[1]
    length = step_x * step_x + step_y * step_y
    along = min(1.0, max(0.0, (offset_x * step_x + offset_y * step_y) / length)) if length > 0 else 0.0
    return hypot(offset_x - along * step_x, offset_y - along * step_y)


def crossings(start: Point, end: Point, polyline: Polyline) -> int:
    """Crossings of a polyline by the segment from `start` to `end`: those to its right less those to its left.

    Sides are as seen in the frame along the polyline. A segment that ends on the polyline does not cross it; one that
    starts on it and leaves to the right does, so that two consecutive segments count once.
    """
    net = 0
    for first, second in pairwise(polyline):
        before, after = _is_right_of(start, first, second), _is_right_of(end, first, second)
        if before != after and _is_right_of(first, start, end) != _is_right_of(second, start, end):
            net += 1 if after else -1
    return net


def _is_right_of(point: Point, first: Point, second: Point) -> bool:
    """Whether a point lies strictly to the right of a directed line (y downwards)."""
    return (second[0] - first[0]) * (point[1] - first[1]) > (second[1] - first[1]) * (point[0] - first[0])


def contains(polygon: Polyline, point: Point) -> bool:
    """Whether a polygon contains a point, by the even-odd rule; the polygon closes itself."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in pairwise(closed(polygon)):
        if (y1 > y) != (y2 > y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x:
            inside = not inside
    return inside


def closed(polygon: Polyline) -> tuple[Point, ...]:
    """The polygon's outline as a polyline that ends where it begins."""
    return (*polygon, polygon[0])
