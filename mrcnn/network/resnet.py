"""ResNet-50 and ResNet-101 (He et al. 2016), with the layer names of Matterport's weight files.

`mrcnn.architecture` says where the strides are, how the sides are padded, and the epsilon of batch normalization. Every
convolution has a bias, as in mask_rcnn_coco.h5.

Shape letters: B images; H, W canvas height and width in pixels, multiples of 32.
"""

from __future__ import annotations

from keras import layers

from mrcnn.architecture import architecture_of
from mrcnn.network.norm import batch_norm
from mrcnn.weights.layout import RESNET_BLOCKS, block_letter

STEM_CHANNELS = 64
"""Width of the first convolution in the paper; a Config may set another one under this name. All stages follow it."""


def build_resnet50(image, config):
    """ResNet-50; see `build_resnet`."""
    return build_resnet(image, RESNET_BLOCKS["resnet50"], config)


def build_resnet101(image, config):
    """ResNet-101; see `build_resnet`."""
    return build_resnet(image, RESNET_BLOCKS["resnet101"], config)


def build_resnet(image, blocks, config):
    """Build stages 1 to 5.

    Args:
        image: float32 (B, H, W, 3), RGB minus MEAN_PIXEL.
        blocks: number of bottleneck blocks in stages 2 to 5.
        config: ARCHITECTURE, TRAIN_BN and the optional STEM_CHANNELS are read.

    Returns:
        [C2, C3, C4, C5]: (B, H/4, W/4, 256) … (B, H/32, W/32, 2048) with 64 channels in the stem.
    """
    width = getattr(config, "STEM_CHANNELS", STEM_CHANNELS)
    parts = ResNetParts(config)
    x = layers.ZeroPadding2D((3, 3), name="zero_padding2d_1")(image)
    x = layers.Conv2D(width, 7, strides=2, name="conv1")(x)
    x = batch_norm(x, "bn_conv1", config)
    x = layers.ReLU(name="conv1_relu")(x)
    x, padding = parts.pad(x, "max_pooling2d_1")  # zeros do no harm: after the ReLU, no value is less
    x = layers.MaxPooling2D(3, strides=2, padding=padding, name="max_pooling2d_1")(x)
    outputs = []
    for stage, count in enumerate(blocks, start=2):
        for index in range(count):
            x = parts.bottleneck(x, width * 2 ** (stage - 2), f"{stage}{block_letter(index)}", index == 0)
        outputs.append(x)
    return outputs


class ResNetParts:
    """Builds the parts of a ResNet of one Config."""

    def __init__(self, config):
        self.config, self.architecture = config, architecture_of(config)

    def bottleneck(self, x, width, block, is_first):
        """1x1 to `width`, 3x3, 1x1 to 4 * width, and a shortcut, which the first block of a stage projects."""
        stride = 2 if is_first and block[0] != "2" else 1
        strides = (1, stride) if self.architecture.stride_in_3x3 else (stride, 1)
        shortcut = x
        y = self._conv_norm(x, width, 1, f"{block}_branch2a", strides[0])
        y = layers.ReLU(name=f"res{block}_branch2a_relu")(y)
        y = self._conv_norm(y, width, 3, f"{block}_branch2b", strides[1])
        y = layers.ReLU(name=f"res{block}_branch2b_relu")(y)
        y = self._conv_norm(y, 4 * width, 1, f"{block}_branch2c")
        if is_first:
            shortcut = self._conv_norm(x, 4 * width, 1, f"{block}_branch1", stride)
        y = layers.Add(name=f"res{block}_add")([y, shortcut])
        return layers.ReLU(name=f"res{block}_out")(y)

    def pad(self, x, name):
        """Input and `padding` argument of a layer of size 3 and stride 2 that has this name."""
        if self.architecture.symmetric_padding:
            return layers.ZeroPadding2D(1, name=f"{name}_padding")(x), "valid"
        return x, "same"

    def _conv_norm(self, x, filters, size, branch, stride=1):
        padding = "same"
        if size > 1 and stride > 1:
            x, padding = self.pad(x, f"res{branch}")
        x = layers.Conv2D(filters, size, strides=stride, padding=padding, name=f"res{branch}")(x)
        return batch_norm(x, f"bn{branch}", self.config)
