"""Draws lines and zones on a frame, each with its name and counts."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import chip_size, draw_chip_inside, text_size
from pipeline.drawing.palette import ColorBgr
from pipeline.scene import LineCount, Scene, ZoneState
from pipeline.tracking.watch import LineCounter, Point, Polyline, ZoneCounter

LINE_BGR: ColorBgr = (0, 220, 255)
ZONE_BGR: ColorBgr = (255, 200, 0)
_SUBPIXEL_BITS = 4
_MAX_COORDINATE = 16384.0

Image = NDArray[np.uint8]


def draw_places(canvas: Image, scene: Scene, lines: Sequence[LineCounter], zones: Sequence[ZoneCounter]) -> None:
    """Draws all lines and zones in place.

    Args:
        canvas: uint8 (H, W, 3), BGR.
        scene: counts and dwell times, in the order of `lines` and `zones`.
        lines, zones: with their points in pixels.
    """
    size = float(np.sqrt(canvas.shape[0] * canvas.shape[1]))
    width = max(1, round(size / 700))
    texts: list[tuple[str, Point, ColorBgr]] = []
    for zone, state in zip(zones, scene.zones, strict=True):
        _draw_polyline(canvas, zone.polygon, ZONE_BGR, width, is_closed=True)
        texts.append((zone_text(state), _highest(zone.polygon), ZONE_BGR))
    for line, count in zip(lines, scene.lines, strict=True):
        _draw_polyline(canvas, line.polyline, LINE_BGR, width, is_closed=False)
        _draw_direction(canvas, line.polyline, width, 0.03 * size)
        texts.append((line_text(count), _highest(line.polyline), LINE_BGR))
    height = text_size(*canvas.shape[:2])
    for text, (x, y), color in texts:
        draw_chip_inside(canvas, text, (int(x) - chip_size(text, height)[0] // 2, int(y)), height, color)


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
