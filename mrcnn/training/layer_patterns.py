"""Which layers a run trains: "heads", "3+" … "all", or a regular expression on the names of layers."""

from __future__ import annotations

import re

import keras

from mrcnn.network.efficientnet import BLOCK_GROUPS, STAGE_ENDS
from mrcnn.network.network import MaskRCNNNetwork

HEADS = r"mrcnn_.*|rpn_.*|fpn_.*"
"""Everything but the backbone: the pyramid, the region proposals and the heads."""

KEYWORDS = ("heads", "3+", "4+", "5+", "all")
"""N+ is the backbone from stage N on, which makes C_N, and everything behind it."""


def layer_pattern(layers: str, backbone: object = "resnet101") -> str:
    """The regular expression that one of `KEYWORDS` stands for; anything else is taken for one already.

    Args:
        layers: a keyword or a regular expression, which has to match a layer's whole name.
        backbone: Config.BACKBONE. The stages of EfficientNet-Lite0 are its blocks 3 to 15, 5 to 15 and 11 to 15;
            for a function of the user's the names of a ResNet are taken.

    Raises:
        ValueError: it is no text, or no valid regular expression.
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
    """Train the layers whose whole name matches, and no others.

    Returns:
        Those layers, in the network's order.

    Raises:
        ValueError: no layer with weights matches; nothing is changed then.
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
    """The blocks from those on that make C3, C4 or C5."""
    groups_before = STAGE_ENDS[stage - 3] + 1
    first = sum(group.repeats for group in BLOCK_GROUPS[:groups_before])
    count = sum(group.repeats for group in BLOCK_GROUPS)
    return f"lite0_block({'|'.join(str(index) for index in range(first, count))})_.*"
