"""Places labels: none covers another one or leaves the frame, and a label stays where it is while its object does.

Shape letters: none; boxes are x1, y1, x2, y2 in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.drawing.chips import chip_size

_SLOTS = (
    *(("center", "above"), ("left", "above"), ("right", "above"), ("after", "top"), ("before", "top")),
    *(("center", "bottom"), ("left", "top"), ("right", "top"), ("center", "below")),
)
"""The places around and inside an object's box, the best first: those inside may cover a face."""

_BESIDE = ("before", "after")

Box = tuple[float, float, float, float]
Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels; x2 and y2 are exclusive."""

_DEAD_BAND = 1 / 400
"""Of the frame's shorter side, and at least 1.5 pixels: a label follows its object only beyond this jitter …"""
_STANDING = 1.5
"""… and an object whose edges move by at most this many pixels a frame keeps its label in the same slot."""
_MAX_WIDTH, _MAX_AREA = 2.2, 0.35
"""Largest width and area of a label relative to its object's; beyond them it is shortened, then dropped."""
_TOLERANCE = 1.2
"""A label that is shown may exceed these limits by this factor, so that it does not flicker."""
_KEEPS_PLACE = 1.5
"""An object counts as this much larger where its label was shown before."""


@dataclass(frozen=True, slots=True)
class Label:
    """A placed label: its text, which of the object's texts it is, its rectangle, and the slot around the object."""

    text: str
    variant: int
    rectangle: Rectangle
    slot: int


@dataclass(slots=True, eq=False)
class LabeledObject:
    """An object and what is remembered of its label.

    Attributes:
        box: the part of its box inside the frame.
        texts: what its label may say, the longest first; empty for no label.
        previous_box: its box in the frame before; None for a new object.
        anchor: box that its label is attached to: it follows the object's once that has left the dead band.
        label: where its label was in the frame before; replaced by `place_labels`.
    """

    box: Box
    texts: Sequence[str]
    previous_box: Box | None = None
    anchor: Box | None = None
    label: Label | None = None

    @property
    def standing(self) -> bool:
        """Whether it has hardly moved since the frame before."""
        return self.previous_box is not None and _farthest(self.box, self.previous_box) <= _STANDING

    @property
    def area(self) -> float:
        """Of the visible box, square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


def place_labels(
    objects: Sequence[LabeledObject], size_hw: tuple[int, int], size: float, reserved: Sequence[Rectangle] = ()
) -> None:
    """Sets the label of each object, or None where there is no room for it.

    Labels of standing objects stay; then the larger objects choose first.

    Args:
        objects: of one frame.
        size_hw: height and width of the frame, pixels.
        size: text size, pixels to the em.
        reserved: where no label may lie, since names of lines and zones do.
    """
    band = max(1.5, _DEAD_BAND * min(size_hw))
    for each in objects:
        each.anchor = each.box if each.anchor is None else _dragged(each.anchor, each.box, band)
    for each in objects:
        if each.label is not None and hits(each.label.rectangle, reserved):
            each.label = None  # a name has come or grown there: even the label of a standing object moves
    taken = list(reserved)
    for each in sorted(objects, key=_priority):
        labels = _labels(each, objects, size_hw, size)
        each.label = next((label for label, margin in labels if not hits(label.rectangle, taken, margin)), None)
        if each.label is not None:
            taken.append(each.label.rectangle)


def _priority(each: LabeledObject) -> tuple[bool, float]:
    """Sorts the objects that choose first to the front."""
    shown = each.label is not None
    return not (shown and each.standing), -each.area * (_KEEPS_PLACE if shown else 1.0)


def _labels(
    each: LabeledObject, objects: Sequence[LabeledObject], size_hw: tuple[int, int], size: float
) -> Iterator[tuple[Label, int]]:
    """The labels that an object may have, the best first, and how many pixels from others each must be."""
    previous, anchor = each.label, each.anchor or each.box
    gap = max(2, round(0.2 * size))
    stays = previous is not None and each.standing
    for variant, text in enumerate(each.texts):
        chip_wh = chip_size(text, size)
        was_shown = previous is not None and previous.variant == variant
        if not _fits(chip_wh, each, _TOLERANCE if was_shown else 1.0) or (stays and not was_shown):
            continue
        slots = (previous.slot,) if stays and previous is not None else range(len(_SLOTS))
        for slot in slots:
            rectangle = _rectangle(slot, anchor, chip_wh, gap, size_hw)
            was_here = previous is not None and previous.slot == slot
            if rectangle is None:
                continue
            # Beside its object, a label must not lie on another one: it would seem to belong there.
            others = (other.box for other in objects if other is not each)
            if was_here or _SLOTS[slot][0] not in _BESIDE or not hits(rectangle, others):
                # A label appears, or comes back to a better slot, where there is room to spare: it would flicker else.
                is_better = previous is None or slot < previous.slot
                yield Label(text, variant, rectangle, slot), chip_wh[1] // 2 if is_better else 0


def _fits(chip_wh: tuple[int, int], each: LabeledObject, factor: float) -> bool:
    width = each.box[2] - each.box[0]
    return chip_wh[0] <= factor * _MAX_WIDTH * width and chip_wh[0] * chip_wh[1] <= factor * _MAX_AREA * each.area


def _rectangle(slot: int, box: Box, chip_wh: tuple[int, int], gap: int, size_hw: tuple[int, int]) -> Rectangle | None:
    """One of the places around and inside a box; None where it would leave the frame."""
    (height, width), (chip_w, chip_h) = size_hw, chip_wh
    x1, y1, x2, y2 = (round(edge) for edge in box)
    column, row = _SLOTS[slot]
    if column in _BESIDE:
        x = x2 + gap if column == "after" else x1 - gap - chip_w
    else:
        x = {"left": x1, "center": (x1 + x2 - chip_w) // 2, "right": x2 - chip_w}[column]
        x = max(0, min(x, width - chip_w))
    y = {"above": y1 - gap - chip_h, "top": y1 + gap, "bottom": y2 - gap - chip_h, "below": y2 + gap}[row]
    return (x, y, x + chip_w, y + chip_h) if 0 <= x <= width - chip_w and 0 <= y <= height - chip_h else None


def hits(rectangle: Rectangle, others: Iterable[Box], margin: int = 0) -> bool:
    """Whether a rectangle with a margin around it intersects one of the others."""
    x1, y1, x2, y2 = rectangle[0] - margin, rectangle[1] - margin, rectangle[2] + margin, rectangle[3] + margin
    return any(x1 < right and left < x2 and y1 < bottom and top < y2 for left, top, right, bottom in others)


def _dragged(anchor: Box, box: Box, band: float) -> Box:
    """The anchor, moved just so far that no edge is farther than `band` from the box's."""
    x1, y1, x2, y2 = (min(max(old, new - band), new + band) for old, new in zip(anchor, box, strict=True))
    return x1, y1, x2, y2


def _farthest(first: Box, second: Box) -> float:
    return max(abs(a - b) for a, b in zip(first, second, strict=True))
