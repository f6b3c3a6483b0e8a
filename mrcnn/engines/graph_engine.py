"""Runs the exported graphs with any runtime that supports ONNX; boxes are decoded and ordered on the host, in NumPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.architecture import architecture_of
from mrcnn.config import Config
from mrcnn.engines.base import Engine, Floats, RawDetections, check_canvases, matterport_boxes
from mrcnn.engines.regions import Detected, RegionsByLevel, detect, sort_by_level
from mrcnn.network.anchors import AnchorSettings, feature_shapes, level_ends, normalize_boxes, normalized_anchors
from mrcnn.network.constants import LEVELS

Arrays = Mapping[str, Any]
"""Arrays by name: NumPy's, or device tensors that a runtime passes from one part to the next."""

Inputs = Mapping[str, NDArray[Any]]
"""NumPy arrays by input name."""


class Runtime(ABC):
    """Loads and runs the parts of one network (see `mrcnn.export.parts`)."""

    @abstractmethod
    def features(self, inputs: Inputs) -> Arrays:
        """Run the part `features` on images uint8 (B, H, W, 3) and windows int64 (B, 4).

        Returns:
            p2 … p5 as the runtime's own tensors, valid until the next call; rpn_class_logits and rpn_deltas as NumPy
            arrays.
        """

    @abstractmethod
    def proposals(self, inputs: Inputs) -> Floats:
        """Run the part `proposals`: rois float32 (N, 4), normalized."""

    @abstractmethod
    def boxes(self, pyramid: Arrays, inputs: Inputs) -> tuple[Floats, Floats]:
        """Run the part `boxes`: class_probs float32 (N, K), deltas float32 (N, K, 4)."""

    @abstractmethod
    def masks(self, pyramid: Arrays, inputs: Inputs) -> Floats:
        """Run the part `masks`: mask_probs float32 (N, S, S)."""


class GraphEngine(Engine):
    """Computes the network with exported graphs."""

    def __init__(self, runtime: Runtime, config: Config):
        """Store the arguments.

        Args:
            runtime: holds the parts of this network.
            config: settings of the network; thresholds and limits are read on each call.
        """
        self._runtime, self._config = runtime, config
        self._architecture = architecture_of(config)
        self._anchor_settings = AnchorSettings.from_config(config)

    def warm_up(self, batch: int, height: int, width: int) -> None:
        """See `Engine.warm_up`."""
        self.detect_molded(np.zeros((batch, height, width, 3), np.uint8), np.array([[0, 0, height, width]] * batch))

    def detect_molded(self, images: NDArray[np.uint8], windows: NDArray[np.integer]) -> list[RawDetections]:
        """See `Engine.detect_molded`; images must be uint8."""
        check_canvases(images, windows)
        if images.dtype != np.uint8:
            raise ValueError(f"images must be uint8 (B, H, W, 3), got {images.dtype} {images.shape}")
        height, width = images.shape[1:3]
        pyramid = self._runtime.features(
            {"images": np.ascontiguousarray(images), "windows": np.array(windows, np.int64)}
        )
        normalized = normalize_boxes(windows, height, width, self._architecture.last_pixel_is_one)
        rois = [self._propose(pyramid, index, normalized[index], height, width) for index in range(len(images))]
        class_probs, deltas = self._classify(pyramid, rois, height, width)
        ends = np.cumsum([len(image_rois) for image_rois in rois])[:-1]
        by_image = zip(
            rois,
            np.split(class_probs, ends),
            np.split(deltas, ends),
            normalized,
            strict=True,
        )
        detected = [detect(*arrays, (height, width), self._config) for arrays in by_image]
        masks = self._predict_masks(pyramid, detected, height, width)
        return [
            RawDetections(matterport_boxes(boxes, height, width, self._architecture), class_ids, scores, mask)
            for (boxes, class_ids, scores), mask in zip(detected, masks, strict=True)
        ]

    def _propose(self, pyramid: Arrays, index: int, window: Floats, height: int, width: int) -> Floats:
        rpn = {name: pyramid[name][index] for name in ("rpn_class_logits", "rpn_deltas")}
        return self._runtime.proposals(rpn | proposal_inputs(self._config, window, height, width))

    def _classify(self, pyramid: Arrays, rois: Sequence[Floats], height: int, width: int) -> tuple[Floats, Floats]:
        regions = self._sort(rois, height, width, int(self._config.POOL_SIZE))
        class_probs, deltas = self._runtime.boxes(pyramid, regions.inputs)
        return regions.restore(class_probs), regions.restore(deltas)

    def _predict_masks(
        self, pyramid: Arrays, detected: Sequence[Detected], height: int, width: int
    ) -> Sequence[Floats]:
        """Mask probabilities of each image's detections: [float32 (N, S, S), …]."""
        boxes = [image_boxes for image_boxes, _, _ in detected]
        class_ids = np.concatenate([image_class_ids for _, image_class_ids, _ in detected]).astype(np.int64)
        side = 2 * int(self._config.MASK_POOL_SIZE)
        if len(class_ids) == 0:
            return [np.zeros((0, side, side), np.float32) for _ in detected]
        regions = self._sort(boxes, height, width, int(self._config.MASK_POOL_SIZE))
        mask_probs = self._runtime.masks(pyramid, {**regions.inputs, "class_ids": class_ids[regions.order]})
        return np.split(regions.restore(mask_probs), np.cumsum([len(image_boxes) for image_boxes in boxes])[:-1])

    def _sort(self, boxes: Sequence[Floats], height: int, width: int, samples: int) -> RegionsByLevel:
        image_indices = np.repeat(np.arange(len(boxes), dtype=np.int64), [len(image_boxes) for image_boxes in boxes])
        level_hws = feature_shapes((height, width), self._anchor_settings.feature_strides)[: len(LEVELS)]
        return sort_by_level(
            np.concatenate(boxes), image_indices, level_hws, (height, width), samples, self._architecture
        )


def proposal_inputs(config: Config, window: Floats, height: int, width: int) -> dict[str, NDArray[Any]]:
    """The inputs of the part `proposals` that do not come from the network, see `mrcnn.export.parts.export_proposals`.

    Args:
        config: settings of the network.
        window: float32 (4,), normalized (y1, x1, y2, x2): the part of the canvas that the image covers.
        height, width: canvas size, pixels.
    """
    architecture, anchors = architecture_of(config), AnchorSettings.from_config(config)
    ends = level_ends(anchors, height, width)
    starts = (0, *ends[:-1])
    if not architecture.proposals_per_level:
        starts, ends, window = (0,), ends[-1:], np.array([0, 0, 1, 1], np.float32)
    return {
        "anchors": normalized_anchors(anchors, height, width),
        "starts": np.array(starts, np.int64),
        "ends": np.array(ends, np.int64),
        "window": window,
        "smallest": np.float32(architecture.smallest_proposal) / np.array([height, width], np.float32),
        "limit": np.array([int(config.PRE_NMS_LIMIT)], np.int64),
        "count": np.array([int(config.POST_NMS_ROIS_INFERENCE)], np.int64),
    }
