"""The heads that are applied to pooled regions (He et al. 2017, figure 4, right): box head and mask head.

Shape letters: R regions of all images of a batch; K classes including the background; C channels of the pyramid.
"""

from __future__ import annotations

import keras
from keras import layers

from mrcnn.architecture import architecture_of
from mrcnn.network.norm import batch_norm

MASK_HEAD_CHANNELS = 256
"""Default width of the mask head; in Matterport's package it is 256 for every width of the pyramid."""


def build_box_head(channels, config):
    """The head that classifies regions and predicts box deltas for each class.

    Args:
        channels: C.
        config: POOL_SIZE, FPN_CLASSIF_FC_LAYERS_SIZE, NUM_CLASSES, ARCHITECTURE and TRAIN_BN are read.

    Returns:
        Model: (R, POOL_SIZE, POOL_SIZE, C) to [class logits (R, K), deltas (R, K, 4)], both float32.
    """
    size, classes = config.FPN_CLASSIF_FC_LAYERS_SIZE, config.NUM_CLASSES
    pooled = keras.Input((config.POOL_SIZE, config.POOL_SIZE, channels), name="roi_align_classifier")
    architecture = architecture_of(config)
    x = pooled
    for index in range(1, architecture.box_convolutions + 1):
        x = layers.Conv2D(channels, 3, padding="same", name=f"mrcnn_box_conv{index}")(x)
        x = _norm_relu(x, f"mrcnn_box_bn{index}", config)
    # Fully connected layers as convolutions, because weight files store them that way.
    for index in range(1, architecture.box_layers + 1):
        x = layers.Conv2D(size, config.POOL_SIZE if index == 1 else 1, name=f"mrcnn_class_conv{index}")(x)
        x = _norm_relu(x, f"mrcnn_class_bn{index}", config, architecture.box_norm)
    x = layers.Reshape((size,), name="pool_squeeze")(x)
    class_logits = layers.Dense(classes, name="mrcnn_class_logits", dtype="float32")(x)
    deltas = layers.Dense(classes * 4, name="mrcnn_bbox_fc", dtype="float32")(x)
    deltas = layers.Reshape((classes, 4), name="mrcnn_bbox", dtype="float32")(deltas)
    return keras.Model(pooled, [class_logits, deltas], name="box_head")


def build_mask_head(channels, config):
    """The head that predicts a mask of each region for each class.

    Args:
        channels: C.
        config: MASK_POOL_SIZE, NUM_CLASSES, ARCHITECTURE, TRAIN_BN and the optional MASK_HEAD_CHANNELS are read.

    Returns:
        Model: (R, MASK_POOL_SIZE, MASK_POOL_SIZE, C) to mask logits (R, 2 * MASK_POOL_SIZE, 2 * MASK_POOL_SIZE, K),
        float32.
    """
    pooled = keras.Input((config.MASK_POOL_SIZE, config.MASK_POOL_SIZE, channels), name="roi_align_mask")
    width = getattr(config, "MASK_HEAD_CHANNELS", MASK_HEAD_CHANNELS)
    x = pooled
    for index in range(1, 5):
        x = layers.Conv2D(width, 3, padding="same", name=f"mrcnn_mask_conv{index}")(x)
        x = _norm_relu(x, f"mrcnn_mask_bn{index}", config, architecture_of(config).mask_norm)
    x = layers.Conv2DTranspose(width, 2, strides=2, activation="relu", name="mrcnn_mask_deconv")(x)
    mask_logits = layers.Conv2D(config.NUM_CLASSES, 1, name="mrcnn_mask", dtype="float32")(x)
    return keras.Model(pooled, mask_logits, name="mask_head")


def _norm_relu(x, name, config, has_norm=True):
    if has_norm:
        x = batch_norm(x, name, config)
    return layers.ReLU(name=name + "_relu")(x)
