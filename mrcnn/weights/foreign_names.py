"""Which of our layers the tensors of torchvision's and detectron2's state dicts belong to, by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mrcnn.weights.hdf5 import WeightsError, listed
from mrcnn.weights.layout import block_letter


@dataclass(frozen=True, slots=True)
class Origin:
    """A program that wrote a state dict.

    Attributes:
        name: of the program.
        backbone_prefix: names of the backbone's tensors begin with it, and those of no other origin.
        layers: patterns of layer names (a tensor's name without its last part), each with the name of our layer.
        ignored: pattern of tensors that are no weights.
    """

    name: str
    backbone_prefix: str
    layers: Mapping[str, str | Callable[[re.Match[str]], str]]
    ignored: str


_BRANCHES = {"1": "branch2a", "2": "branch2b", "3": "branch2c"}
_TORCHVISION_PARTS = {
    **{f"conv{number}": ("res", branch) for number, branch in _BRANCHES.items()},
    **{f"bn{number}": ("bn", branch) for number, branch in _BRANCHES.items()},
    "downsample.0": ("res", "branch1"),
    "downsample.1": ("bn", "branch1"),
}


def _torchvision_block(match: re.Match[str]) -> str:
    stage, index, part = match.groups()
    kind, branch = _TORCHVISION_PARTS[part]
    return f"{kind}{int(stage) + 1}{block_letter(int(index))}_{branch}"


def _detectron2_block(match: re.Match[str]) -> str:
    stage, index, part, norm = match.groups()
    branch = _BRANCHES.get(part[-1], "branch1")
    return f"{'res' if norm is None else 'bn'}{stage}{block_letter(int(index))}_{branch}"


def _level(prefix: str, offset: int, suffix: str = "") -> Callable[[re.Match[str]], str]:
    """The pyramid's layer of a level: fpn_c4p4 … for prefix "c", fpn_p4 … for "p"."""

    def layer(match: re.Match[str]) -> str:
        level = int(match[1]) + offset
        return f"fpn_c{level}p{level}{suffix}" if prefix == "c" else f"fpn_p{level}{suffix}"

    return layer


def _numbered(name: str, offset: int = 1) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{name}{int(match[1]) + offset}"


BATCH_COUNT = ".num_batches_tracked"
"""How the number of batches that a BatchNorm2d of PyTorch has seen is named."""

TORCHVISION = Origin(
    "torchvision",
    "backbone.body.",
    {
        r"backbone\.body\.conv1": "conv1",
        r"backbone\.body\.bn1": "bn_conv1",
        r"backbone\.body\.layer([1-4])\.(\d\d?)\.(conv[123]|bn[123]|downsample\.[01])": _torchvision_block,
        r"backbone\.fpn\.inner_blocks\.([0-3])(?:\.0)?": _level("c", 2),
        r"backbone\.fpn\.inner_blocks\.([0-3])\.1": _level("c", 2, "_bn"),
        r"backbone\.fpn\.layer_blocks\.([0-3])(?:\.0)?": _level("p", 2),
        r"backbone\.fpn\.layer_blocks\.([0-3])\.1": _level("p", 2, "_bn"),
        r"rpn\.head\.conv(?:\.0\.0)?": "rpn_conv_shared",
        r"rpn\.head\.conv\.1\.0": "rpn_conv_shared2",
        r"rpn\.head\.cls_logits": "rpn_class_raw",
        r"rpn\.head\.bbox_pred": "rpn_bbox_pred",
        r"roi_heads\.box_head\.fc6": "mrcnn_class_conv1",
        r"roi_heads\.box_head\.fc7": "mrcnn_class_conv2",
        r"roi_heads\.box_head\.([0-3])\.0": _numbered("mrcnn_box_conv"),
        r"roi_heads\.box_head\.([0-3])\.1": _numbered("mrcnn_box_bn"),
        r"roi_heads\.box_head\.5": "mrcnn_class_conv1",
        r"roi_heads\.box_predictor\.cls_score": "mrcnn_class_logits",
        r"roi_heads\.box_predictor\.bbox_pred": "mrcnn_bbox_fc",
        r"roi_heads\.mask_head\.mask_fcn([1-4])": _numbered("mrcnn_mask_conv", 0),
        r"roi_heads\.mask_head\.([0-3])\.0": _numbered("mrcnn_mask_conv"),
        r"roi_heads\.mask_head\.([0-3])\.1": _numbered("mrcnn_mask_bn"),
        r"roi_heads\.mask_predictor\.conv5_mask": "mrcnn_mask_deconv",
        r"roi_heads\.mask_predictor\.mask_fcn_logits": "mrcnn_mask",
    },
    ignored=".*" + re.escape(BATCH_COUNT),
)
"""Names since torchvision 0.13, and those before, which lack some numbers."""

DETECTRON2 = Origin(
    "detectron2",
    "backbone.bottom_up.",
    {
        r"backbone\.bottom_up\.stem\.conv1": "conv1",
        r"backbone\.bottom_up\.stem\.conv1\.norm": "bn_conv1",
        r"backbone\.bottom_up\.res([2-5])\.(\d\d?)\.(conv[123]|shortcut)(\.norm)?": _detectron2_block,
        r"backbone\.fpn_lateral([2-5])": _level("c", 0),
        r"backbone\.fpn_output([2-5])": _level("p", 0),
        r"proposal_generator\.rpn_head\.conv": "rpn_conv_shared",
        r"proposal_generator\.rpn_head\.objectness_logits": "rpn_class_raw",
        r"proposal_generator\.rpn_head\.anchor_deltas": "rpn_bbox_pred",
        r"roi_heads\.box_head\.fc([12])": _numbered("mrcnn_class_conv", 0),
        r"roi_heads\.box_predictor\.cls_score": "mrcnn_class_logits",
        r"roi_heads\.box_predictor\.bbox_pred": "mrcnn_bbox_fc",
        r"roi_heads\.mask_head\.mask_fcn([1-4])": _numbered("mrcnn_mask_conv", 0),
        r"roi_heads\.mask_head\.deconv": "mrcnn_mask_deconv",
        r"roi_heads\.mask_head\.predictor": "mrcnn_mask",
    },
    ignored=r".*\.num_batches_tracked|pixel_mean|pixel_std|proposal_generator\.anchor_generator\.cell_anchors\.\d",
)
ORIGINS = (TORCHVISION, DETECTRON2)

LSJ_LAYERS = re.compile(
    r"backbone\.fpn_(lateral|output)\d\.norm|proposal_generator\.rpn_head\.conv\.conv\d|roi_heads\.box_head\.conv\d"
)
"""Layers that only detectron2's baselines of 2021 (large-scale jitter) have."""


def origin_of(names: Iterable[str]) -> Origin:
    """The program that a state dict with these tensors comes from.

    Raises:
        WeightsError: none of `ORIGINS`, or one of its networks that is not supported; without the file's name.
    """
    names = list(names)
    origin = next((one for one in ORIGINS if any(name.startswith(one.backbone_prefix) for name in names)), None)
    if origin is None:
        raise WeightsError(
            f"it has the tensors {listed(names)}: it is no Mask R-CNN with a feature pyramid of torchvision (names "
            "that begin with backbone.body) or detectron2 (backbone.bottom_up)"
        )
    newer = next((name for name in names if LSJ_LAYERS.match(name)), None)
    if origin is DETECTRON2 and newer is not None:
        raise WeightsError(
            f"it is one of detectron2's newer baselines (LSJ), which have normalization outside of the backbone "
            f"({newer!r}) and are not supported. Use a model of its R50-FPN or R101-FPN 3x, such as coco-r50-3x"
        )
    return origin


def layer_of(origin: Origin, name: str) -> str | None:
    """Our layer that a tensor belongs to; None for tensors that are no weights.

    Raises:
        WeightsError: the network has no such layer; without the file's name.
    """
    if re.fullmatch(origin.ignored, name):
        return None
    prefix = name.rpartition(".")[0]
    for pattern, layer in origin.layers.items():
        match = re.fullmatch(pattern, prefix)
        if match is not None:
            return layer if isinstance(layer, str) else layer(match)
    raise WeightsError(f"it has the layer {name!r}, which no Mask R-CNN of {origin.name} has that is supported here")
