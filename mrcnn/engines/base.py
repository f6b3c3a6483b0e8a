"""The interface of all engines: `Engine`, the `RawDetections` it returns, and the `EngineError` it raises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrcnn.architecture import Architecture
from mrcnn.network.anchors import boxes_in_pixels, normalize_boxes
from mrcnn.network.constants import CANVAS_MULTIPLE

Floats = NDArray[np.float32]


class EngineError(ValueError):
    """An engine cannot be created or used as requested; the message is one line with the reason and the remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class RawDetections:
    """The instances detected on one canvas, highest score first.

    Attributes:
        boxes: float32 (N, 4), (y1, x1, y2, x2), normalized by Matterport's convention: 0 is the first and 1 the last
            pixel of the canvas, y2 and x2 are inclusive.
        class_ids: int32 (N,), 1 … K - 1.
        scores: float32 (N,), 0 … 1.
        mask_probs: float32 (N, 28, 28), 0 … 1, box-local: stretched over the box.
    """

    boxes: Floats
    class_ids: NDArray[np.int32]
    scores: Floats
    mask_probs: Floats

    def __len__(self) -> int:
        return len(self.boxes)

    def boxes_in_pixels(self, height: int, width: int) -> Floats:
        """Boxes in pixels of a canvas of that size: float32 (N, 4), (y1, x1, y2, x2), y2 and x2 exclusive."""
        return boxes_in_pixels(self.boxes, height, width, last_pixel_is_one=True)


class Engine(ABC):
    """Computes the network on canvases.

    An engine may be created in one thread and called from another, but only by one thread at a time.
    """

    @abstractmethod
    def warm_up(self, batch: int, height: int, width: int) -> None:
        """Compile and allocate for canvases of this size, so that the first frame is not delayed."""

    @abstractmethod
    def detect_molded(self, images: NDArray[np.uint8], windows: NDArray[np.integer]) -> list[RawDetections]:
        """Detect the instances of a batch.

        Args:
            images: uint8 RGB (B, H, W, 3), H and W multiples of 32.
            windows: int (B, 4), (y1, x1, y2, x2) in pixels, y2 and x2 exclusive: the part of the canvas that the
                image covers. Boxes are clipped to it.

        Returns:
            One `RawDetections` per image.

        Raises:
            ValueError: arrays of another shape.
        """


def matterport_boxes(boxes: Floats, height: int, width: int, architecture: Architecture) -> Floats:
    """Boxes float32 (N, 4) in an architecture's normalized coordinates, in those of `RawDetections`."""
    if architecture.last_pixel_is_one:
        return boxes
    return normalize_boxes(boxes_in_pixels(boxes, height, width, last_pixel_is_one=False), height, width)


def check_canvases(images: NDArray[np.generic], windows: NDArray[np.generic]) -> None:
    """Raise ValueError unless `images` is (B, H, W, 3) with H and W multiples of 32, and `windows` is (B, 4)."""
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape:
        raise ValueError(f"images must be (B, H, W, 3), got {images.dtype} {images.shape}")
    if images.shape[1] % CANVAS_MULTIPLE or images.shape[2] % CANVAS_MULTIPLE:
        raise ValueError(
            f"height and width of a canvas must be multiples of {CANVAS_MULTIPLE}, "
            f"got {images.shape[1]} x {images.shape[2]}; "
            "for MaskRCNN, choose IMAGE_MAX_DIM accordingly (256, 320, 384 …) or IMAGE_RESIZE_MODE 'square' or 'pad64'"
        )
    if np.shape(windows) != (len(images), 4):
        raise ValueError(f"windows must be ({len(images)}, 4), got {np.shape(windows)}")
