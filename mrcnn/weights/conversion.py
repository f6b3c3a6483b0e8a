"""Converts state dicts of torchvision's and detectron2's Mask R-CNN into the layers of our network.

What their programs do outside of the layers is folded into the weights, see `mrcnn.architecture`. Shape letters are
PyTorch's: convolutions (out, in, height, width), fully connected layers (out, in), transposed convolutions (in, out,
height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrcnn.architecture import ARCHITECTURES, Architecture
from mrcnn.config import Config
from mrcnn.weights.coco_names import coco_names
from mrcnn.weights.foreign_names import BATCH_COUNT, DETECTRON2, Origin, layer_of, origin_of
from mrcnn.weights.hdf5 import LayerArrays, WeightsError, listed
from mrcnn.weights.layout import RESNET_BLOCKS, backbone_of, block_letter
from mrcnn.weights.stored_tensor import Tensor

IMAGENET_STD = (0.229, 0.224, 0.225)
"""By which torchvision divides RGB / 255 after subtracting the mean."""

DETECTRON2_PIXELS = {"pixel_mean": (103.53, 116.28, 123.675), "pixel_std": (1.0, 1.0, 1.0)}
"""BGR; files of detectron2 may contain them."""

DELTA_ORDER = (1, 0, 3, 2)
"""(dx, dy, log dw, log dh) to (dy, dx, log dh, log dw)."""

BATCH_NORM_EPSILON = 1e-5
"""Of torchvision's first version where its backbone has BatchNorm2d, which counts batches. The published weights have
FrozenBatchNorm2d there, without a count, and with an epsilon of 0."""

MOST_CLASSES = 10_000

NORM_KINDS = MappingProxyType(
    {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
)

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Conversion:
    """A state dict as layers of our network; made by `convert`.

    Attributes:
        architecture: what its program adds to the layers.
        config: the settings of its network.
        class_names: K names, the background first; None where the classes are not COCO's.
        layer_names: our layers that have weights.
    """

    architecture: Architecture
    config: Config
    class_names: tuple[str, ...] | None
    layer_names: Sequence[str]
    _origin: Origin
    _tensors: Mapping[str, Mapping[str, Tensor]]
    _added_variance: float

    @property
    def num_values(self) -> int:
        """The number of values in the state dict that the layers are made of."""
        return sum(math.prod(one.shape) for layer in self.layer_names for one in self._tensors[layer].values())

    def arrays(self, layer: str) -> LayerArrays:
        """The weights of a layer, float32, by kind; read from the file now.

        Raises:
            WeightsError: the file is damaged, weights are not finite, or variances negative; without the file's name.
        """
        tensors = self._tensors[layer]
        if "running_mean" in tensors:
            norm = {kind: _values(tensors[name], f"{layer}/{kind}") for kind, name in NORM_KINDS.items()}
            if (norm["moving_variance"] < 0).any():
                raise WeightsError(f"its layer {layer}/moving_variance has negative values. Download it again")
            return {**norm, "moving_variance": norm["moving_variance"] + np.float32(self._added_variance)}
        kernel = _values(tensors["weight"], f"{layer}/kernel")
        has_bias = "bias" in tensors
        bias = _values(tensors["bias"], f"{layer}/bias") if has_bias else np.zeros(len(kernel), np.float32)
        adapt = _ADAPTED.get(layer)
        if adapt is not None:
            kernel, bias = adapt(kernel, self._origin), adapt(bias, self._origin)
        if layer in _DENSE_SIDES:
            side = _DENSE_SIDES[layer]
            kernel = kernel.reshape(len(kernel), -1, side, side)
        # (out, in) to (in, out); (out, in, h, w) to (h, w, in, out); transposed convolutions, which are not flipped,
        # (in, out, h, w) to (h, w, out, in)
        kernel = kernel.T if kernel.ndim == 2 else kernel.transpose(2, 3, 1, 0)
        return {"kernel": np.ascontiguousarray(kernel, np.float32), "bias": np.ascontiguousarray(bias, np.float32)}


def convert(tensors: Mapping[str, Tensor]) -> Conversion:
    """Recognize a state dict by the names and shapes of its tensors.

    Args:
        tensors: by name, see `mrcnn.weights.state_dict.open_state_dict`.

    Raises:
        WeightsError: it is no Mask R-CNN, or one that is not supported; it names the layer, but not the file.
    """
    origin = origin_of(tensors)
    layers: dict[str, dict[str, Tensor]] = {}
    names: dict[str, str] = {}
    for name, tensor in tensors.items():
        layer = layer_of(origin, name)
        if layer is not None:
            layers.setdefault(layer, {})[name.rpartition(".")[2]] = tensor
            names[layer] = name.rpartition(".")[0]
    backbone = backbone_of(layers)
    if backbone not in RESNET_BLOCKS:
        raise WeightsError(f"its backbone is neither ResNet-50 nor ResNet-101 (it has {listed(sorted(layers))})")
    architecture = _architecture(origin, layers)
    _check_pixels(origin, tensors)
    shapes = _Shapes(layers)
    expected = dict(_expected(architecture, backbone, shapes))
    missing = [layer for layer in expected if layer not in layers]
    if missing:
        raise WeightsError(f"it has no layer {listed(missing)}, which a {architecture.name} Mask R-CNN needs")
    unexpected = [names[layer] for layer in layers if layer not in expected]
    if unexpected:
        raise WeightsError(f"it has the layer {listed(unexpected)}, which a {architecture.name} Mask R-CNN lacks")
    for layer, shape in expected.items():
        _check_layer(names[layer], layers[layer], shape)
    config = _config(architecture, backbone, shapes)
    is_trained_norm = architecture.norm_epsilon == 0 and any(name.endswith(BATCH_COUNT) for name in tensors)
    added_variance = BATCH_NORM_EPSILON if is_trained_norm else 0.0
    names_of_classes = coco_names(config.NUM_CLASSES)
    return Conversion(architecture, config, names_of_classes, tuple(expected), origin, layers, added_variance)


class _Shapes:
    """Sizes of a network that its settings hold, read from its layers; 0 where a layer is missing."""

    def __init__(self, layers: Mapping[str, Mapping[str, Tensor]]) -> None:
        def outputs(layer: str) -> int:
            weight = layers.get(layer, {}).get("weight")
            return weight.shape[0] if weight is not None and weight.shape else 0

        self.stem = outputs("conv1")
        self.pyramid = outputs("fpn_p5")
        self.rpn = outputs("rpn_conv_shared")
        self.dense = outputs("mrcnn_class_conv1")
        self.mask = outputs("mrcnn_mask_conv1")
        self.classes = outputs("mrcnn_class_logits")
        if not 2 <= self.classes <= MOST_CLASSES:
            raise WeightsError(
                f"its box head has {self.classes} classes, expected 2 to {MOST_CLASSES:,} with the background"
            )


def _architecture(origin: Origin, layers: Mapping[str, object]) -> Architecture:
    if origin is DETECTRON2:
        return ARCHITECTURES["detectron2"]
    return ARCHITECTURES["torchvision_v2" if "fpn_c5p5_bn" in layers else "torchvision"]


def _expected(architecture: Architecture, backbone: str, shapes: _Shapes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(layer, shape of its weight) of everything that the network consists of, in build order."""
    yield from _backbone(RESNET_BLOCKS[backbone], shapes.stem)
    pyramid, heads = shapes.pyramid, shapes.classes - (architecture.name == "detectron2")
    for level in (5, 4, 3, 2):
        yield from _conv(f"fpn_c{level}p{level}", (pyramid, shapes.stem * 2**level, 1, 1), architecture.fpn_norm)
    for level in (2, 3, 4, 5):
        yield from _conv(f"fpn_p{level}", (pyramid, pyramid, 3, 3), architecture.fpn_norm)
    anchors = len(architecture.settings["RPN_ANCHOR_RATIOS"])
    yield "rpn_conv_shared", (shapes.rpn, pyramid, 3, 3)
    if architecture.rpn_convolutions == 2:
        yield "rpn_conv_shared2", (shapes.rpn, shapes.rpn, 3, 3)
    yield "rpn_class_raw", (anchors, shapes.rpn, 1, 1)
    yield "rpn_bbox_pred", (4 * anchors, shapes.rpn, 1, 1)
    for index in range(1, architecture.box_convolutions + 1):
        yield f"mrcnn_box_conv{index}", (pyramid, pyramid, 3, 3)
        yield f"mrcnn_box_bn{index}", (pyramid,)
    yield "mrcnn_class_conv1", (shapes.dense, pyramid * Config.POOL_SIZE**2)
    if architecture.box_layers == 2:
        yield "mrcnn_class_conv2", (shapes.dense, shapes.dense)
    yield "mrcnn_class_logits", (shapes.classes, shapes.dense)
    yield "mrcnn_bbox_fc", (4 * heads, shapes.dense)
    for index in range(1, 5):
        yield f"mrcnn_mask_conv{index}", (shapes.mask, pyramid if index == 1 else shapes.mask, 3, 3)
        if architecture.mask_norm:
            yield f"mrcnn_mask_bn{index}", (shapes.mask,)
    yield "mrcnn_mask_deconv", (shapes.mask, shapes.mask, 2, 2)
    yield "mrcnn_mask", (heads, shapes.mask, 1, 1)


