"""The outlines of box-local masks: smooth polygons, without the specks and pinholes of a coarse grid.

Shape letters: M side of a mask's grid (28 in Mask R-CNN); K points of a polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
from contourpy import FillType, LineType, SerialContourGenerator, ZInterp
from numpy.typing import NDArray

Polygon = NDArray[np.float32]
"""float32 (K, 2): x, y in pixels, edges (the first pixel reaches from 0 to 1); closed from the last to the first."""

SUBPIXEL_BITS = 4
"""Polygons for cv2 are in sixteenths of pixels, and pixel centers are at whole numbers there."""
_MIN_ISLAND, _MIN_HOLE = 0.06, 0.05
"""Parts and holes smaller than this fraction of the largest part are noise of the grid."""
_PIXELS_PER_STEP = 12.0
"""The grid is refined until its steps are at most this long, or by `_MAX_REFINEMENT`."""
_MAX_REFINEMENT = 6
_SMOOTHING = 0.75
"""Standard deviation in cells: saturated probabilities would show the grid as stairs."""
_EXACTNESS = 0.3
"""Pixels by which a polygon may leave its curve, to have fewer points."""
_BORDER = 2
"""Cells of nothing around the grid: the object ends at its box."""


def outline(mask_probs: NDArray[np.float32], edges: tuple[int, int, int, int], threshold: float) -> list[Polygon]:
    """The curves where a mask's probability, interpolated between the cells, crosses a threshold.

    Args:
        mask_probs: float32 (M, M), 0 … 1.
        edges: the box in whole pixels, x1, y1, x2, y2.
        threshold: probability from which a pixel belongs to the object.

    Returns:
        Outer curves and holes, the largest first. Filled by the even-odd rule they are the object.
    """
    x1, y1, x2, y2 = edges
    side = mask_probs.shape[0]
    cell_w, cell_h = (x2 - x1) / side, (y2 - y1) / side
    refinement = min(_MAX_REFINEMENT, max(1, ceil(max(cell_w, cell_h) / _PIXELS_PER_STEP)))
    probs = cv2.copyMakeBorder(mask_probs, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_CONSTANT, value=0.0)
    probs = cv2.GaussianBlur(probs, (5, 5), _SMOOTHING)
    if refinement > 1:
        probs = cv2.resize(probs, None, fx=refinement, fy=refinement, interpolation=cv2.INTER_CUBIC)
    columns, rows = _grid(len(probs))
    curves = SerialContourGenerator(
        columns,
        rows,
        probs,
        None,  # type: ignore[arg-type]  # nothing is masked out
        corner_mask=False,
        line_type=LineType.Separate,
        fill_type=FillType.OuterOffset,
        quad_as_tri=False,
        z_interp=ZInterp.Linear,
    ).lines(threshold)
    scale = np.array([cell_w / refinement, cell_h / refinement])
    offset = np.array([x1, y1]) + (0.5 - _BORDER * refinement) * scale
    polygons = [np.asarray(curve * scale + offset, np.float32) for curve in curves]
    polygons = [cv2.approxPolyDP(polygon[:-1], _EXACTNESS, True)[:, 0] for polygon in polygons]  # the last is the first
    return _without_noise([polygon for polygon in polygons if len(polygon) > 2])


def offset_curves(polygons: Sequence[Polygon], distances: Sequence[float]) -> list[list[NDArray[np.int32]]]:
    """Polygons moved along their normals, as cv2 draws them with `SUBPIXEL_BITS`.

    Args:
        polygons: of any number of objects; all are computed at once, since numpy takes as long for one.
        distances: pixels, out of the object.

    Returns:
        For each distance the moved polygons, int32 (K, 2).
    """
    if not polygons:
        return [[] for _ in distances]
    ends = np.cumsum([len(polygon) for polygon in polygons])
    starts = np.concatenate([[0], ends[:-1]])
    points = np.concatenate(polygons)
    following, preceding = np.arange(1, len(points) + 1), np.arange(-1, len(points) - 1)
    following[ends - 1], preceding[starts] = starts, ends - 1
    tangents = points[following] - points[preceding]
    tangents /= np.maximum(np.hypot(tangents[:, :1], tangents[:, 1:]), 1e-6)
    normals = np.stack([tangents[:, 1], -tangents[:, 0]], axis=1)
    moved = points - np.float32(0.5) + np.asarray(distances, np.float32)[:, None, None] * normals
    fixed = np.round(moved * (1 << SUBPIXEL_BITS)).astype(np.int32)
    parts = list(zip(starts.tolist(), ends.tolist(), strict=True))
    return [[curve[start:end] for start, end in parts] for curve in fixed]


@lru_cache(maxsize=32)
def _grid(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of a square grid."""
    columns, rows = np.meshgrid(np.arange(float(side)), np.arange(float(side)))
    return columns, rows


def _without_noise(polygons: list[Polygon]) -> list[Polygon]:
    if len(polygons) < 2:
        return polygons
    # Outer curves and holes run in opposite directions.
    areas = [cv2.contourArea(polygon, oriented=True) for polygon in polygons]
    largest = max(areas, key=abs)
    kept = []
    for area, polygon in sorted(zip(areas, polygons, strict=True), key=lambda item: -abs(item[0])):
        relative = area / largest if largest else 0.0
        if relative >= _MIN_ISLAND or relative <= -_MIN_HOLE:
            kept.append(polygon)
    return kept
