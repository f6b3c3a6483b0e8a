"""What every engine offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


class EngineError(ValueError):
    """An engine cannot be used here, or not as asked; the text is one line that says why, and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class RawDetections:
    """What was found on one canvas, best score first.

    Attributes:
        boxes: float32 (N, 4), normalized (y1, x1, y2, x2) of the canvas, Matterport's convention.
        class_ids: int32 (N,), 1 … K - 1.
        scores: float32 (N,), 0 … 1.
        mask_probs: float32 (N, 28, 28), 0 … 1, stretched over the box.
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    mask_probs: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def boxes_in_pixels(self, height: int, width: int) -> np.ndarray:
        """Boxes float32 (N, 4), (y1, x1, y2, x2) as edges in pixels of the canvas of that size, not rounded."""
        scale = np.array([height - 1, width - 1, height - 1, width - 1], np.float32)
        return self.boxes * scale + np.array([0, 0, 1, 1], np.float32)


class Engine(ABC):
    """Finds instances on canvases. May be built in one thread and called from another, by one thread at a time."""

    @abstractmethod
    def warm_up(self, batch: int, height: int, width: int) -> None:
        """Prepare for canvases of this size, so that no later call pays for it."""

    @abstractmethod
    def detect_molded(self, images: np.ndarray, windows: np.ndarray) -> list[RawDetections]:
        """Find the instances of a batch.

        Args:
            images: uint8 RGB (B, H, W, 3), H and W multiples of 32. The Keras engine also takes float RGB minus
                MEAN_PIXEL.
            windows: (B, 4), (y1, x1, y2, x2) in pixels: the part of the canvas that holds the picture.

        Returns:
            One `RawDetections` per image.

        Raises:
            ValueError: arrays of another shape.
        """