def _backbone(blocks: Sequence[int], stem: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "conv1", (stem, 3, 7, 7)
    yield "bn_conv1", (stem,)
    inputs = stem
    for stage, count in enumerate(blocks, start=2):
        width = stem * 2 ** (stage - 2)
        for index in range(count):
            block = f"{stage}{block_letter(index)}"
            shapes: dict[str, tuple[int, ...]] = {"branch2a": (width, inputs, 1, 1), "branch2b": (width, width, 3, 3)}
            shapes["branch2c"] = (4 * width, width, 1, 1)
            if index == 0:
                shapes["branch1"] = (4 * width, inputs, 1, 1)
            for branch, shape in shapes.items():
                yield f"res{block}_{branch}", shape
                yield f"bn{block}_{branch}", shape[:1]
            inputs = 4 * width


def _conv(layer: str, shape: tuple[int, ...], has_norm: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield layer, shape
    if has_norm:
        yield f"{layer}_bn", shape[:1]


def _check_layer(name: str, tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> None:
    """Raises WeightsError unless a layer has the tensors and shapes that belong to the shape of its weight."""
    if len(shape) == 1:
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(NORM_KINDS.values(), shape)
    else:
        # every transposed convolution here has as many inputs as outputs
        expected = {"weight": shape} | ({"bias": shape[:1]} if "bias" in tensors else {})
    if set(tensors) != set(expected):
        raise WeightsError(
            f"its layer {name!r} must have {', '.join(sorted(expected))}, it has {', '.join(sorted(tensors))}"
        )
    for kind, tensor in tensors.items():
        if tensor.shape != expected[kind]:
            raise WeightsError(f"its {name}.{kind} has the shape {tensor.shape}, expected {expected[kind]}")
        if not tensor.dtype.endswith(("float16", "float32", "float64")):
            raise WeightsError(f"its {name}.{kind} must hold floating-point numbers, it has {tensor.dtype}")


def _check_pixels(origin: Origin, tensors: Mapping[str, Tensor]) -> None:
    for name, expected in DETECTRON2_PIXELS.items() if origin is DETECTRON2 else ():
        tensor = tensors.get(name)
        if tensor is not None and (tensor.shape[:1] != (3,) or not np.allclose(tensor.read().ravel(), expected)):
            raise WeightsError(f"its {name} is not detectron2's {expected} for BGR, which is all that is supported")


def _config(architecture: Architecture, backbone: str, shapes: _Shapes) -> Config:
    settings: dict[str, Any] = {
        **architecture.settings,
        "ARCHITECTURE": architecture.name,
        "NAME": architecture.name,
        "BACKBONE": backbone,
        "NUM_CLASSES": shapes.classes,
        "STEM_CHANNELS": shapes.stem,
        "TOP_DOWN_PYRAMID_SIZE": shapes.pyramid,
        "RPN_CHANNELS": shapes.rpn,
        "FPN_CLASSIF_FC_LAYERS_SIZE": shapes.dense,
        "MASK_HEAD_CHANNELS": shapes.mask,
    }
    config: Config = type("ConvertedConfig", (Config,), settings)()
    return config


def _values(tensor: Tensor, name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = np.asarray(tensor.read(), np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(f"its layer {name} has values that are not finite. Download it again")
    return values


def _adapt_stem(values: Values, origin: Origin) -> Values:
    """Input in RGB, 0 … 255, instead of BGR (detectron2) or of RGB / 255 / standard deviation (torchvision)."""
    if values.ndim == 1:
        return values
    return values[:, ::-1] if origin is DETECTRON2 else values / (255 * np.array(IMAGENET_STD)).reshape(1, 3, 1, 1)


def _adapt_objectness(values: Values, origin: Origin) -> Values:
    """Two logits of each anchor, (background, object), instead of one: sigmoid(x) is the second softmax of (0, x)."""
    return np.stack([np.zeros_like(values), values], axis=1).reshape(-1, *values.shape[1:])


def _adapt_deltas(values: Values, origin: Origin) -> Values:
    """In our order, for each anchor or class."""
    return values.reshape(-1, 4, *values.shape[1:])[:, DELTA_ORDER].reshape(values.shape)


def _adapt_class_deltas(values: Values, origin: Origin) -> Values:
    return _with_background(_adapt_deltas(values, origin), origin, 4)


def _adapt_masks(values: Values, origin: Origin) -> Values:
    return _with_background(values, origin, 1)


def _with_background(values: Values, origin: Origin, rows: int) -> Values:
    """Zeros for the background, which has no boxes and masks in detectron2."""
    return np.concatenate([np.zeros_like(values[:rows]), values]) if origin is DETECTRON2 else values


def _adapt_class_logits(values: Values, origin: Origin) -> Values:
    """The background first; it is detectron2's last class."""
    return np.roll(values, 1, axis=0) if origin is DETECTRON2 else values


_ADAPTED: Mapping[str, Callable[[Values, Origin], Values]] = {
    "conv1": _adapt_stem,
    "rpn_class_raw": _adapt_objectness,
    "rpn_bbox_pred": _adapt_deltas,
    "mrcnn_class_logits": _adapt_class_logits,
    "mrcnn_bbox_fc": _adapt_class_deltas,
    "mrcnn_mask": _adapt_masks,
}
"""What becomes of the outputs of a layer: of its kernel and of its bias."""

_DENSE_SIDES = {"mrcnn_class_conv1": Config.POOL_SIZE, "mrcnn_class_conv2": 1}
"""Height and width of fully connected layers that are convolutions in our network; the first flattens (C, H, W)."""
