"""Masks of what must be redacted, computed on a small grid with the frame's aspect ratio.

Everything here errs on the side of redacting too much.

Shape letters: H, W frame height and width in pixels; h, w those of the grid; N objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.masks import paste_mask
from pipeline.records import Instances

MAX_GRID_SIDE = 320
"""Cells of the grid's longer side: masks and their dilation cost a millisecond at this size."""
_MASK_THRESHOLD = 0.3
"""Mask probability from which a cell is redacted; lower than for drawing, where both errors are equally bad."""
_MIN_FILL = 0.15
"""A mask that fills less of its box than this is not trusted: the whole box is redacted."""
_CHANGE_THRESHOLD = 14.0
"""Gray levels (0 … 255) by which a blurred cell must differ to count as changed; noise and compression stay below."""

Mask = NDArray[np.uint8]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MaskGrid:
    """The grid of a frame.

    Attributes:
        width, height: in cells.
        frame_width, frame_height: in pixels.
    """

    width: int
    height: int
    frame_width: int
    frame_height: int

    @classmethod
    def for_image(cls, image_bgr: Image) -> MaskGrid:
        """The grid of a uint8 (H, W, 3) frame; never larger than the frame."""
        height, width = image_bgr.shape[:2]
        scale = min(1.0, MAX_GRID_SIDE / max(height, width))
        return cls(max(1, ceil(width * scale)), max(1, ceil(height * scale)), width, height)

    def empty(self) -> Mask:
        """uint8 (h, w) of zeros."""
        return np.zeros((self.height, self.width), np.uint8)

    def to_grid(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Converts boxes, float32 (N, 4), from pixels to cells."""
        scale = np.array([self.width / self.frame_width, self.height / self.frame_height] * 2, np.float32)
        return np.asarray(boxes_xyxy * scale, np.float32)

    def to_frame(self, mask: Mask) -> Mask:
        """uint8 (H, W): 255 on every pixel that a nonzero cell contributes to."""
        size_wh = (self.frame_width, self.frame_height)
        if mask.shape == (self.frame_height, self.frame_width):
            resized = mask
        else:
            resized = np.asarray(cv2.resize(mask, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.asarray(cv2.threshold(resized, 0, 255, cv2.THRESH_BINARY)[1], np.uint8)


def instances_mask(instances: Instances, grid: MaskGrid) -> Mask:
    """uint8 (h, w): 255 on every object, and on its whole box where its mask is nearly empty.

    Args:
        instances: in pixels of the frame, with finite boxes.
        grid: of the frame.
    """
    result = grid.empty()
    for box, probs in zip(grid.to_grid(instances.boxes_xyxy), instances.mask_probs, strict=True):
        mask, y0, x0 = paste_mask(probs, box, grid.height, grid.width, _MASK_THRESHOLD)
        if mask.size == 0:
            continue
        if mask.mean() < _MIN_FILL:
            mask = np.ones_like(mask)
        part = result[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        part[mask] = 255
    return result


def dilate(mask: Mask, radius: float) -> Mask:
    """Dilates a mask by a disk with a radius in cells, and by one cell more."""
    if not mask.any():
        return mask
    distance = cv2.distanceTransform(cv2.bitwise_not(mask), cv2.DIST_L2, 5)
    return np.asarray((distance <= radius + 1.0).view(np.uint8) * np.uint8(255), np.uint8)


def change_mask(before_gray: NDArray[np.float32], now_gray: NDArray[np.float32]) -> Mask:
    """uint8 (h, w): 255 where two gray frames on the grid differ beyond noise and a global change of illumination."""
    difference = now_gray - before_gray
    difference -= np.float32(np.median(difference))
    changed = (np.abs(difference) > _CHANGE_THRESHOLD).view(np.uint8) * np.uint8(255)
    # Opening removes isolated cells, which are noise.
    return np.asarray(cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)), np.uint8)


def downscaled_gray(image_bgr: Image, grid: MaskGrid) -> NDArray[np.float32]:
    """float32 (h, w), 0 … 255: the frame on the grid, gray and slightly blurred."""
    small = cv2.resize(image_bgr, (grid.width, grid.height), interpolation=cv2.INTER_AREA)
    gray = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    return np.asarray(gray, np.float32)
