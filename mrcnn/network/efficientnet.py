"""EfficientNet-Lite0, the small backbone: inverted residuals without squeeze-excite, ReLU6 (Tan & Le 2019, "lite"
variant).

Shape letters: B images; H, W canvas height and width in pixels, multiples of 32.

Batch normalization is folded into the convolutions: every convolution has a bias and there is no normalization layer.
Desktop machines train with few images per batch, whose statistics are worse than ImageNet's, so normalization would be
frozen anyway, and folded weights run faster. `tools/convert_efficientnet_lite0.py` folds and converts the ImageNet
weights.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import layers

PIXEL_SCALE = 1.0 / 128.0
"""The ImageNet weights expect (pixel - 127) / 128: MEAN_PIXEL is LITE0_MEAN_PIXEL, the network applies the scale."""


class BlockGroup(NamedTuple):
    """One row of the EfficientNet-B0 table (Tan & Le 2019, table 1)."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


BLOCK_GROUPS = (
    BlockGroup(1, 3, 1, 1, 16),
    BlockGroup(2, 3, 2, 6, 24),
    BlockGroup(2, 5, 2, 6, 40),
    BlockGroup(3, 3, 2, 6, 80),
    BlockGroup(3, 5, 1, 6, 112),
    BlockGroup(4, 5, 2, 6, 192),
    BlockGroup(1, 3, 1, 6, 320),
)

STEM_FILTERS = 32

STAGE_ENDS = (1, 2, 4, 6)
"""Groups whose outputs are C2, C3, C4 and C5: the last group of each stride."""


def build_efficientnet_lite0(image, config=None):
    """Build the backbone on an image tensor.

    Args:
        image: float32 (B, H, W, 3), RGB minus MEAN_PIXEL, -127 to 128.
        config: unused; part of the builders' common signature.

    Returns:
        [C2, C3, C4, C5]: (B, H/4, W/4, 24), (B, H/8, W/8, 40), (B, H/16, W/16, 112), (B, H/32, W/32, 320).
    """
    x = layers.Rescaling(PIXEL_SCALE, name="lite0_rescale")(image)
    x = layers.Conv2D(STEM_FILTERS, 3, strides=2, padding="same", name="lite0_stem")(x)
    x = _relu6(x, "lite0_stem_relu6")
    stages = []
    index = 0
    for group_index, group in enumerate(BLOCK_GROUPS):
        for repeat in range(group.repeats):
            x = inverted_residual(x, group, stride=group.stride if repeat == 0 else 1, name=f"lite0_block{index}")
            index += 1
        if group_index in STAGE_ENDS:
            stages.append(x)
    return stages


def inverted_residual(x, group: BlockGroup, stride: int, name: str):
    """A block: 1x1 expansion, depthwise, 1x1 projection without activation; a skip where shapes match."""
    filters_in = x.shape[-1]
    skip = x
    if group.expansion != 1:
        x = layers.Conv2D(filters_in * group.expansion, 1, name=f"{name}_expand")(x)
        x = _relu6(x, f"{name}_expand_relu6")
    # oneDNN's gradient of a strided one takes eight times as long in bfloat16 as in float32
    dtype = "float32" if stride > 1 else None
    x = layers.DepthwiseConv2D(group.kernel, strides=stride, padding="same", dtype=dtype, name=f"{name}_depthwise")(x)
    x = _relu6(x, f"{name}_depthwise_relu6")
    x = layers.Conv2D(group.filters, 1, name=f"{name}_project")(x)
    if stride == 1 and filters_in == group.filters:
        x = layers.Add(name=f"{name}_add")([x, skip])
    return x


def _relu6(x, name: str):
    return layers.Activation(keras.ops.relu6, name=name)(x)
