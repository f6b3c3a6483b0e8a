"""Region proposal network (Ren et al. 2015, section 3.1): objectness logits and box deltas for every anchor."""

from __future__ import annotations

import keras
from keras import layers

RPN_CHANNELS = 512
"""Width of the shared convolution, the paper's 512-d for VGG; Matterport keeps it for every backbone."""


def build_rpn(channels, anchors_per_position, anchor_stride, shared_channels=RPN_CHANNELS, convolutions=1):
    """The network that is applied to each pyramid level; all levels share its weights.

    Args:
        channels: channels of a pyramid level.
        anchors_per_position: number of anchor ratios.
        anchor_stride: cells between neighboring anchor positions.
        shared_channels: width of the shared 3x3 convolutions.
        convolutions: number of shared 3x3 convolutions.

    Returns:
        Model named rpn_model: (B, h, w, channels) to [class logits (B, a, 2) with (background, object), deltas
        (B, a, 4)], where a = rows * columns * anchors_per_position, in that order.
    """
    level = keras.Input((None, None, channels), name="input_rpn_feature_map")
    shared = level
    for index in range(1, convolutions + 1):
        shared = layers.Conv2D(
            shared_channels,
            3,
            strides=anchor_stride if index == 1 else 1,
            padding="same",
            activation="relu",
            name=f"rpn_conv_shared{index}" if index > 1 else "rpn_conv_shared",
        )(shared)
    # float32 also under a mixed-precision policy: softmax and losses read these
    class_raw = layers.Conv2D(2 * anchors_per_position, 1, name="rpn_class_raw", dtype="float32")(shared)
    bbox_raw = layers.Conv2D(4 * anchors_per_position, 1, name="rpn_bbox_pred", dtype="float32")(shared)
    class_logits = layers.Reshape((-1, 2), name="rpn_class_logits", dtype="float32")(class_raw)
    deltas = layers.Reshape((-1, 4), name="rpn_deltas", dtype="float32")(bbox_raw)
    return keras.Model(level, [class_logits, deltas], name="rpn_model")
