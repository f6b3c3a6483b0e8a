"""Draws lines and zones on a frame, each with its name and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import chip_size, draw_chip_inside, text_size
from pipeline.drawing.palette import ColorBgr
from pipeline.drawing.placement import Rectangle, hits
from pipeline.scene import LineCount, Scene, ZoneState
from pipeline.tracking.watch import LineCounter, Point, Polyline, ZoneCounter

LINE_BGR: ColorBgr = (0, 220, 255)
ZONE_BGR: ColorBgr = (255, 200, 0)
_SUBPIXEL_BITS = 4
_MAX_COORDINATE = 16384.0

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Name:
    """The text of a line or zone.

    Attributes:
        text: with the present counts.
        longest: with as many digits as are reserved.
        point: the middle of the chip's upper edge, where that is inside the frame.
        color: of the chip.
    """

    text: str
    longest: str
    point: Point
    color: ColorBgr


def draw_places(canvas: Image, scene: Scene, lines: Sequence[LineCounter], zones: Sequence[ZoneCounter]) -> None:
    """Draws all lines and zones in place.

    Args:
        canvas: uint8 (H, W, 3), BGR.
        scene: counts and dwell times, in the order of `lines` and `zones`.
        lines, zones: with their points in pixels.
    """
    height, width = canvas.shape[:2]
    size = float(np.sqrt(height * width))
    line_width = max(1, round(size / 700))
    for zone in zones:
        _draw_polyline(canvas, zone.polygon, ZONE_BGR, line_width, is_closed=True)
    for line in lines:
        _draw_polyline(canvas, line.polyline, LINE_BGR, line_width, is_closed=False)
        _draw_direction(canvas, line.polyline, line_width, 0.03 * size)
    names, text_height = _names(scene, lines, zones), text_size(height, width)
    for name, (_, y, _, _) in zip(names, _rectangles(names, height, width), strict=True):
        x = int(name.point[0]) - chip_size(name.text, text_height)[0] // 2
        draw_chip_inside(canvas, name.text, (x, y), text_height, name.color)


def name_rectangles(
    size_hw: tuple[int, int], scene: Scene, lines: Sequence[LineCounter], zones: Sequence[ZoneCounter]
) -> list[Rectangle]:
    """The rectangles in which `draw_places` draws names, with room for more digits, so that they stay the same.

    Args:
        size_hw: height and width of the canvas, pixels.
        scene, lines, zones: as for `draw_places`.
    """
    return _rectangles(_names(scene, lines, zones), *size_hw)


def _names(scene: Scene, lines: Sequence[LineCounter], zones: Sequence[ZoneCounter]) -> list[_Name]:
    names = []
    for zone, state in zip(zones, scene.zones, strict=True):
        grown = replace(state, occupancy=max(99, state.occupancy), dwell_now_s=max(9999.0, state.dwell_now_s or 0.0))
        names.append(_Name(zone_text(state), zone_text(grown), _highest(zone.polygon), ZONE_BGR))
    for line, count in zip(lines, scene.lines, strict=True):
        more = replace(count, crossed_in=max(999, count.crossed_in), crossed_out=max(999, count.crossed_out))
        names.append(_Name(line_text(count), line_text(more), _highest(line.polyline), LINE_BGR))
    return names


def _rectangles(names: Sequence[_Name], height: int, width: int) -> list[Rectangle]:
    """The rectangle of each name: from its point downward, or as near to that as the names before it leave room."""
    size = text_size(height, width)
    rectangles: list[Rectangle] = []
    for name in names:
        chip_w, chip_h = chip_size(name.longest, size)
        x = max(0, min(int(name.point[0]) - chip_w // 2, width - chip_w))
        lowest = max(0, height - chip_h)
        first = max(0, min(int(name.point[1]), lowest))
        beside = [y for _, top, _, bottom in rectangles for y in (top - chip_h - 1, bottom + 1) if 0 <= y <= lowest]
        nearest_first = sorted((first, *beside), key=lambda y: abs(y - first))
        places = [(x, y, min(x + chip_w, width), y + chip_h) for y in nearest_first]
        rectangles.append(next((place for place in places if not hits(place, rectangles)), places[0]))
    return rectangles


def line_text(count: LineCount) -> str:
    """The label of a line, such as "door: in 3, out 1"."""
    return f"{count.name}: in {count.crossed_in}, out {count.crossed_out}"


def zone_text(state: ZoneState) -> str:
    """The label of a zone, such as "desk: 2 now, 4 s" or "desk: 0 now"."""
    longest = "" if state.dwell_now_s is None else f", {state.dwell_now_s:.0f} s"
    return f"{state.name}: {state.occupancy} now{longest}"


def _draw_polyline(canvas: Image, polyline: Polyline, color: ColorBgr, width: int, *, is_closed: bool) -> None:
    points = np.round(np.clip(np.array(polyline), 0, _MAX_COORDINATE) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.polylines(canvas, [points], is_closed, color, width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_direction(canvas: Image, polyline: Polyline, width: int, length: float) -> None:
    """Draws a short arrow from the middle of the first segment to the side that counts as in."""
    (x1, y1), (x2, y2) = polyline[:2]
    extent = hypot(x2 - x1, y2 - y1)
    if extent < 1:
        return
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    tip = round(x - (y2 - y1) / extent * length), round(y + (x2 - x1) / extent * length)
    cv2.arrowedLine(canvas, (round(x), round(y)), tip, LINE_BGR, width, cv2.LINE_AA, tipLength=0.4)


def _highest(polyline: Polyline) -> Point:
    return min(polyline, key=lambda point: point[1])
