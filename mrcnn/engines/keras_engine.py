"""Computes the network in Keras; `MaskRCNN.detect` and the video pipeline use it."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import DTypeLike, NDArray

from mrcnn.architecture import architecture_of
from mrcnn.engines.base import Engine, Floats, RawDetections, check_canvases, matterport_boxes
from mrcnn.network.anchors import normalize_boxes
from mrcnn.network.compiled import compile_function
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.network.target import Target, default_target

MASK_BUCKETS = (4, 16, 64)
"""Batch sizes of the mask head: the smallest that holds all boxes is used, at most DETECTION_MAX_INSTANCES."""

MASKS_AT_ONCE = 16
"""On an accelerator, the program that detects objects also predicts the masks of the first 16, without waiting for
their number; only if there are more does a second program predict all of them. At 1 GFLOP per mask they are 2 % of a
frame of 1024 x 1024 pixels."""

Tensor = Any
"""A tensor of the Keras backend; Keras is untyped."""


Submitted = tuple[Tensor, Tensor, list[Tensor], Tensor | None]
"""A batch on the backend's device, possibly still being computed: detections float32 (B, D, 6), see
`mrcnn.network.detection_selection.detect`; counts int32 (B,); [P2, P3, P4, P5]; masks of the first objects, float32
(B, MASKS_AT_ONCE, 28, 28), None if not predicted yet."""


class KerasEngine(Engine):
    """The compiled network.

    Only the uint8 canvas is copied to the device, and only the detections and their 28 x 28 masks are copied back.
    """

    def __init__(self, network: MaskRCNNNetwork, target: Target | None = None):
        """Prepare for compilation; each canvas size is compiled on its first use (see `warm_up`).

        Args:
            network: its weights may change later. `folding.inference_copy` makes a faster network.
            target: device kind to compile for; None for the one that the Keras backend computes on.
        """
        self.network = network
        target = target or default_target()
        detect = self._detect_with_masks if target is Target.ACCELERATOR else self._detect_only
        self._detect = compile_function(detect, network.variables, target)
        self._compiled_masks = compile_function(self._predict_masks, network.variables, target)
        limit = int(network.config.DETECTION_MAX_INSTANCES)
        self._buckets = [*(bucket for bucket in MASK_BUCKETS if bucket < limit), limit]

    def warm_up(self, batch: int, height: int, width: int, dtype: DTypeLike = np.uint8) -> None:
        """Compile everything for canvases of this size and dtype, see `Engine.warm_up`."""
        windows = np.array([[0, 0, height, width]] * batch)
        _, _, pyramid, mask_probs = self._submit(np.zeros((batch, height, width, 3), dtype), windows)
        at_once = 0 if mask_probs is None else mask_probs.shape[1]
        for bucket in self._buckets:
            if bucket > at_once:
                boxes = np.zeros((batch, bucket, 4), np.float32)
                self._run_masks(pyramid, boxes, np.zeros((batch, bucket), np.int32))

    def detect_molded(
        self, images: NDArray[np.uint8 | np.floating], windows: NDArray[np.integer]
    ) -> list[RawDetections]:
        """Detect the instances of a batch.

        Args:
            images: uint8 RGB, or float RGB minus MEAN_PIXEL, (B, H, W, 3), H and W multiples of 32.
            windows: int (B, 4), (y1, x1, y2, x2) in pixels, y2 and x2 exclusive: the part of the canvas that the
                image covers.

        Returns:
            One `RawDetections` per image.

        Raises:
            ValueError: arrays of another shape.
        """
        submitted = self._submit(images, windows)
        detections, counts = (np.asarray(ops.convert_to_numpy(values)) for values in submitted[:2])
        masks = self._masks_of(submitted, detections, int(counts.max()))
        height, width = images.shape[1:3]
        architecture = architecture_of(self.network.config)
        return [
            RawDetections(
                matterport_boxes(rows[:n, :4].copy(), height, width, architecture),
                rows[:n, 4].astype(np.int32),
                rows[:n, 5].copy(),
                mask[:n],
            )
            for rows, n, mask in zip(detections, counts.tolist(), masks, strict=True)
        ]

    def _submit(self, images: NDArray[np.uint8 | np.floating], windows: NDArray[np.integer]) -> Submitted:
        """Start computing a batch; takes what `detect_molded` takes."""
        check_canvases(images, windows)
        if images.dtype != np.uint8:
            images = np.asarray(images, np.float32)
        last_pixel_is_one = architecture_of(self.network.config).last_pixel_is_one
        normalized = normalize_boxes(windows, images.shape[1], images.shape[2], last_pixel_is_one)
        submitted: Submitted = self._detect(np.ascontiguousarray(images), normalized)
        return submitted

    def _masks_of(self, submitted: Submitted, detections: Floats, most: int) -> Floats:
        """Masks of at least the first `most` objects: float32 (B, …, 28, 28)."""
        if most == 0:
            side = 2 * self.network.config.MASK_POOL_SIZE
            return np.zeros((len(detections), 0, side, side), np.float32)
        _, _, pyramid, mask_probs = submitted
        if mask_probs is not None and most <= mask_probs.shape[1]:
            return np.asarray(ops.convert_to_numpy(mask_probs))
        bucket = next(bucket for bucket in self._buckets if bucket >= most)
        rows = detections[:, :bucket]
        return self._run_masks(pyramid, rows[..., :4], rows[..., 4].astype(np.int32))

    def _run_masks(self, pyramid: list[Tensor], boxes: Floats, class_ids: NDArray[np.int32]) -> Floats:
        mask_probs = self._compiled_masks(list(pyramid), np.ascontiguousarray(boxes), class_ids)
        return np.asarray(ops.convert_to_numpy(mask_probs))

    def _detect_only(self, images: Tensor, windows: Tensor) -> tuple[Tensor, Tensor, list[Tensor], None]:
        return (*self.network.detect_objects(images, windows), None)

    def _detect_with_masks(self, images: Tensor, windows: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensor]:
        detections, counts, pyramid = self.network.detect_objects(images, windows)
        rows = detections[:, :MASKS_AT_ONCE]
        mask_probs = self._predict_masks(pyramid, rows[..., :4], ops.cast(rows[..., 4], "int32"))
        return detections, counts, pyramid, mask_probs

    def _predict_masks(self, pyramid: list[Tensor], boxes: Tensor, class_ids: Tensor) -> Tensor:
        stride = int(self.network.config.BACKBONE_STRIDES[0])
        image_shape = (pyramid[0].shape[1] * stride, pyramid[0].shape[2] * stride)
        return self.network.predict_masks(pyramid, boxes, class_ids, image_shape)
