"""The backbones by the names that Config.BACKBONE takes."""

from __future__ import annotations

from mrcnn.network.efficientnet import build_efficientnet_lite0
from mrcnn.network.resnet import build_resnet50, build_resnet101

BACKBONES = {"resnet50": build_resnet50, "resnet101": build_resnet101, "efficientnet_lite0": build_efficientnet_lite0}
"""Builders by name: each takes the image tensor (B, H, W, 3) and the Config, and returns [C2, C3, C4, C5] (strides 4,
8, 16, 32)."""

STEM_ENDS = {
    "resnet50": "max_pooling2d_1",
    "resnet101": "max_pooling2d_1",
    "efficientnet_lite0": "lite0_block1_project",
}
"""The layer that ends the stem, at stride 4. All data passes through its output, and every later layer amplifies its
errors, so int8 begins behind it."""


def build_backbone(image, config):
    """The stages [C2, C3, C4, C5] of Config.BACKBONE.

    Args:
        image: float32 (B, H, W, 3), RGB minus MEAN_PIXEL.
        config: BACKBONE is a name from `BACKBONES`, or a callable as in Matterport's package, called as
            BACKBONE(image, stage5=True, train_bn=TRAIN_BN) and returning [C1, C2, C3, C4, C5].

    Raises:
        ValueError: the name is unknown, or the callable does not return the stages.
    """
    backbone = config.BACKBONE
    if callable(backbone):
        stages = list(backbone(image, stage5=True, train_bn=config.TRAIN_BN))
        if len(stages) < 4:
            raise ValueError(f"Config.BACKBONE must return the stages [C1, C2, C3, C4, C5], got {len(stages)} stages")
        return stages[-4:]
    if backbone not in BACKBONES:
        raise ValueError(f"Config.BACKBONE must be one of {', '.join(BACKBONES)} or a callable, got {backbone!r}")
    return BACKBONES[backbone](image, config)
