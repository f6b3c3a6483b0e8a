"""The order and the names of the layers in Matterport's weight files: the name table of `mrcnn.weights.load_save`.

Keras 2 wrote one HDF5 group per layer, also for those without weights, in the model's order. The names of the latter
carry running numbers (activation_1 …). Files written here have the same groups in the same order, so that the
original package loads them.
"""

from __future__ import annotations

from collections.abc import Iterator

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.network.resnet import BLOCKS, block_letter
from mrcnn.weights.checkpoint import RPN_LAYERS

_FPN = (
    "fpn_c5p5 fpn_p5upsampled fpn_c4p4 fpn_p4add fpn_p4upsampled fpn_c3p3 fpn_p3add fpn_p3upsampled fpn_c2p2 fpn_p2add "
    "fpn_p5 fpn_p2 fpn_p3 fpn_p4 fpn_p6"
).split()
_RPN = "rpn_model rpn_class rpn_bbox input_anchors ROI input_image_meta".split()


class _Counter:
    """Hands out Keras' running names: activation_1, activation_2 …"""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def next(self, kind: str) -> str:
        self._last[kind] = self._last.get(kind, 0) + 1
        return f"{kind}_{self._last[kind]}"


def file_groups(network: MaskRCNNNetwork) -> list[str]:
    """The names of the groups of a weight file, in file order."""
    counter = _Counter()
    groups = ["input_image"]
    blocks = BLOCKS.get(network.config.BACKBONE) if isinstance(network.config.BACKBONE, str) else None
    groups.extend(_resnet_groups(blocks, counter) if blocks else network.backbone_layer_names())
    groups.extend(_FPN)
    groups.extend(_RPN)
    groups.extend(_box_head_groups(counter))
    groups.extend(_mask_head_groups(counter))
    return groups


def group_layers(group: str) -> tuple[str, ...]:
    """The layers whose weights lie in a group of the file."""
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


def _box_head_groups(counter: _Counter) -> Iterator[str]:
    yield "roi_align_classifier"
    for index in (1, 2):
        yield from (f"mrcnn_class_conv{index}", f"mrcnn_class_bn{index}", counter.next("activation"))
    yield from ("pool_squeeze", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_class", "mrcnn_bbox", "mrcnn_detection")
    counter.next("activation")  # the softmax inside mrcnn_class has taken a number
    yield "lambda_3"


def _mask_head_groups(counter: _Counter) -> Iterator[str]:
    yield "roi_align_mask"
    for index in range(1, 5):
        yield from (f"mrcnn_mask_conv{index}", f"mrcnn_mask_bn{index}", counter.next("activation"))
    yield from ("mrcnn_mask_deconv", "mrcnn_mask")
