"""The network with its losses, as a Keras model that the optimizer trains.

Letters: B images of a batch; T sampled regions of an image; M of them with a mask; K classes; Q categories of the
annotation file.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from mrcnn.network.efficientnet import BLOCK_GROUPS, STAGE_ENDS
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.network.proposals import CANVAS, anchor_scores, propose
from mrcnn.network.roi_align import roi_align
from mrcnn.training import losses
from mrcnn.training.targets import ObjectSlots, RegionTargets, full_mask_targets, mask_targets, sample_regions

MATTERPORT_LOSSES = (
    "rpn_class_loss",
    "rpn_bbox_loss",
    "mrcnn_class_loss",
    "mrcnn_bbox_loss",
    "mrcnn_mask_loss",
)
LOSS_NAMES = (*MATTERPORT_LOSSES, "category_loss", "semantic_loss")
"""Matterport's five, and those of the two auxiliary classifiers, which are not saved."""

TRAINING_SAMPLES = 2
"""Samples per bin and axis of RoIAlign in training, where inference adapts their number to a region's size: most
regions have about two."""


class TrainingModel(keras.Model):
    """Computes the losses of a batch; `fit` and `train_on_batch` minimize their weighted sum.

    Two auxiliary tasks improve the features and are not saved. A second classifier of regions predicts the categories
    of the annotation file, where classes are few and categories many. A classifier of the pyramid's cells predicts
    which class covers each, as the semantic branch of Chen et al. 2019 (HTC), section 3.3: the mask head sees the
    sampled regions alone.
    """

    def __init__(
        self,
        network: MaskRCNNNetwork,
        categories: int,
        mask_regions: int,
        dice_weight: float = 0.0,
        category_weight: float = 0.5,
        semantic_weight: float = 0.0,
        weight_decay: float = 0.0,
    ):
        """Wrap a network.

        Args:
            network: its weights are trained.
            categories: Q; 0 for no second classifier.
            mask_regions: M, at most the regions for objects (TRAIN_ROIS_PER_IMAGE * ROI_POSITIVE_RATIO).
            dice_weight: weight of the Dice loss beside the cross-entropy in the masks' loss.
            category_weight: weight of the second classifier's loss.
            semantic_weight: weight of the cell classifier's loss; 0 for none. It reads "class_map" of a batch.
            weight_decay: factor of the L2 penalty in the loss, see `losses.weight_decay`; 0 where the optimizer
                decays.
        """
        super().__init__(name="training", dtype="float32")  # boxes of a batch must not be rounded
        self.network = network
        self.features, self.mask_head = network.features, network.mask_head
        head = network.box_head
        self.box_head = keras.Model(
            head.input, [*head.outputs, head.get_layer("pool_squeeze").output], name="box_head_with_features"
        )
        self.category_classifier = (
            keras.layers.Dense(categories + 1, name="category_logits", dtype="float32") if categories else None
        )
        config = network.config
        self.cell_classifier = (
            keras.layers.Dense(int(config.NUM_CLASSES), name="cell_logits", dtype="float32")
            if semantic_weight
            else None
        )
        # Keras hands the outermost `training` down to every layer, so that Config.TRAIN_BN has to be applied here
        self.train_norms = config.TRAIN_BN is not False
        self.architecture = network.architecture
        if self.architecture.roi_samples == 0:  # loops of unknown length have no gradients in JAX
            self.architecture = dataclasses.replace(self.architecture, roi_samples=TRAINING_SAMPLES)
        self.sampled = int(config.TRAIN_ROIS_PER_IMAGE)
        self.objects = round(self.sampled * float(config.ROI_POSITIVE_RATIO))
        self.mask_regions = min(mask_regions, self.objects)
        self.dice_weight = dice_weight
        weights = dict(config.LOSS_WEIGHTS, category_loss=category_weight, semantic_loss=semantic_weight)
        self.loss_weights = {name: float(weights.get(name, 1.0)) for name in LOSS_NAMES}
        self.weight_decay = weight_decay
        unused = {"category_loss": self.category_classifier is None, "semantic_loss": self.cell_classifier is None}
        self.trackers = {name: keras.metrics.Mean(name=name) for name in LOSS_NAMES if not unused.get(name)}

    def call(self, batch, training=True):
        """The losses of a batch by name (see `data.Batch`)."""
        config = self.network.config
        image_shape = batch["images"].shape[1:3]
        training = bool(training) and self.train_norms
        windows = ops.tile(CANVAS[None], (batch["images"].shape[0], 1))
        pyramid, rpn_class_logits, rpn_deltas = self.features(
            self.network.subtract_mean(batch["images"], windows), training=training
        )
        # under mixed precision: TensorFlow's cropping op does not take bfloat16
        pyramid = [ops.cast(level, "float32") for level in pyramid[:4]]
        count = int(config.POST_NMS_ROIS_TRAINING)
        if "rois" in batch:
            proposals = ops.convert_to_tensor(batch["rois"])
        else:
            proposals, _ = propose(
                ops.stop_gradient(anchor_scores(rpn_class_logits, self.network.architecture)),
                ops.stop_gradient(rpn_deltas),
                self.network.anchors(*image_shape),
                windows,
                image_shape,
                count,
                config,
            )
        regions = self._regions(batch, proposals)
        result = {
            "rpn_class_loss": losses.rpn_class_loss(batch["rpn_match"], rpn_class_logits),
            "rpn_bbox_loss": losses.rpn_box_loss(
                batch["rpn_match"], batch["rpn_deltas"], rpn_deltas, self.architecture.smooth_l1_beta
            ),
        }
        result.update(self._box_losses(batch, pyramid, regions, image_shape, training))
        result["mrcnn_mask_loss"] = self._mask_loss(batch, pyramid, regions, image_shape, training)
        if self.cell_classifier is not None:
            result["semantic_loss"] = self._semantic_loss(batch["class_map"], pyramid)
        return result

    @property
    def auxiliary_layers(self) -> dict[str, keras.Layer]:
        """The classifiers that are trained and not saved, by name."""
        both = (self.category_classifier, self.cell_classifier)
        return {layer.name: layer for layer in both if layer is not None}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of the losses that `call` gave, with the L2 penalty."""
        for name, value in y_pred.items():
            self.trackers[name].update_state(value)
        total = sum(self.loss_weights[name] * value for name, value in y_pred.items())
        if self.weight_decay:
            total = total + losses.weight_decay(self.trainable_variables, self.weight_decay)
        return total

    def _regions(self, batch, proposals) -> RegionTargets:
        """The sampled regions of all images, stacked: every field gets a leading B."""
        names = ("gt_boxes", "gt_class_ids", "gt_used", "ignored_boxes")
        per_image = [
            sample_regions(
                proposals[image],
                ObjectSlots(*(batch[name][image] for name in names)),
                batch["noise"][image],
                self.sampled,
                self.objects,
                np.asarray(self.network.config.BBOX_STD_DEV, np.float32),
            )
            for image in range(proposals.shape[0])
        ]
        return RegionTargets(*(ops.stop_gradient(ops.stack(field)) for field in zip(*per_image, strict=True)))

    def _box_losses(self, batch, pyramid, regions, image_shape, training):
        size = self.network.config.POOL_SIZE
        pooled = roi_align(pyramid, regions.rois, size, image_shape, self.architecture)
        batch_size = regions.rois.shape[0]
        flat = ops.reshape(pooled, (-1, *pooled.shape[2:]))
        class_logits, deltas, features = self.box_head(flat, training=training)
        class_logits = ops.reshape(class_logits, (batch_size, self.sampled, -1))
        deltas = ops.reshape(deltas, (batch_size, self.sampled, -1, 4))
        counts = regions.counts
        if "active_class_ids" in batch:
            counts = losses.active_counts(counts, batch["active_class_ids"], class_logits)
        result = {
            "mrcnn_class_loss": losses.class_loss(regions.class_ids, counts, class_logits),
            "mrcnn_bbox_loss": losses.box_loss(
                regions.class_ids, regions.is_object, regions.deltas, deltas, self.architecture.smooth_l1_beta
            ),
        }
        if self.category_classifier is not None:
            category_logits = ops.reshape(self.category_classifier(features), (batch_size, self.sampled, -1))
            of_object = ops.take_along_axis(batch["gt_categories"], regions.object_indices, axis=1)
            categories = of_object * ops.cast(regions.is_object, "int32")
            counts = regions.counts * ops.maximum(batch["is_complete"][:, None], regions.is_object)
            result["category_loss"] = losses.class_loss(categories, counts, category_logits)
        return result

    def _mask_loss(self, batch, pyramid, regions, image_shape, training):
        config, count = self.network.config, self.mask_regions
        rois, indices = regions.rois[:, :count], regions.object_indices[:, :count]
        pooled = roi_align(pyramid, rois, config.MASK_POOL_SIZE, image_shape, self.architecture)
        mask_logits = self.mask_head(ops.reshape(pooled, (-1, *pooled.shape[2:])), training=training)
        mask_logits = ops.reshape(mask_logits, (*rois.shape[:2], *mask_logits.shape[1:]))
        side = mask_logits.shape[2]
        images = range(rois.shape[0])
        if "full_masks" in batch:
            sampled = [full_mask_targets(rois[i], batch["full_masks"][i], indices[i], side) for i in images]
        else:
            boxes, masks = batch["gt_boxes"], batch["mini_masks"]
            sampled = [mask_targets(rois[i], boxes[i], masks[i], indices[i], side) for i in images]
        targets = ops.stack(sampled)
        logits = losses.own_class(regions.class_ids[:, :count], mask_logits)
        is_object = regions.is_object[:, :count]
        loss = losses.mask_loss(is_object, targets, logits)
        return loss + self.dice_weight * losses.dice_loss(is_object, targets, logits) if self.dice_weight else loss

    def _semantic_loss(self, class_map, pyramid):
        """Mean over P2 … P5 of the loss of the cells, each labeled as the class map is near its center."""
        per_level = []
        for index, level in enumerate(pyramid):
            step = 2**index
            labels = class_map[:, step // 2 :: step, step // 2 :: step]
            per_level.append(losses.semantic_loss(labels, self.cell_classifier(level)))
        return sum(per_level) / len(per_level)


HEADS = r"mrcnn_.*|rpn_.*|fpn_.*"
"""Everything but the backbone: the pyramid, the region proposals and the heads."""

KEYWORDS = ("heads", "3+", "4+", "5+", "all")
"""N+ is the backbone from stage N on, whose output is C_N, and all layers behind the backbone."""


def layer_pattern(layers: str, backbone: object = "resnet101") -> str:
    """The regular expression of one of `KEYWORDS`; anything else is returned as it is.

    Args:
        layers: a keyword, or a regular expression that matches whole names of layers.
        backbone: Config.BACKBONE. The stages of EfficientNet-Lite0 are its blocks 3 to 15, 5 to 15 and 11 to 15;
            a function of the user's is expected to name its layers as a ResNet.

    Raises:
        ValueError: it is not a string, or not a valid regular expression.
    """
    if not isinstance(layers, str):
        raise ValueError(f"layers must be one of {', '.join(KEYWORDS)} or a regular expression, got {layers!r}")
    if layers == "all":
        return ".*"
    if layers == "heads":
        return HEADS
    if layers in KEYWORDS:
        stage = int(layers[0])
        own = _lite0_blocks(stage) if backbone == "efficientnet_lite0" else rf"(res|bn)[{stage}-5].*"
        return f"{own}|{HEADS}"
    try:
        re.compile(layers)
    except re.error as error:
        raise ValueError(
            f"layers must be one of {', '.join(KEYWORDS)} or a regular expression, got {layers!r}: {error}"
        ) from None
    return layers


def set_trainable(network: MaskRCNNNetwork, pattern: str) -> list[keras.Layer]:
    """Make exactly the layers trainable whose whole name matches.

    Returns:
        Those layers, in the network's order.

    Raises:
        ValueError: no layer with weights matches; nothing was changed.
    """
    layers = network.layers_by_name()
    chosen = [layer for name, layer in layers.items() if re.fullmatch(pattern, name)]
    if not chosen:
        raise ValueError(
            f"layers: no layer with weights has a name that matches {pattern!r} as a whole. "
            f"Names are such as {', '.join([*list(layers)[:2], 'fpn_p2', 'rpn_class_raw', 'mrcnn_mask'])}"
        )
    for layer in layers.values():
        layer.trainable = False
    for layer in chosen:
        layer.trainable = True
    return chosen


def _lite0_blocks(stage: int) -> str:
    """The blocks from the first one of stage 3, 4 or 5 on, whose output is C3, C4 or C5."""
    groups_before = STAGE_ENDS[stage - 3] + 1
    first = sum(group.repeats for group in BLOCK_GROUPS[:groups_before])
    count = sum(group.repeats for group in BLOCK_GROUPS)
    return f"lite0_block({'|'.join(str(index) for index in range(first, count))})_.*"


@contextmanager
def keras_policy(name: str) -> Iterator[None]:
    """Lets layers that are made inside the block compute with a policy, such as "float32" or "mixed_bfloat16"."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
