"""Runs the network on batches of canvases: arrays in, arrays out. Both MaskRCNN.detect and the video pipeline stand
on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from .anchors import normalize_boxes
from .compiled import compile_function
from .network import CANVAS_MULTIPLE, MaskRCNNNetwork

MASK_BUCKETS = (4, 16, 64)
"""The mask head runs on the smallest of these numbers of boxes that is enough (or on DETECTION_MAX_INSTANCES)."""


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


class Detector:
    """The compiled network. May be built in one thread and called from another, by one thread at a time."""

    def __init__(self, network: MaskRCNNNetwork):
        """Compile for inference; each canvas size is traced when it is first seen (see `warm_up`)."""
        self.network = network
        self._find = compile_function(network.find, network.variables)
        self._draw_masks = compile_function(self._draw, network.variables)
        limit = int(network.config.DETECTION_MAX_INSTANCES)
        self._buckets = [*(bucket for bucket in MASK_BUCKETS if bucket < limit), limit]

    def warm_up(self, batch: int, height: int, width: int, dtype=np.uint8) -> None:
        """Compile everything for canvases of this size, so that no later call pays for it."""
        windows = np.array([[0, 0, height, width]] * batch)
        _, _, pyramid = self._run_find(np.zeros((batch, height, width, 3), dtype), windows)
        for bucket in self._buckets:
            boxes = np.zeros((batch, bucket, 4), np.float32)
            self._run_masks(pyramid, boxes, np.zeros((batch, bucket), np.int32))

    def detect_molded(self, images: np.ndarray, windows: np.ndarray) -> list[RawDetections]:
        """Find the instances of a batch.

        Args:
            images: uint8 RGB, or float RGB minus MEAN_PIXEL, (B, H, W, 3), H and W multiples of 64.
            windows: (B, 4), (y1, x1, y2, x2) in pixels: the part of the canvas that holds the picture.

        Returns:
            One `RawDetections` per image.

        Raises:
            ValueError: arrays of another shape.
        """
        _check_canvas(images, windows)
        detections, counts, pyramid = self._run_find(images, windows)
        detections, counts = ops.convert_to_numpy(detections), ops.convert_to_numpy(counts)
        most = int(counts.max())
        if most == 0:
            side = 2 * self.network.config.MASK_POOL_SIZE
            masks = np.zeros((len(images), 0, side, side), np.float32)
        else:
            bucket = next(bucket for bucket in self._buckets if bucket >= most)
            rows = detections[:, :bucket]
            masks = self._run_masks(pyramid, rows[..., :4], rows[..., 4].astype(np.int32))
        return [
            RawDetections(rows[:n, :4].copy(), rows[:n, 4].astype(np.int32), rows[:n, 5].copy(), mask[:n])
            for rows, n, mask in zip(detections, counts.tolist(), masks, strict=True)
        ]

    def _run_find(self, images, windows):
        if images.dtype != np.uint8:
            images = np.asarray(images, np.float32)
        return self._find(np.ascontiguousarray(images), normalize_boxes(windows, *images.shape[1:3]))

    def _run_masks(self, pyramid, boxes, class_ids) -> np.ndarray:
        return ops.convert_to_numpy(self._draw_masks(list(pyramid), np.ascontiguousarray(boxes), class_ids))

    def _draw(self, pyramid, boxes, class_ids):
        stride = int(self.network.config.BACKBONE_STRIDES[0])
        image_shape = (pyramid[0].shape[1] * stride, pyramid[0].shape[2] * stride)
        return self.network.draw_masks(pyramid, boxes, class_ids, image_shape)


def _check_canvas(images: np.ndarray, windows: np.ndarray) -> None:
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
