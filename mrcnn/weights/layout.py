"""Names and order of the layers in weight files.

Keras 2 wrote one HDF5 group per layer in the model's order, including layers without weights, whose names have running
numbers (activation_1 …). Files of this package have the same groups in the same order, so that Matterport's package
loads them. Files of other architectures leave out groups and add others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from mrcnn.architecture import Architecture, architecture_of
from mrcnn.config import Config

if TYPE_CHECKING:
    import keras

RPN_LAYERS = ("rpn_conv_shared", "rpn_conv_shared2", "rpn_class_raw", "rpn_bbox_pred")
"""Layers whose weights are stored in the group `rpn_model`; the second one only exists in some architectures."""

HEAD_LAYERS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
"""Layers whose shapes depend on the number of classes."""

RESNET_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Number of bottleneck blocks in stages 2 to 5."""

_FPN = (
    "fpn_c5p5 fpn_p5upsampled fpn_c4p4 fpn_p4add fpn_p4upsampled fpn_c3p3 fpn_p3add fpn_p3upsampled fpn_c2p2 fpn_p2add "
    "fpn_p5 fpn_p2 fpn_p3 fpn_p4 fpn_p6"
).split()
_FPN_CONVOLUTIONS = "fpn_c5p5 fpn_c4p4 fpn_c3p3 fpn_c2p2 fpn_p2 fpn_p3 fpn_p4 fpn_p5".split()
_RPN = "rpn_model rpn_class rpn_bbox input_anchors ROI input_image_meta".split()


class LayerSource(Protocol):
    """The part of `mrcnn.network.network.MaskRCNNNetwork` that weight files are read into and written from."""

    config: Config

    def layers_by_name(self) -> Mapping[str, keras.Layer]:
        """Every layer that has weights, by name."""

    def backbone_layer_names(self) -> list[str]:
        """Names of the backbone's layers that have weights, in build order."""


def block_letter(index: int) -> str:
    """Letter of a block in a ResNet stage: a, b, c … (stage 4 of ResNet-101 ends with w)."""
    return chr(ord("a") + index)


def backbone_of(layer_names: Iterable[str]) -> str | None:
    """Name of the backbone that has these layers; None if it is not a known one."""
    names = set(layer_names)
    if "lite0_stem" in names:
        return "efficientnet_lite0"
    stage_4 = sum(re.fullmatch(r"res4[a-w]_branch2a", name) is not None for name in names)
    return next((name for name, blocks in RESNET_BLOCKS.items() if blocks[2] == stage_4), None)


class _Counter:
    """Generates Keras' running names: activation_1, activation_2 …"""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def next(self, kind: str) -> str:
        self._last[kind] = self._last.get(kind, 0) + 1
        return f"{kind}_{self._last[kind]}"


def file_groups(network: LayerSource) -> list[str]:
    """Names of the groups of a network's weight file, in file order."""
    counter = _Counter()
    architecture = architecture_of(network.config)
    groups = ["input_image"]
    backbone = network.config.BACKBONE
    blocks = RESNET_BLOCKS.get(backbone) if isinstance(backbone, str) else None
    groups.extend(_resnet_groups(blocks, counter) if blocks else network.backbone_layer_names())
    groups.extend(_fpn_groups(architecture))
    groups.extend(_RPN)
    groups.extend(_box_head_groups(counter, architecture))
    groups.extend(_mask_head_groups(counter, architecture))
    return groups


def group_layers(group: str) -> tuple[str, ...]:
    """Names of the layers whose weights are stored in a group of the file."""
    return RPN_LAYERS if group == "rpn_model" else (group,)


def _resnet_groups(blocks: tuple[int, ...], counter: _Counter) -> Iterator[str]:
    yield from ("zero_padding2d_1", "conv1", "bn_conv1", counter.next("activation"), "max_pooling2d_1")
    for stage, count in enumerate(blocks, start=2):
        for index in range(count):
            block = f"{stage}{block_letter(index)}"
            for branch in ("branch2a", "branch2b"):
                yield from (f"res{block}_{branch}", f"bn{block}_{branch}", counter.next("activation"))
            branches = ("branch2c", "branch1") if index == 0 else ("branch2c",)
            yield from (f"res{block}_{branch}" for branch in branches)
            yield from (f"bn{block}_{branch}" for branch in branches)
            yield from (counter.next("add"), f"res{block}_out")


def _fpn_groups(architecture: Architecture) -> Iterator[str]:
    for group in _FPN:
        yield group
        if architecture.fpn_norm and group in _FPN_CONVOLUTIONS:
            yield f"{group}_bn"


def _box_head_groups(counter: _Counter, architecture: Architecture) -> Iterator[str]:
    yield "roi_align_classifier"
    for index in range(1, architecture.box_convolutions + 1):
        yield from (f"mrcnn_box_conv{index}", f"mrcnn_box_bn{index}", counter.next("activation"))
    for index in range(1, architecture.box_layers + 1):
        yield f"mrcnn_class_conv{index}"
        if architecture.box_norm:
            yield f"mrcnn_class_bn{index}"
        yield counter.next("activation")
    yield from ("pool_squeeze", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_class", "mrcnn_bbox", "mrcnn_detection")
    counter.next("activation")  # taken by the softmax inside mrcnn_class
    yield "lambda_3"


def _mask_head_groups(counter: _Counter, architecture: Architecture) -> Iterator[str]:
    yield "roi_align_mask"
    for index in range(1, 5):
        yield f"mrcnn_mask_conv{index}"
        if architecture.mask_norm:
            yield f"mrcnn_mask_bn{index}"
        yield counter.next("activation")
    yield from ("mrcnn_mask_deconv", "mrcnn_mask")
