"""The whole network (He et al. 2017): three Keras models and the stages between them.

Shape letters: B images; H, W canvas height and width in pixels, multiples of 32; A anchors; N regions of an image; D
detections of an image; K classes including the background; C channels of the pyramid.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from mrcnn.architecture import architecture_of
from mrcnn.config import Config
from mrcnn.network.anchors import AnchorSettings, normalize_boxes, normalized_anchors
from mrcnn.network.backbones import build_backbone
from mrcnn.network.detection_selection import detect
from mrcnn.network.fpn import build_fpn
from mrcnn.network.heads import build_box_head, build_mask_head
from mrcnn.network.proposals import anchor_scores, propose
from mrcnn.network.roi_align import roi_align
from mrcnn.network.rpn import RPN_CHANNELS, build_rpn

Tensor = Any
"""A tensor of the Keras backend; Keras is untyped."""


class MaskRCNNNetwork:
    """Weights and stages of the network. Stages take and return tensors of the Keras backend.

    Attributes:
        config: the settings; thresholds and limits are read from it when a stage is traced.
        architecture: the one that config names.
        features: Model: images float32 (B, H, W, 3), RGB minus MEAN_PIXEL, to
            [[P2, P3, P4, P5, P6], rpn class logits (B, A, 2), rpn deltas (B, A, 4)].
        box_head: Model: (R, POOL_SIZE, POOL_SIZE, C) to [class logits (R, K), deltas (R, K, 4)].
        mask_head: Model: (R, MASK_POOL_SIZE, MASK_POOL_SIZE, C) to mask logits (R, 28, 28, K).
    """

    def __init__(self, config: Config, models: tuple[keras.Model, keras.Model, keras.Model] | None = None):
        """Build the three models with random weights, or take existing ones.

        Args:
            config: settings of the network.
            models: (features, box_head, mask_head) built with the same settings; None builds them.

        Raises:
            ValueError: a setting that the network cannot be built with.
        """
        self.config = config
        self.architecture = architecture_of(config)
        self.anchor_settings = AnchorSettings.from_config(config)
        if models is None:
            models = (
                _build_features(config),
                build_box_head(config.TOP_DOWN_PYRAMID_SIZE, config),
                build_mask_head(config.TOP_DOWN_PYRAMID_SIZE, config),
            )
        self.features, self.box_head, self.mask_head = models

    @property
    def models(self) -> tuple[keras.Model, keras.Model, keras.Model]:
        """(features, box_head, mask_head)."""
        return self.features, self.box_head, self.mask_head

    @property
    def variables(self) -> list[keras.Variable]:
        """All weights of the three models."""
        return [variable for model in self.models for variable in model.variables]

    def layers_by_name(self) -> dict[str, keras.Layer]:
        """Every layer that has weights, by name; includes the layers inside the RPN."""
        found = {}
        for model in self.models:
            for layer in _flat_layers(model):
                if layer.weights:
                    found[layer.name] = layer
        return found

    def backbone_layer_names(self) -> list[str]:
        """Names of the backbone's layers that have weights, in build order."""
        others = ("fpn_", "rpn_")
        return [
            layer.name for layer in _flat_layers(self.features) if layer.weights and not layer.name.startswith(others)
        ]

    def anchors(self, height: int, width: int) -> NDArray[np.float32]:
        """Normalized anchors of a canvas: float32 (A, 4), (y1, x1, y2, x2)."""
        return normalized_anchors(self.anchor_settings, height, width)

    def subtract_mean(self, images: Tensor, windows: Tensor) -> Tensor:
        """The input of the features; takes what `extract` takes.

        Returns:
            float32 (B, H, W, 3), RGB minus MEAN_PIXEL; 0 outside of the windows if the architecture has
            `padding_after_mean`.
        """
        is_raw = keras.backend.standardize_dtype(images.dtype) == "uint8"
        images = ops.cast(images, "float32")
        if is_raw:
            images = images - ops.convert_to_tensor(np.asarray(self.config.MEAN_PIXEL, np.float32))
        if not self.architecture.padding_after_mean:
            return images
        height, width = images.shape[1:3]

        def is_inside(pixels, low, high):
            """Whether the centers of pixels 0, 1, 2 … lie between two edges of each window: bool (B, pixels)."""
            centers = np.repeat(np.arange(pixels)[:, None] + 0.5, 4, axis=1)
            edges = normalize_boxes(centers, height, width, self.architecture.last_pixel_is_one)
            is_after = windows[:, low, None] < ops.convert_to_tensor(edges[None, :, low])
            return ops.logical_and(is_after, windows[:, high, None] > ops.convert_to_tensor(edges[None, :, high]))

        is_row, is_column = is_inside(height, 0, 2), is_inside(width, 1, 3)
        inside = ops.logical_and(is_row[:, :, None], is_column[:, None, :])
        return ops.where(inside[..., None], images, 0.0)

    def extract(self, images: Tensor, windows: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Backbone, pyramid and RPN.

        Args:
            images: uint8 RGB, or float32 RGB minus MEAN_PIXEL, (B, H, W, 3).
            windows: float32 (B, 4), normalized (y1, x1, y2, x2): the part of the canvas that the image covers.

        Returns:
            pyramid: [P2, P3, P4, P5, P6]; class logits (B, A, 2) with (background, object); deltas (B, A, 4).
        """
        pyramid, class_logits, deltas = self.features(self.subtract_mean(images, windows), training=False)
        return pyramid, class_logits, deltas

    def propose(
        self, rpn_class_logits: Tensor, rpn_deltas: Tensor, windows: Tensor, image_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Region proposals: rois (B, POST_NMS_ROIS_INFERENCE, 4), normalized, zero-padded; counts int32 (B,)."""
        scores = anchor_scores(rpn_class_logits, self.architecture)
        anchors, count = self.anchors(*image_shape), int(self.config.POST_NMS_ROIS_INFERENCE)
        return propose(scores, rpn_deltas, anchors, windows, image_shape, count, self.config)

    def classify(self, pyramid: list[Tensor], rois: Tensor, image_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Run the box head on regions (B, N, 4): class logits (B, N, K), deltas (B, N, K, 4)."""
        batch, count = rois.shape[0], rois.shape[1]
        pooled = roi_align(pyramid[:4], rois, self.config.POOL_SIZE, image_shape, self.architecture)
        class_logits, deltas = self.box_head(ops.reshape(pooled, (batch * count, *pooled.shape[2:])), training=False)
        classes = class_logits.shape[-1]
        return ops.reshape(class_logits, (batch, count, classes)), ops.reshape(deltas, (batch, count, classes, 4))

    def detect_objects(self, images: Tensor, windows: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Run all stages but the mask head.

        Args:
            images, windows: as in `extract`.

        Returns:
            detections (B, D, 6), counts (B,), and [P2, P3, P4, P5] for `predict_masks`.
        """
        image_shape = (images.shape[1], images.shape[2])
        pyramid, rpn_class_logits, rpn_deltas = self.extract(images, windows)
        rois, roi_counts = self.propose(rpn_class_logits, rpn_deltas, windows, image_shape)
        class_logits, deltas = self.classify(pyramid, rois, image_shape)
        class_probs = ops.softmax(class_logits, axis=-1)
        detections, counts = detect(rois, roi_counts, class_probs, deltas, windows, image_shape, self.config)
        return detections, counts, list(pyramid[:4])

    def predict_masks(
        self, pyramid: list[Tensor], boxes: Tensor, class_ids: Tensor, image_shape: tuple[int, int]
    ) -> Tensor:
        """Run the mask head on boxes and return the mask of each box's class.

        Args:
            pyramid: [P2, P3, P4, P5].
            boxes: float32 (B, N, 4), normalized (y1, x1, y2, x2).
            class_ids: int32 (B, N).
            image_shape: (H, W) of the canvas.

        Returns:
            Mask probabilities float32 (B, N, 28, 28).
        """
        batch, count = boxes.shape[0], boxes.shape[1]
        pooled = roi_align(pyramid[:4], boxes, self.config.MASK_POOL_SIZE, image_shape, self.architecture)
        mask_logits = self.mask_head(ops.reshape(pooled, (batch * count, *pooled.shape[2:])), training=False)
        own = ops.take_along_axis(mask_logits, ops.reshape(class_ids, (-1, 1, 1, 1)), axis=-1)[..., 0]
        return ops.reshape(ops.sigmoid(own), (batch, count, *own.shape[1:]))


def _build_features(config: Config) -> keras.Model:
    image = keras.Input((None, None, 3), name="input_image")
    channels = config.TOP_DOWN_PYRAMID_SIZE
    pyramid = build_fpn(build_backbone(image, config), config)
    shared_channels = getattr(config, "RPN_CHANNELS", RPN_CHANNELS)
    convolutions = architecture_of(config).rpn_convolutions
    rpn = build_rpn(channels, len(config.RPN_ANCHOR_RATIOS), config.RPN_ANCHOR_STRIDE, shared_channels, convolutions)
    per_level = [rpn(level) for level in pyramid]
    class_logits = keras.layers.Concatenate(axis=1, name="rpn_class_logits", dtype="float32")([x[0] for x in per_level])
    deltas = keras.layers.Concatenate(axis=1, name="rpn_bbox", dtype="float32")([x[1] for x in per_level])
    return keras.Model(image, [pyramid, class_logits, deltas], name="features")


def _flat_layers(model: keras.Model) -> list[keras.Layer]:
    flat = []
    for layer in model.layers:
        flat.extend(_flat_layers(layer) if isinstance(layer, keras.Model) else [layer])
    return flat
