"""The geometry between a frame and the canvas that the network sees: scale, padding, and the inverse for boxes.

Shape letters: H, W frame height and width; N boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mrcnn.architecture import architecture_of
from mrcnn.config import MIN_DIM_SHARE, Config
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
        top, left: where the scaled frame begins on the canvas, which is black around it.
        interpolation: of cv2.resize.
    """

    frame_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    canvas_hw: tuple[int, int]
    top: int
    left: int
    interpolation: int = cv2.INTER_LINEAR

    @property
    def window(self) -> tuple[int, int, int, int]:
        """(y1, x1, y2, x2) in pixels: the part of the canvas that holds the frame."""
        return self.top, self.left, self.top + self.resized_hw[0], self.left + self.resized_hw[1]

    def place(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame, uint8 (H, W, 3) BGR, scaled onto its canvas, uint8 RGB."""
        if image_bgr.shape[:2] != self.frame_hw:
            raise ValueError(f"this fit is for frames of {self.frame_hw}, got {image_bgr.shape[:2]}")
        height, width = self.resized_hw
        canvas_rgb = np.zeros((*self.canvas_hw, 3), np.uint8)
        resized_bgr = image_bgr
        if self.resized_hw != self.frame_hw:
            resized_bgr = cv2.resize(image_bgr, (width, height), interpolation=self.interpolation)
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


def fit_canvas(height: int, width: int, config: Config, canvas: Canvas) -> CanvasFit:
    """Scale and pad a frame as the network's weights expect it.

    In IMAGE_RESIZE_MODE "shortest" the shorter side becomes IMAGE_MIN_DIM unless the longer one then exceeds
    IMAGE_MAX_DIM. In all others the frame is scaled as by Matterport's resize_image in mode "square" (min_dim =
    800/1024 of max_dim), which makes a frame smaller only for the longer side's sake.

    Args:
        height, width: of the frame, pixels.
        config: IMAGE_RESIZE_MODE, IMAGE_MIN_DIM, IMAGE_MAX_DIM and the architecture are read.
        canvas: pad to the square of IMAGE_MAX_DIM, or only to a multiple (`MULTIPLES`).
    """
    architecture, max_dim = architecture_of(config), int(config.IMAGE_MAX_DIM)
    if config.IMAGE_RESIZE_MODE == "shortest":
        scale = min(config.IMAGE_MIN_DIM / min(height, width), max_dim / max(height, width))
    else:
        scale = max(1.0, MIN_DIM_SHARE * max_dim / min(height, width))
        if round(max(height, width) * scale) > max_dim:
            scale = max_dim / max(height, width)
    rounded = math.floor if architecture.floored_size else round
    resized_hw = (max(1, rounded(height * scale)), max(1, rounded(width * scale)))
    side = _next(max_dim, MULTIPLES[Canvas.TIGHT])
    canvas_hw = (side, side)
    if canvas is not Canvas.SQUARE:
        canvas_hw = (_next(resized_hw[0], MULTIPLES[canvas]), _next(resized_hw[1], MULTIPLES[canvas]))
    top, left = (canvas_hw[0] - resized_hw[0]) // 2, (canvas_hw[1] - resized_hw[1]) // 2
    if not architecture.centered:
        top = left = 0
    interpolation = cv2.INTER_AREA if architecture.antialiased and scale < 1 else cv2.INTER_LINEAR
    return CanvasFit((height, width), resized_hw, canvas_hw, top, left, interpolation)


def _next(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
