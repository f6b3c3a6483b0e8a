"""Draws instances on a frame: soft masks with an outline, boxes and labels.

Drawing works inside each object's box: the only array of the frame's size is the result.

Shape letters: H, W frame height and width in pixels; h, w size of an object's box inside the frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.chips import draw_chip, text_size
from pipeline.drawing.masks import box_edges
from pipeline.drawing.outlines import SUBPIXEL_BITS, offset_curves, outline
from pipeline.drawing.palette import PALETTE, ColorBgr
from pipeline.drawing.placement import LabeledObject, Rectangle, place_labels
from pipeline.drawing.status import StatusLine, draw_status
from pipeline.drawing.tutorial import draw_tutorial
from pipeline.geometry import iou_matrix
from pipeline.labels import class_name
from pipeline.records import Instances
from pipeline.settings.output_settings import ColorBy, Look, OverlaySettings

_SAME_OBJECT_IOU = 0.5
"""Without track ids, the object of a class with at least this IoU with one of the frame before is the same."""
_CASINGS = tuple(tuple(channel // 4 for channel in color) for color in PALETTE)
"""The dark color beside each outline, which stands out from bright clothes."""
_SMALL = 300
"""Frames with a shorter side have no pixels to spare for wide lines and casings."""
_CASING_DISTANCE = 1.2
"""Pixels from the outermost line of the outline to its casing, outside of it."""
_MAX_TRACKS = 10_000
"""As many tracks keep their colors, the newest ones."""

Image = NDArray[np.uint8]
Curve = NDArray[np.int32]


@dataclass(slots=True, eq=False)
class _Item:
    """One visible instance.

    Attributes:
        edges: from `box_edges`.
        mask_probs: float32 (M, M).
        score: as it is shown: of the last frame in which it was at least the least score.
        color: index in the palette.
        labeled: its label, and where it was.
    """

    edges: tuple[int, int, int, int]
    mask_probs: NDArray[np.float32]
    class_id: int
    score: float
    track_id: int
    opacity: float
    color: int
    labeled: LabeledObject


class Overlay:
    """Draws the elements that the settings enable, and keeps colors and places of labels from frame to frame.

    Args:
        settings: switches, look, transparency, sizes; may be replaced between frames.
        labels: class names by class id; labels[0] is "BG".
        still: whether each image is one of its own, and nothing is kept.
        one_class: whether objects of a single class are shown.
        min_score: lower scores, of objects that are lost for a moment, are not shown; the last higher one is.
    """

    def __init__(
        self,
        settings: OverlaySettings,
        labels: Sequence[str],
        still: bool = False,
        one_class: bool = False,
        min_score: float = 0.0,
    ) -> None:
        self.settings = settings
        self._labels = tuple(labels)
        self._still = still
        self._one_class = one_class or len(labels) <= 2  # the background and one class
        self._min_score = min_score
        self._previous: list[_Item] = []
        self._size_hw = (0, 0)
        self._track_colors: dict[int, int] = {}

    def label(self, class_id: int, score: float, track_id: int = 0) -> str:
        """The label of an object, such as "person 98%", or "person #7 98%" with a track id."""
        words = self._names(class_id, track_id)
        if self.settings.scores:
            # Always two digits, so that the label keeps its width; a network is never certain.
            words.append(f"{min(99, round(100 * score)):2d}%")
        return " ".join(words)

    def _names(self, class_id: int, track_id: int) -> list[str]:
        words = [class_name(class_id, self._labels)] if self.settings.labels else []
        return words + ([f"#{track_id}"] if self.settings.ids and track_id > 0 else [])

    def draw(
        self,
        frame_bgr: Image,
        instances: Instances,
        status: StatusLine | None = None,
        reserved: Sequence[Rectangle] = (),
    ) -> Image:
        """Draws everything on a copy of the frame, smaller objects on top of larger ones.

        Args:
            frame_bgr: uint8 (H, W, 3), not changed.
            instances: in pixels of this frame.
            status: entries of the status line; None for no line.
            reserved: where no label may lie.

        Returns:
            uint8 (H, W, 3), a new writeable array.
        """
        canvas = np.array(frame_bgr, np.uint8, order="C")
        height, width = canvas.shape[:2]
        settings = self.settings
        if settings.look is Look.TUTORIAL:
            draw_tutorial(canvas, instances, self._labels, settings)
        else:
            items = self._remembered(self._items(instances, height, width), height, width)
            self._draw_items(canvas, items, reserved)
        if status is not None and settings.status:
            draw_status(canvas, status, settings.look is Look.DEBUG)
        return canvas

    def _draw_items(self, canvas: Image, items: list[_Item], reserved: Sequence[Rectangle]) -> None:
        height, width = canvas.shape[:2]
        settings = self.settings
        line_width = settings.line_width or _line_width(min(height, width))
        behind_first = sorted(items, key=lambda item: -item.labeled.area)
        if settings.masks:
            self._draw_masks(canvas, behind_first, line_width)
        for item in behind_first if settings.boxes else ():
            _draw_box(canvas, item, line_width)
        size = settings.text_size or text_size(height, width)
        place_labels([item.labeled for item in items], (height, width), size, reserved)
        for item in items:
            label = item.labeled.label
            if label is not None:
                x, y = label.rectangle[:2]
                draw_chip(canvas, label.text, (x, y), size, PALETTE[item.color], _label_opacity(item.opacity))

    def _draw_masks(self, canvas: Image, behind_first: list[_Item], line_width: int) -> None:
        """Fills each mask and strokes its outline: lines one pixel wide side by side, cv2's fastest smooth ones."""
        outlines = [outline(item.mask_probs, item.edges, self.settings.mask_threshold) for item in behind_first]
        half = (line_width - 1) / 2
        has_casing = min(canvas.shape[:2]) >= _SMALL
        distances = [0.0, *(i - half for i in range(line_width)), *((half + _CASING_DISTANCE,) if has_casing else ())]
        curves = offset_curves([polygon for polygons in outlines for polygon in polygons], distances)
        start = 0
        for item, polygons in zip(behind_first, outlines, strict=True):
            part = slice(start, start + len(polygons))
            start += len(polygons)
            if not polygons:
                continue
            x1, y1, x2, y2 = _bounds(curves[0][part], line_width + 2)
            region = canvas[y1:y2, x1:x2]
            if region.size == 0:
                continue  # of the box, only a part without mask lies in the frame
            before = region.copy() if item.opacity < 1 else None
            color = PALETTE[item.color]
            _fill(region, (x1, y1), curves[0][part], color, self.settings.mask_alpha)
            for line in curves[1 + line_width :]:
                cv2.polylines(canvas, line[part], True, _CASINGS[item.color], 1, cv2.LINE_AA, SUBPIXEL_BITS)
            for line in curves[1 : 1 + line_width]:
                cv2.polylines(canvas, line[part], True, color, 1, cv2.LINE_AA, SUBPIXEL_BITS)
            if before is not None:
                region[:] = cv2.addWeighted(before, 1.0 - item.opacity, region, item.opacity, 0.0)

    def _items(self, instances: Instances, height: int, width: int) -> list[_Item]:
        """The visible instances as plain Python numbers, which are faster to read than array elements."""
        count = len(instances)
        items = []
        for box, mask_probs, class_id, score, track_id, opacity in zip(
            instances.boxes_xyxy,
            instances.mask_probs,
            instances.class_ids.tolist(),
            instances.scores.tolist(),
            [0] * count if instances.track_ids is None else instances.track_ids.tolist(),
            [1.0] * count if instances.opacity is None else instances.opacity.tolist(),
            strict=True,
        ):
            edges = box_edges(box)
            if opacity <= 0 or edges is None:
                continue
            x1, y1, x2, y2 = box.tolist()
            visible = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
            if visible[0] < visible[2] and visible[1] < visible[3]:
                labeled = LabeledObject(visible, ())
                items.append(_Item(edges, mask_probs, class_id, score, track_id, opacity, -1, labeled))
        return items

    def _remembered(self, items: list[_Item], height: int, width: int) -> list[_Item]:
        """The items with what is known of them from the frame before, their colors and what their labels may say."""
        if self._still or self._size_hw != (height, width):
            self._previous, self._size_hw = [], (height, width)
        known = _matches(self._previous, items)
        for item, before in known:
            item.color = before.color
            if item.opacity < 1 or item.score < self._min_score:
                item.score = before.score
            item.labeled.previous_box = before.labeled.box
            item.labeled.anchor, item.labeled.label = before.labeled.anchor, before.labeled.label
        self._choose_colors(items)
        for item in items:
            if _label_opacity(item.opacity) > 0:
                name = " ".join(self._names(item.class_id, item.track_id))
                accepted = item.score >= self._min_score
                full = self.label(item.class_id, item.score, item.track_id) if accepted else name
                item.labeled.texts = [text for text in dict.fromkeys((full, name)) if text]
        self._previous = items
        return items

    def _choose_colors(self, items: list[_Item]) -> None:
        """Gives each item its color: an object keeps the one it has, a new one takes one that is hardly in use."""
        if self._by_class():
            for item in items:
                item.color = class_color(item.class_id)
            return
        for item in items:
            if item.track_id > 0:
                item.color = self._track_colors.get(item.track_id, item.color)
        used = Counter(item.color for item in items)
        for index, item in enumerate(items):
            if item.color < 0:
                by_track = item.track_id > 0 and self.settings.color_by is not ColorBy.INSTANCE
                first = item.track_id - 1 if by_track else index
                candidates = [(first + i) % len(PALETTE) for i in range(len(PALETTE))]
                item.color = min(candidates, key=lambda color: used[color])
                used[item.color] += 1
            if item.track_id > 0:
                self._track_colors[item.track_id] = item.color
        while len(self._track_colors) > _MAX_TRACKS:
            del self._track_colors[next(iter(self._track_colors))]

    def _by_class(self) -> bool:
        color_by = self.settings.color_by
        if color_by is ColorBy.AUTO:
            return not self._one_class and not self._still
        return color_by is ColorBy.CLASS


