"""The geometry between a frame and the canvas that the network sees: scale, padding, and the inverse for boxes.

Shape letters: H, W frame height and width; N boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mrcnn.config import MIN_DIM_SHARE
from pipeline.settings.model_settings import Canvas

MULTIPLES = {Canvas.TIGHT: 32, Canvas.PAD64: 64}
"""Height and width of a canvas that is not square are multiples of this. 32 is the stride of P5. (P6, every second cell
of P5, may be odd.) With 64 a canvas is shorter than the square by an even number of P5's cells, so that a centered
picture lies on them as on the square."""


@dataclass(frozen=True, slots=True)
class CanvasFit:
    """How a frame lies on its canvas, all in pixels.

    Attributes:
        frame_hw: height and width of the frame.
        resized_hw: of the frame after scaling.
        canvas_hw: of the canvas, multiples of 32 or more.
        top, left: where the scaled frame begins on the canvas; it is centered, black around it.
    """

    frame_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    canvas_hw: tuple[int, int]
    top: int
    left: int

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(y1, x1, y2, x2) in pixels: the part of the canvas that holds the frame."""
        return self.top, self.left, self.top + self.resized_hw[0], self.left + self.resized_hw[1]

    def place(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame, uint8 (H, W, 3) BGR, scaled bilinearly onto its canvas, uint8 RGB."""
        if image_bgr.shape[:2] != self.frame_hw:
            raise ValueError(f"this fit is for frames of {self.frame_hw}, got {image_bgr.shape[:2]}")
        height, width = self.resized_hw
        canvas_rgb = np.zeros((*self.canvas_hw, 3), np.uint8)
        resized_bgr = image_bgr
        if self.resized_hw != self.frame_hw:
            resized_bgr = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_LINEAR)
        window = canvas_rgb[self.top : self.top + height, self.left : self.left + width]
        cv2.cvtColor(resized_bgr, cv2.COLOR_BGR2RGB, dst=window)
        return canvas_rgb

    def boxes_on_frame(self, boxes_yxyx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes on the frame: float32 (N, 4), (x1, y1, x2, y2) in pixels, clipped to it.

        Args:
            boxes_yxyx: float32 (N, 4), (y1, x1, y2, x2) in pixels of the canvas.
        """
        (height, width), (resized_height, resized_width) = self.frame_hw, self.resized_hw
        boxes_xyxy = boxes_yxyx[:, [1, 0, 3, 2]] - np.array([self.left, self.top] * 2, np.float32)
        boxes_xyxy *= np.array([width / resized_width, height / resized_height] * 2, np.float32)
        limits = np.array([width, height] * 2, np.float32)
        return np.clip(boxes_xyxy, 0, limits).astype(np.float32)


def fit_canvas(height: int, width: int, max_dim: int, canvas: Canvas) -> CanvasFit:
    """Scale as Matterport's resize_image does in mode "square" (min_dim = 800/1024 of max_dim), and pad.

    Args:
        height, width: of the frame, pixels.
        max_dim: the longer side after scaling at most, pixels, a multiple of 64.
        canvas: pad to the square of max_dim, or only to a multiple (`MULTIPLES`).
    """
    scale = max(1.0, MIN_DIM_SHARE * max_dim / min(height, width))
    if round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    resized_hw = (max(1, round(height * scale)), max(1, round(width * scale)))
    if canvas is Canvas.SQUARE:
        canvas_hw = (max_dim, max_dim)
    else:
        multiple = MULTIPLES[canvas]
        canvas_hw = (_next(resized_hw[0], multiple), _next(resized_hw[1], multiple))
    top, left = (canvas_hw[0] - resized_hw[0]) // 2, (canvas_hw[1] - resized_hw[1]) // 2
    return CanvasFit((height, width), resized_hw, canvas_hw, top, left)


def _next(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
