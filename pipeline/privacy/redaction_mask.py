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
from pipeline.records import Image, Instances

MAX_GRID_SIDE = 320
"""Cells of the grid's longer side: masks and their dilation cost a millisecond at this size."""
_MASK_THRESHOLD = 0.3
"""Mask probability from which a cell is redacted; lower than for drawing, where both errors are equally bad."""
_MIN_FILL = 0.15
"""A mask that fills less of its box than this is not trusted: the whole box is redacted."""
_MAX_CHANGE_THRESHOLD = 14.0
"""Gray levels (0 … 255) by which a blurred cell must differ to count as changed; noise and compression stay below."""
_CHANGE_CONTRAST = 0.14
"""In the dark: the part of the local brightness by which a cell must differ. Less light scales all contrasts down."""
_BRIGHTNESS_WINDOW = 0.125
"""Side of the window of the local brightness, of the frame's height."""
_NOISE_SIGMAS = 4.0
"""Where noise reaches the threshold with so many standard deviations, a change cannot be told from noise."""
_MIN_NOISE = 0.1
"""Gray levels: standard deviation that rounding alone leaves in a cell's difference."""
_NOISE_STEP = 5
"""Cells between samples for the noise estimate; the blur correlates nearer ones."""
_MAX_CHANGED = 0.4
"""Where more of the frame has changed, the background's illumination is unknown, and so is what has changed."""
_MIN_CORRELATION = 0.5
"""A change of illumination leaves the texture; a person who fills the frame does not."""

Mask = NDArray[np.uint8]
Gray = NDArray[np.float32]


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


def change_mask(before_gray: Gray, now_gray: Gray) -> Mask:
    """uint8 (h, w): 255 where two gray frames on the grid differ, or where it cannot be told whether they do.

    A global change of illumination is no difference.
    """
    difference = now_gray - before_gray
    shift = np.float32(np.median(difference[::2, ::2]))  # a quarter of the cells is enough
    difference -= shift
    threshold = _threshold(cv2.min(before_gray, now_gray))
    blind = threshold < _NOISE_SIGMAS * max(_noise(difference), _MIN_NOISE)
    changed = (np.abs(difference) > threshold).view(np.uint8)
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))  # isolated cells are noise
    same = changed == 0
    relit = abs(shift) > threshold.mean()
    uncertain = relit and _correlation(before_gray[same], now_gray[same]) < _MIN_CORRELATION
    if uncertain or 1.0 - same.mean() > _MAX_CHANGED:
        return np.full(difference.shape, 255, np.uint8)
    return np.asarray((changed | blind.view(np.uint8)) * np.uint8(255), np.uint8)


def _threshold(gray: Gray) -> Gray:
    """float32 (h, w): gray levels by which a cell must differ to count as changed."""
    side = 2 * round(_BRIGHTNESS_WINDOW * gray.shape[0] / 2) + 1
    return np.asarray(np.minimum(cv2.blur(gray, (side, side)) * np.float32(_CHANGE_CONTRAST), _MAX_CHANGE_THRESHOLD))


def _noise(difference: Gray) -> float:
    """Standard deviation of the noise in a difference of two frames: illumination and most changes are smoother."""
    step = min(_NOISE_STEP, (difference.shape[1] - 1) // 2)
    if step < 1:
        return float("inf")
    rows = difference[::6]  # enough for a median
    second = rows[:, : -2 * step] - 2 * rows[:, step:-step] + rows[:, 2 * step :]
    # The variance of a - 2b + c is 6 times that of each; 0.6745 is the median of |x| of a normal distribution.
    return float(np.median(np.abs(second))) / (0.6745 * 6**0.5)


def _correlation(first: Gray, second: Gray) -> float:
    """Correlation of two arrays (N,); 0 where one of them is constant."""
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / scale if scale > 0 else 0.0


def downscaled_gray(image_bgr: Image, grid: MaskGrid) -> Gray:
    """float32 (h, w), 0 … 255: the frame on the grid, gray and slightly blurred."""
    small = cv2.resize(image_bgr, (grid.width, grid.height), interpolation=cv2.INTER_AREA)
    # In float, since the differences in dark scenes are smaller than a gray level.
    weights = np.array([[0.114, 0.587, 0.299]], np.float32)
    return np.asarray(cv2.GaussianBlur(cv2.transform(small.astype(np.float32), weights), (5, 5), 0), np.float32)
