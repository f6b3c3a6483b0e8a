"""How many of the reference's objects an engine must find, by its precision and canvas."""

from __future__ import annotations

SAME_CANVAS_IOU = 0.9
OTHER_CANVAS_IOU = 0.5
"""COCO's least overlap of the same object: other padding moves the boxes of small objects by a pixel or two."""
PERCENT = {"int8": 90, "bfloat16": 95, "float16": 95, "float32": 97}
"""Least F1 against the reference on the same canvas, by precision."""
OTHER_CANVAS_PERCENT = 90


def least_percent(description: str) -> int:
    """The least F1 of an engine on the canvas of the reference; its description contains its precision."""
    return next((percent for precision, percent in PERCENT.items() if precision in description), PERCENT["float32"])
