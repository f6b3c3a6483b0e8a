"""ResNet-50 and ResNet-101 (He et al. 2016), with the layer names of Matterport's weight files.

The first 1x1 convolution of a stage has the stride, as in the original Caffe networks; every convolution has a bias;
batch normalization uses Keras' epsilon of 1e-3. mask_rcnn_coco.h5 depends on all of this.

Shape letters: B images; H, W canvas height and width in pixels, multiples of 32.
"""

from __future__ import annotations

from functools import partial

from keras import layers

from mrcnn.network.norm import BatchNorm
from mrcnn.weights.layout import RESNET_BLOCKS, block_letter


def build_resnet50(image, config):
    """ResNet-50; see `build_resnet`."""
    return build_resnet(image, RESNET_BLOCKS["resnet50"], config.TRAIN_BN)


def build_resnet101(image, config):
    """ResNet-101; see `build_resnet`."""
    return build_resnet(image, RESNET_BLOCKS["resnet101"], config.TRAIN_BN)


def build_resnet(image, blocks, train_bn):
    """Build stages 1 to 5.

    Args:
        image: float32 (B, H, W, 3), RGB minus MEAN_PIXEL.
        blocks: number of bottleneck blocks in stages 2 to 5.
        train_bn: Config.TRAIN_BN, see `mrcnn.network.norm.BatchNorm`.

    Returns:
        [C2, C3, C4, C5]: (B, H/4, W/4, 256) … (B, H/32, W/32, 2048).
    """
    x = layers.ZeroPadding2D((3, 3), name="zero_padding2d_1")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1")(x)
    norm = partial(BatchNorm, train_bn)
    x = norm(name="bn_conv1")(x)
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="max_pooling2d_1")(x)
    outputs = []
    for stage, count in enumerate(blocks, start=2):
        for index in range(count):
            x = _bottleneck(x, 64 * 2 ** (stage - 2), f"{stage}{block_letter(index)}", index == 0, norm)
        outputs.append(x)
    return outputs


def _bottleneck(x, width, block, is_first, norm):
    """1x1 to `width`, 3x3, 1x1 to 4 * width, and a shortcut, which the first block of a stage projects."""
    stride = 2 if is_first and block[0] != "2" else 1
    shortcut = x
    y = _conv_norm(x, width, 1, block, "branch2a", norm, stride)
    y = layers.ReLU(name=f"res{block}_branch2a_relu")(y)
    y = _conv_norm(y, width, 3, block, "branch2b", norm)
    y = layers.ReLU(name=f"res{block}_branch2b_relu")(y)
    y = _conv_norm(y, 4 * width, 1, block, "branch2c", norm)
    if is_first:
        shortcut = _conv_norm(x, 4 * width, 1, block, "branch1", norm, stride)
    y = layers.Add(name=f"res{block}_add")([y, shortcut])
    return layers.ReLU(name=f"res{block}_out")(y)


def _conv_norm(x, filters, size, block, branch, norm, stride=1):
    x = layers.Conv2D(filters, size, strides=stride, padding="same", name=f"res{block}_{branch}")(x)
    return norm(name=f"bn{block}_{branch}")(x)
