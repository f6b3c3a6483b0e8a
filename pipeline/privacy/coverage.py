"""Where the privacy cover lies: shapes with a margin, and what has changed, on a small plane of the frame's shape.

Everything here errs on the side of covering too much.

Shape letters: H, W frame height and width in pixels; h, w those of the small plane; N objects; M side of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.drawing.masks import paste_mask
from pipeline.records import Instances

PLANE_SIDE = 320
"""Pixels of the small plane's longer side: shapes and margins on it cost a millisecond."""
_SURE_FROM = 0.3
"""Mask probability from which a pixel is covered; lower than for drawing, where both mistakes are equally bad."""
_LEAST_SHARE = 0.15
"""A mask that fills less of its box than this is not believed: the box is covered."""
_CHANGE = 14.0
"""Gray levels (0 … 255) by which a blurred pixel must differ to count as changed; noise and compression stay below."""

Plane = NDArray[np.uint8]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PlaneSize:
    """The small plane of a frame.

    Attributes:
        width, height: of the plane, in its pixels.
        frame_width, frame_height: of the frame.
    """

    width: int
    height: int
    frame_width: int
    frame_height: int

    @classmethod
    def of(cls, image_bgr: Image) -> PlaneSize:
        """The plane of a uint8 (H, W, 3) frame; never larger than it."""
        height, width = image_bgr.shape[:2]
        scale = min(1.0, PLANE_SIDE / max(height, width))
        return cls(max(1, ceil(width * scale)), max(1, ceil(height * scale)), width, height)

    def nothing(self) -> Plane:
        """uint8 (h, w) of zeros."""
        return np.zeros((self.height, self.width), np.uint8)

    def on_plane(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes float32 (N, 4) of the frame in pixels of the plane."""
        scale = np.array([self.width / self.frame_width, self.height / self.frame_height] * 2, np.float32)
        return np.asarray(boxes_xyxy * scale, np.float32)

    def on_frame(self, plane: Plane) -> Plane:
        """uint8 (H, W), 255 wherever a pixel of the plane that is not 0 has any part in it."""
        size_wh = (self.frame_width, self.frame_height)
        if plane.shape == (self.frame_height, self.frame_width):
            stretched = plane
        else:
            stretched = np.asarray(cv2.resize(plane, size_wh, interpolation=cv2.INTER_LINEAR), np.uint8)
        return np.asarray(cv2.threshold(stretched, 0, 255, cv2.THRESH_BINARY)[1], np.uint8)


def shapes_plane(instances: Instances, size: PlaneSize) -> Plane:
    """uint8 (h, w): 255 on every object's shape, on its whole box where the mask is next to nothing.

    Args:
        instances: in pixels of the frame, their boxes finite.
        size: the plane.
    """
    plane = size.nothing()
    for box, probs in zip(size.on_plane(instances.boxes_xyxy), instances.mask_probs, strict=True):
        mask, y0, x0 = paste_mask(probs, box, size.height, size.width, _SURE_FROM)
        if mask.size == 0:
            continue
        if mask.mean() < _LEAST_SHARE:
            mask = np.ones_like(mask)
        part = plane[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        part[mask] = 255
    return plane


def widened(plane: Plane, by: float) -> Plane:
    """The plane with everything that lies at most `by` of its pixels from what is set, and one pixel more."""
    if not plane.any():
        return plane
    distance = cv2.distanceTransform(cv2.bitwise_not(plane), cv2.DIST_L2, 5)
    return np.asarray((distance <= by + 1.0).view(np.uint8) * np.uint8(255), np.uint8)


def changes_plane(before_gray: NDArray[np.float32], now_gray: NDArray[np.float32]) -> Plane:
    """uint8 (h, w): 255 where two small gray pictures differ by more than noise and more than the whole."""
    difference = now_gray - before_gray
    difference -= np.float32(np.median(difference))
    changed = (np.abs(difference) > _CHANGE).view(np.uint8) * np.uint8(255)
    # Single pixels are noise.
    return np.asarray(cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)), np.uint8)


def small_gray(image_bgr: Image, size: PlaneSize) -> NDArray[np.float32]:
    """float32 (h, w), 0 … 255: the frame on the plane, without color and fine noise."""
    small = cv2.resize(image_bgr, (size.width, size.height), interpolation=cv2.INTER_AREA)
    gray = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (5, 5), 0)
    return np.asarray(gray, np.float32)


def overlaps(boxes_xyxy: NDArray[np.float32], others_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (N, K): intersection over union of float32 boxes (N, 4) and (K, 4)."""
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (boxes_xyxy, others_xyxy)]
    return np.asarray(both / np.maximum(areas[0][:, None] + areas[1][None, :] - both, 1e-6), np.float32)


def match_once(scores: NDArray[np.float32], least: float) -> Sequence[tuple[int, int]]:
    """Pairs (row, column) of the best scores of at least `least`, each row and column at most once, best first."""
    remaining = scores.copy()
    pairs: list[tuple[int, int]] = []
    while remaining.size and remaining.max() >= least:
        row, column = (int(place) for place in np.unravel_index(int(remaining.argmax()), remaining.shape))
        pairs.append((row, column))
        remaining[row, :] = remaining[:, column] = -1.0
    return pairs
