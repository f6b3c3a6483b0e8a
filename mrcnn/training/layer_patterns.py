"""Which layers a run trains: "heads", "3+" … "all", or a regular expression on the names of layers."""

from __future__ import annotations

import re

import keras

from mrcnn.network.efficientnet import BLOCK_GROUPS, STAGE_ENDS
from mrcnn.network.network import MaskRCNNNetwork

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
