"""Feature pyramid network (Lin et al. 2017): P2 to P6 from C2 to C5, all with TOP_DOWN_PYRAMID_SIZE channels."""

from __future__ import annotations

from keras import layers


def build_fpn(stages, channels):
    """Build the top-down pathway and its lateral connections.

    Args:
        stages: [C2, C3, C4, C5], each half the height and width of the one before.
        channels: channels of every level.

    Returns:
        [P2, P3, P4, P5, P6]; P6 is every second cell of P5 and is only used by the RPN.
    """
    merged = layers.Conv2D(channels, 1, name="fpn_c5p5")(stages[3])
    merged_levels = {5: merged}
    for level in (4, 3, 2):
        upsampled = layers.UpSampling2D(2, name=f"fpn_p{level + 1}upsampled")(merged)
        lateral = layers.Conv2D(channels, 1, name=f"fpn_c{level}p{level}")(stages[level - 2])
        merged = layers.Add(name=f"fpn_p{level}add")([upsampled, lateral])
        merged_levels[level] = merged
    pyramid = [
        layers.Conv2D(channels, 3, padding="same", name=f"fpn_p{level}")(merged_levels[level]) for level in (2, 3, 4, 5)
    ]
    pyramid.append(layers.MaxPooling2D(1, strides=2, name="fpn_p6")(pyramid[-1]))
    return pyramid