def class_color(class_id: int) -> int:
    """Index of a class's color in the palette; the first color belongs to the first class alone."""
    index = max(class_id - 1, 0)
    return index if index < len(PALETTE) else 1 + (index - len(PALETTE)) % (len(PALETTE) - 1)


def _matches(before: list[_Item], now: list[_Item]) -> list[tuple[_Item, _Item]]:
    """Pairs (item, the same object in the frame before): by track id, else by class and overlap."""
    by_id = {item.track_id: item for item in before if item.track_id > 0}
    pairs = [(item, by_id[item.track_id]) for item in now if item.track_id in by_id]
    rest = [item for item in now if item.track_id not in by_id]
    without_id = [item for item in before if item.track_id == 0]
    if rest and without_id:
        here, there = (np.array([item.labeled.box for item in items], np.float32) for items in (rest, without_id))
        ious = iou_matrix(here, there)
        overlapping = np.argwhere(ious >= _SAME_OBJECT_IOU)
        best_first = overlapping[np.argsort(-ious[tuple(overlapping.T)], kind="stable")].tolist()
        free, old = dict(enumerate(rest)), dict(enumerate(without_id))
        for i, j in best_first:
            if i in free and j in old and free[i].class_id == old[j].class_id:
                pairs.append((free.pop(i), old.pop(j)))
    return pairs


