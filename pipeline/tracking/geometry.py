"""Lines and zones in a frame: distances, crossings, inside or not. Points are (x, y) in absolute pixels, y downwards.

Shape letters: K points of a line or zone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Points = NDArray[np.float64]
"""float64 (K, 2), absolute pixels."""


def in_pixels(points: Sequence[Point], height: int, width: int) -> Points:
    """Points given in pixels, or relative to the frame's size if none of their numbers is above 1, as pixels."""
    array = np.array(points, np.float64)
    return array * (width, height) if array.max() <= 1.0 else array


def distance_to_path(point: Point, path: Points) -> float:
    """Pixels from a point to the nearest place on the segments between consecutive points of a path."""
    starts, steps = path[:-1], np.diff(path, axis=0)
    offsets = np.array(point) - starts
    lengths = np.maximum((steps**2).sum(axis=1), 1e-12)
    along = np.clip((offsets * steps).sum(axis=1) / lengths, 0, 1)
    return float(np.linalg.norm(offsets - along[:, None] * steps, axis=1).min())


def crossings(start: Point, end: Point, path: Points) -> int:
    """How often the way from `start` to `end` crosses a path: to its right-hand side less to its left-hand side.

    Sides are as seen in the picture along the path. A way that ends on the path has not crossed it; one that starts on
    it and leaves to the right has, so that two ways one after the other count once.
    """
    first, second = path[:-1], path[1:]
    before, after = _right_of(start, first, second), _right_of(end, first, second)
    way_start, way_end = np.array([start]), np.array([end])
    from_side = np.array([_right_of((x, y), way_start, way_end)[0] for x, y in path])
    meets = from_side[:-1] != from_side[1:]
    return int(np.count_nonzero(meets & ~before & after)) - int(np.count_nonzero(meets & before & ~after))


def _right_of(point: Point, first: Points, second: Points) -> NDArray[np.bool_]:
    """bool (K,): whether a point lies to the right of each directed segment's line (y downwards), not on it."""
    steps, offsets = second - first, np.array(point) - first
    return np.asarray(steps[:, 0] * offsets[:, 1] - steps[:, 1] * offsets[:, 0] > 0, np.bool_)


def inside(point: Point, polygon: Points) -> bool:
    """Whether a point lies in a polygon, by the even-odd rule; the polygon closes itself."""
    x, y = point
    x1, y1 = polygon[:, 0], polygon[:, 1]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        meets = x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return bool(np.count_nonzero(spans & (meets > x)) % 2)


def closed(polygon: Points) -> Points:
    """float64 (K + 1, 2): the polygon's outline as a path."""
    return np.concatenate([polygon, polygon[:1]])
