"""Lines and zones in a frame: distances, crossings, inside or not. Points are (x, y) in absolute pixels, y downwards.

Plain numbers, not arrays: a line has two or three points, and there are many lines and objects in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot

Point = tuple[float, float]
Path = Sequence[Point]
"""Two points or more, joined in this order."""


def in_pixels(points: Path, height: int, width: int) -> tuple[Point, ...]:
    """Points given in pixels, or relative to the frame's size if none of their numbers is above 1, as pixels."""
    if max(max(point) for point in points) > 1.0:
        return tuple((float(x), float(y)) for x, y in points)
    return tuple((x * width, y * height) for x, y in points)


def distance_to_path(point: Point, path: Path) -> float:
    """Pixels from a point to the nearest place on the segments between consecutive points of a path."""
    return min(_distance(point, first, second) for first, second in pairwise(path))


def _distance(point: Point, first: Point, second: Point) -> float:
    step_x, step_y = second[0] - first[0], second[1] - first[1]
    offset_x, offset_y = point[0] - first[0], point[1] - first[1]
    length = step_x * step_x + step_y * step_y
    along = min(1.0, max(0.0, (offset_x * step_x + offset_y * step_y) / length)) if length > 0 else 0.0
    return hypot(offset_x - along * step_x, offset_y - along * step_y)


def crossings(start: Point, end: Point, path: Path) -> int:
    """How often the way from `start` to `end` crosses a path: to its right-hand side less to its left-hand side.

    Sides are as seen in the picture along the path. A way that ends on the path has not crossed it; one that starts on
    it and leaves to the right has, so that two ways one after the other count once.
    """
    net = 0
    for first, second in pairwise(path):
        before, after = _is_right_of(start, first, second), _is_right_of(end, first, second)
        if before != after and _is_right_of(first, start, end) != _is_right_of(second, start, end):
            net += 1 if after else -1
    return net


def _is_right_of(point: Point, first: Point, second: Point) -> bool:
    """Whether a point lies to the right of a directed line (y downwards), not on it."""
    return (second[0] - first[0]) * (point[1] - first[1]) > (second[1] - first[1]) * (point[0] - first[0])


def inside(point: Point, polygon: Path) -> bool:
    """Whether a point lies in a polygon, by the even-odd rule; the polygon closes itself."""
    x, y = point
    within = False
    for (x1, y1), (x2, y2) in pairwise(closed(polygon)):
        if (y1 > y) != (y2 > y) and x1 + (y - y1) * (x2 - x1) / (y2 - y1) > x:
            within = not within
    return within


def closed(polygon: Path) -> tuple[Point, ...]:
    """The polygon's outline as a path that ends where it begins."""
    return (*polygon, polygon[0])