def _line_width(shorter_side: int) -> int:
    """Pixels: 1 in small frames, 2 up to 1080p, 4 at 4K."""
    return 1 if shorter_side < _SMALL else max(2, round(shorter_side / 500))


def _label_opacity(opacity: float) -> float:
    """A label disappears before its object does, and appears after it."""
    return max(0.0, 2 * opacity - 1)


def _bounds(curves: Sequence[Curve], margin: int) -> tuple[int, int, int, int]:
    """The pixels around curves, x1, y1, x2, y2, none below 0."""
    boxes = [cv2.boundingRect(curve) for curve in curves]
    low = [(min(box[axis] for box in boxes) >> SUBPIXEL_BITS) - margin for axis in (0, 1)]
    high = [(max(box[axis] + box[axis + 2] for box in boxes) >> SUBPIXEL_BITS) + margin + 1 for axis in (0, 1)]
    return max(0, low[0]), max(0, low[1]), max(0, high[0]), max(0, high[1])


def _fill(region: Image, corner: tuple[int, int], curves: Sequence[Curve], color: ColorBgr, alpha: float) -> None:
    """Blends a color into a region of the canvas whose first pixel is `corner` (x, y), inside curves on the canvas."""
    filled = region.copy()
    offset = -corner[0] << SUBPIXEL_BITS, -corner[1] << SUBPIXEL_BITS
    cv2.fillPoly(filled, curves, color, cv2.LINE_8, SUBPIXEL_BITS, offset)
    cv2.addWeighted(region, 1.0 - alpha, filled, alpha, 0.0, dst=region)  # outside, both are the same


def _draw_box(canvas: Image, item: _Item, line: int) -> None:
    """Draws the sides of a box, `line` pixels wide, within it."""
    x1, y1, x2, y2 = item.edges
    color = PALETTE[item.color]
    inner_x1, inner_y1 = min(x1 + line, x2), min(y1 + line, y2)
    inner_x2, inner_y2 = max(x2 - line, inner_x1), max(y2 - line, inner_y1)
    for left, top, right, bottom in (
        (x1, y1, x2, inner_y1),
        (x1, inner_y2, x2, y2),
        (x1, inner_y1, inner_x1, inner_y2),
        (inner_x2, inner_y1, x2, inner_y2),
    ):
        side = canvas[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if side.size:
            plane = np.broadcast_to(np.array(color, np.uint8), side.shape)
            side[:] = cv2.addWeighted(side, 1.0 - item.opacity, np.ascontiguousarray(plane), item.opacity, 0.0)
