"""Feature pyramid network (Lin et al. 2017): P2 to P6 from C2 to C5, all with TOP_DOWN_PYRAMID_SIZE channels."""

from __future__ import annotations

from keras import layers

from mrcnn.architecture import architecture_of
from mrcnn.network.norm import batch_norm


def build_fpn(stages, config):
    """Build the top-down pathway and its lateral connections.

    Args:
        stages: [C2, C3, C4, C5], each half the height and width of the one before.
        config: TOP_DOWN_PYRAMID_SIZE, ARCHITECTURE and TRAIN_BN are read.

    Returns:
        [P2, P3, P4, P5, P6]; P6 is every second cell of P5 and is only used by the RPN.
    """
    merged = _conv(stages[3], 1, "fpn_c5p5", config)
    merged_levels = {5: merged}
    for level in (4, 3, 2):
        upsampled = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(merged)
        lateral = _conv(stages[level - 2], 1, f"fpn_c{level}p{level}", config)
        merged = layers.Add(name=f"fpn_p{level}add")([upsampled, lateral])
        merged_levels[level] = merged
    pyramid = [_conv(merged_levels[level], 3, f"fpn_p{level}", config) for level in (2, 3, 4, 5)]
    pyramid.append(layers.MaxPooling2D(1, strides=2, name="fpn_p6")(pyramid[-1]))
    return pyramid


def _conv(x, size, name, config):
    x = layers.Conv2D(config.TOP_DOWN_PYRAMID_SIZE, size, padding="same", name=name)(x)
    return batch_norm(x, f"{name}_bn", config) if architecture_of(config).fpn_norm else x
