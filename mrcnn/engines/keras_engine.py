"""Runs the network on batches of canvases: arrays in, arrays out. Both MaskRCNN.detect and the video pipeline stand
on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from mrcnn.engines.base import Engine, RawDetections
from mrcnn.network.anchors import normalize_boxes
from mrcnn.network.compiled import compile_function
from mrcnn.network.network import CANVAS_MULTIPLE, MaskRCNNNetwork
from mrcnn.network.target import Target, default_target

MASK_BUCKETS = (4, 16, 64)
"""The mask head runs on the smallest of these numbers of boxes that is enough (or on DETECTION_MAX_INSTANCES)."""

MASKS_AT_ONCE = 16
"""On an accelerator so many masks are drawn in the same program that finds the objects, without asking how many there
are; only where there are more does a second program draw them all. At 1 GFLOP a mask they are 2 % of a frame of
1024 x 1024 pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class PendingDetections:
    """A batch that the network works on, or has worked on: tensors of the Keras backend, where it computes.

    Attributes:
        detections: float32 (B, D, 6), see `detections.detect`.
        counts: int32 (B,).
        pyramid: [P2, P3, P4, P5].
        mask_probs: float32 (B, MASKS_AT_ONCE, 28, 28) of the first objects; None if they are yet to be drawn.
    """

    detections: Any
    counts: Any
    pyramid: list[Any]
    mask_probs: Any


class KerasEngine(Engine):
    """The compiled network. May be built in one thread and called from another, by one thread at a time.

    What goes to the device is the uint8 canvas, and what comes back are the detections and their 28 x 28 masks.
    """

    def __init__(self, network: MaskRCNNNetwork, target: Target | None = None):
        """Compile for inference; each canvas size is traced when it is first seen (see `warm_up`).

        Args:
            network: its weights may change later. `folding.inference_copy` makes a faster one.
            target: what it is compiled for; None for where the Keras backend computes.
        """
        self.network = network
        target = target or default_target()
        find = self._find_and_draw if target is Target.ACCELERATOR else self._only_find
        self._find = compile_function(find, network.variables, target)
        self._draw_masks = compile_function(self._draw, network.variables, target)
        limit = int(network.config.DETECTION_MAX_INSTANCES)
        self._buckets = [*(bucket for bucket in MASK_BUCKETS if bucket < limit), limit]

    def warm_up(self, batch: int, height: int, width: int, dtype=np.uint8) -> None:
        """Compile everything for canvases of this size, so that no later call pays for it."""
        windows = np.array([[0, 0, height, width]] * batch)
        pending = self.submit(np.zeros((batch, height, width, 3), dtype), windows)
        at_once = 0 if pending.mask_probs is None else pending.mask_probs.shape[1]
        for bucket in self._buckets:
            if bucket > at_once:
                boxes = np.zeros((batch, bucket, 4), np.float32)
                self._run_masks(pending.pyramid, boxes, np.zeros((batch, bucket), np.int32))

    def detect_molded(self, images: np.ndarray, windows: np.ndarray) -> list[RawDetections]:
        """Find the instances of a batch: `submit` and `result` in one.

        Args:
            images: uint8 RGB, or float RGB minus MEAN_PIXEL, (B, H, W, 3), H and W multiples of 32.
            windows: (B, 4), (y1, x1, y2, x2) in pixels: the part of the canvas that holds the picture.

        Returns:
            One `RawDetections` per image.

        Raises:
            ValueError: arrays of another shape.
        """
        return self.result(self.submit(images, windows))

    def submit(self, images: np.ndarray, windows: np.ndarray) -> PendingDetections:
        """Give a batch to the device, and do not wait for what it finds where the backend computes on its own (JAX, and
        all of them on an accelerator); so the next batch can be made ready meanwhile. See `detect_molded`."""
        _check_canvas(images, windows)
        if images.dtype != np.uint8:
            images = np.asarray(images, np.float32)
        normalized = normalize_boxes(windows, *images.shape[1:3])
        return PendingDetections(*self._find(np.ascontiguousarray(images), normalized))

    def result(self, pending: PendingDetections) -> list[RawDetections]:
        """Wait for a batch that was submitted: one `RawDetections` per image."""
        detections, counts = ops.convert_to_numpy(pending.detections), ops.convert_to_numpy(pending.counts)
        masks = self._masks_of(pending, detections, int(counts.max()))
        return [
            RawDetections(rows[:n, :4].copy(), rows[:n, 4].astype(np.int32), rows[:n, 5].copy(), mask[:n])
            for rows, n, mask in zip(detections, counts.tolist(), masks, strict=True)
        ]

    def _masks_of(self, pending: PendingDetections, detections: np.ndarray, most: int) -> np.ndarray:
        """Masks of the first `most` objects or more: float32 (B, …, 28, 28)."""
        if most == 0:
            side = 2 * self.network.config.MASK_POOL_SIZE
            return np.zeros((len(detections), 0, side, side), np.float32)
        if pending.mask_probs is not None and most <= pending.mask_probs.shape[1]:
            return ops.convert_to_numpy(pending.mask_probs)
        bucket = next(bucket for bucket in self._buckets if bucket >= most)
        rows = detections[:, :bucket]
        return self._run_masks(pending.pyramid, rows[..., :4], rows[..., 4].astype(np.int32))

    def _run_masks(self, pyramid, boxes, class_ids) -> np.ndarray:
        return ops.convert_to_numpy(self._draw_masks(list(pyramid), np.ascontiguousarray(boxes), class_ids))

    def _only_find(self, images, windows):
        return (*self.network.find(images, windows), None)

    def _find_and_draw(self, images, windows):
        detections, counts, pyramid = self.network.find(images, windows)
        rows = detections[:, :MASKS_AT_ONCE]
        return detections, counts, pyramid, self._draw(pyramid, rows[..., :4], ops.cast(rows[..., 4], "int32"))

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
