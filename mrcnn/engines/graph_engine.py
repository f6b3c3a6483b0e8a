"""Runs the exported parts of the network with any runtime that takes ONNX; the order of boxes is kept on the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from mrcnn.engines.base import Engine, RawDetections
from mrcnn.engines.regions import LEVEL_COUNT, LevelledRegions, detect, sort_by_level
from mrcnn.network.anchors import AnchorSettings, feature_shapes, normalize_boxes, normalized_anchors

CANVAS_MULTIPLE = 32
"""Height and width of a canvas are multiples of this: the stride of P5."""

Arrays = Mapping[str, Any]
"""Arrays by name: numpy's, or whatever a runtime keeps between two parts."""


class Runtime(ABC):
    """Loads and runs the parts of one network."""

    @abstractmethod
    def features(self, images: np.ndarray) -> Arrays:
        """Run the part `features` on uint8 (B, H, W, 3): p2 … p5 in the runtime's own keeping, valid until the next
        call; rpn_class_logits and rpn_deltas as numpy arrays."""

    @abstractmethod
    def proposals(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run the part `proposals`; rois float32 (N, 4)."""

    @abstractmethod
    def boxes(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Run the part `boxes`; class_probs, deltas."""

    @abstractmethod
    def masks(self, pyramid: Arrays, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run the part `masks`; mask_probs."""


class GraphEngine(Engine):
    """The network as exported graphs."""

    def __init__(self, runtime: Runtime, config: Any):
        """Put it together.

        Args:
            runtime: holds the parts of this network.
            config: the Config that the network was built from; its thresholds and limits are read at each call.
        """
        self._runtime, self._config = runtime, config
        self._anchor_settings = AnchorSettings.from_config(config)

    def warm_up(self, batch: int, height: int, width: int) -> None:
        """See `Engine.warm_up`."""
        self.detect_molded(np.zeros((batch, height, width, 3), np.uint8), np.array([[0, 0, height, width]] * batch))

    def detect_molded(self, images: np.ndarray, windows: np.ndarray) -> list[RawDetections]:
        """See `Engine.detect_molded`; images must be uint8."""
        _check(images, windows)
        height, width = images.shape[1:3]
        pyramid = self._runtime.features(np.ascontiguousarray(images))
        rois = [self._propose(pyramid, index, height, width) for index in range(len(images))]
        class_probs, deltas = self._classify(pyramid, rois, height, width)
        ends = np.cumsum([len(image_rois) for image_rois in rois])[:-1]
        found = [
            detect(*one_image, window, self._config)
            for *one_image, window in zip(
                rois,
                np.split(class_probs, ends),
                np.split(deltas, ends),
                normalize_boxes(windows, height, width),
                strict=True,
            )
        ]
        masks = self._draw(pyramid, found, height, width)
        return [RawDetections(*one_image, mask) for one_image, mask in zip(found, masks, strict=True)]

    def _propose(self, pyramid: Arrays, index: int, height: int, width: int) -> np.ndarray:
        config = self._config
        anchors = normalized_anchors(self._anchor_settings, height, width)
        return self._runtime.proposals(
            {
                "rpn_class_logits": pyramid["rpn_class_logits"][index],
                "rpn_deltas": pyramid["rpn_deltas"][index],
                "anchors": anchors,
                "limit": np.array([min(int(config.PRE_NMS_LIMIT), len(anchors))], np.int64),
                "count": np.array([int(config.POST_NMS_ROIS_INFERENCE)], np.int64),
            }
        )

    def _classify(self, pyramid: Arrays, rois: list[np.ndarray], height: int, width: int):
        regions = self._sort(rois, height, width, int(self._config.POOL_SIZE))
        class_probs, deltas = self._runtime.boxes(pyramid, regions.inputs)
        return regions.restore(class_probs), regions.restore(deltas)

    def _draw(self, pyramid: Arrays, found, height: int, width: int) -> list[np.ndarray]:
        """Mask probabilities of each image's detections: [float32 (N, S, S), …]."""
        boxes = [one_image[0] for one_image in found]
        class_ids = np.concatenate([one_image[1] for one_image in found]).astype(np.int64)
        side = 2 * int(self._config.MASK_POOL_SIZE)
        if len(class_ids) == 0:
            return [np.zeros((0, side, side), np.float32) for _ in found]
        regions = self._sort(boxes, height, width, int(self._config.MASK_POOL_SIZE))
        drawn = self._runtime.masks(pyramid, regions.inputs | {"class_ids": class_ids[regions.order]})
        return np.split(regions.restore(drawn), np.cumsum([len(image_boxes) for image_boxes in boxes])[:-1])

    def _sort(self, boxes: list[np.ndarray], height: int, width: int, size: int) -> LevelledRegions:
        image_indices = np.repeat(np.arange(len(boxes), dtype=np.int64), [len(image_boxes) for image_boxes in boxes])
        level_hws = feature_shapes((height, width), self._anchor_settings.feature_strides)[:LEVEL_COUNT]
        return sort_by_level(np.concatenate(boxes), image_indices, level_hws, (height, width), size)


def _check(images: np.ndarray, windows: np.ndarray) -> None:
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or 0 in images.shape:
        raise ValueError(f"images must be uint8 (B, H, W, 3), got {images.dtype} {images.shape}")
    if images.shape[1] % CANVAS_MULTIPLE or images.shape[2] % CANVAS_MULTIPLE:
        raise ValueError(
            f"height and width of a canvas must be multiples of {CANVAS_MULTIPLE}, "
            f"got {images.shape[1]} x {images.shape[2]}"
        )
    if np.shape(windows) != (len(images), 4):
        raise ValueError(f"windows must be ({len(images)}, 4), got {np.shape(windows)}")
