"""The drawing of the tutorial that the program started from, pixel for pixel as examples/maskrcnn_predict.py."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.masks import paste_mask
from pipeline.drawing.palette import tutorial_colors
from pipeline.labels import class_name
from pipeline.records import Instances
from pipeline.settings.output_settings import OverlaySettings

_ALPHA = 0.5
_LINE_WIDTH, _FONT_SCALE = 2, 0.6


def draw_tutorial(
    canvas: NDArray[np.uint8], instances: Instances, labels: tuple[str, ...], settings: OverlaySettings
) -> None:
    """Draws masks, boxes and labels of all instances in place, the last one on top.

    Args:
        canvas: uint8 (H, W, 3), BGR.
        instances: in pixels of the canvas.
        labels: class names by class id.
        settings: which of the three to draw, and the threshold of masks.
    """
    height, width = canvas.shape[:2]
    colors = tutorial_colors(max(len(labels), 1))
    rows = [
        (box, colors[int(class_id) % len(colors)], f"{class_name(int(class_id), labels)}: {score:.3f}")
        for box, class_id, score in zip(
            instances.boxes_xyxy, instances.class_ids, instances.scores.tolist(), strict=True
        )
    ]
    for (box, color, _), probs in zip(rows, instances.mask_probs, strict=True):
        if settings.masks:
            mask, y, x = paste_mask(probs, box, height, width, settings.mask_threshold)
            pixels = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
            # Fractions are cut off, as numpy does where it stores them in bytes.
            pixels[mask] = pixels[mask] * (1 - _ALPHA) + _ALPHA * np.array(color, np.float64)
    for (x1, y1, x2, y2), color, text in ((row[0].tolist(), *row[1:]) for row in rows):
        if settings.boxes:
            cv2.rectangle(canvas, (int(x1), int(y1)), (int(x2), int(y2)), color, _LINE_WIDTH)
        if settings.labels:
            baseline = int(y1) - 10 if y1 > 20 else int(y1) + 20
            cv2.putText(canvas, text, (int(x1), baseline), cv2.FONT_HERSHEY_SIMPLEX, _FONT_SCALE, color, _LINE_WIDTH)
