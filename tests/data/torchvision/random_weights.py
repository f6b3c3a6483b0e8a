"""State dicts of Mask R-CNNs of torchvision and detectron2 with random weights: names and types as in published files.

Random weights as such give a network that finds nothing. `calibration.npz`, which make_calibration.py writes, holds
what makes these behave like trained networks: statistics of the normalizations, and a factor and a bias for each output
channel of the other layers. They stand for `maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth` (v1) and
`maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth` (v2), in full size, and segment nothing meaningful. detectron2's has the
full backbone, whose normalizations need no calibration, and few channels elsewhere.

Needs NumPy only. The values come from the raw bits of PCG64, whose stream NumPy guarantees, unlike that of its
distributions.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np

CALIBRATION = Path(__file__).with_name("calibration.npz")
DETECTRON2_CALIBRATION = CALIBRATION.with_name("detectron2_calibration.npz")
FLAVORS = ("v1", "v2")
CLASSES = 91

BODY_SCALE = 1 / 16
"""Of the backbone's convolutions. It makes variances of about 1/256, so small that eps 0 and eps 1e-5 give visibly
different networks, as they do with the published weights."""

LAST_NORM_SCALE = 0.15
"""Of the last normalization of a residual branch. Branches that are weaker than their shortcuts, as in trained
networks, keep small differences from growing from block to block."""

DETECTRON2_CLASSES = 7
"""Without the background."""

SAMPLES = 2000
"""Elements that are recorded of a large array."""


def state_dict(flavor: str, calibration: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """All arrays of a published file by name: float32, and int64 for the `num_batches_tracked` of v2.

    v1 has the names of its file, which torchvision renames when it loads it, such as `mask_head.mask_fcn1.weight`.

    Args:
        flavor: "v1" or "v2".
        calibration: what `load_calibration` returns, the default.
    """
    calibration = load_calibration(flavor) if calibration is None else calibration
    return {name: _values(name, shape, calibration) for name, shape in layout(flavor).items()}


def detectron2_state_dict(calibration: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """All arrays of a model of detectron2's R50-FPN by name, float32, with few channels outside of the backbone.

    Args:
        calibration: names of layers to float32 (2, C), a factor for each output channel and the biases; None for those
            of `detectron2_calibration.npz`.
    """
    if calibration is None:
        with np.load(DETECTRON2_CALIBRATION) as stored:
            calibration = {name: stored[name].astype(np.float32) for name in stored}
    arrays = {}
    for name, shape in _detectron2_layout().items():
        values, layer = _uniform(name, shape), name.rpartition(".")[0]
        if name.endswith("running_var"):
            values = (1 + 0.2 * values) * np.float32(60**2 if ".stem." in name else BODY_SCALE**2)
        elif name.endswith("running_mean"):
            values *= np.float32(0.1 * BODY_SCALE)
        elif name.endswith(".norm.weight"):
            values = (1 + 0.2 * values) * np.float32(2 * LAST_NORM_SCALE if "conv3." in name else 1)
        elif len(shape) > 1:
            values = _kernel(name, shape, calibration.get(layer, np.ones((1, 1), np.float32))[0])
        else:
            values = calibration[layer][1] if layer in calibration else 0.1 * values
        arrays[name] = values
    return arrays


def load_calibration(flavor: str) -> dict[str, np.ndarray]:
    """Values by name, float32 (C,): the array itself, or for a layer's `.weight` a factor for each output channel."""
    with np.load(CALIBRATION) as stored:
        found = {name: stored[name].astype(np.float32) for name in stored}
    prefix = flavor + "/"
    own = {name.removeprefix(prefix): values for name, values in found.items() if name.startswith(prefix)}
    return {name: values for name, values in found.items() if "/" not in name} | own


def layout(flavor: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays of a published file."""
    return _body(flavor) | _fpn(flavor) | _rpn(flavor) | _box_head(flavor) | _mask_head(flavor)


def sample_positions(size: int) -> np.ndarray:
    """Positions in a flat array of that size: int64 (SAMPLES,), scattered by Knuth's multiplicative hash."""
    return np.arange(SAMPLES, dtype=np.int64) * 2654435761 % size


def _detectron2_layout() -> dict[str, tuple[int, ...]]:
    kinds = ("weight", "bias", "running_mean", "running_var")
    backbone = {}
    for name, shape in _body("v1").items():
        if name.endswith(".weight") and len(shape) > 1:
            name = re.sub(r"backbone\.body\.(layer)?", "backbone.bottom_up.", name.removesuffix(".weight"))
            name = name.replace("up.conv1", "up.stem.conv1").replace("downsample.0", "shortcut")
            name = re.sub(r"up\.(\d)", lambda found: f"up.res{int(found[1]) + 1}", name)
            backbone[name + ".weight"] = shape
            backbone |= {f"{name}.norm.{kind}": shape[:1] for kind in kinds}
    pyramid, width = 16, 48
    layers: dict[str, tuple[int, ...]] = {}
    for level in range(2, 6):
        layers[f"backbone.fpn_lateral{level}"] = (pyramid, 64 * 2**level, 1, 1)
        layers[f"backbone.fpn_output{level}"] = (pyramid, pyramid, 3, 3)
    head = "proposal_generator.rpn_head."
    layers |= {head + "conv": (24, pyramid, 3, 3), head + "objectness_logits": (3, 24, 1, 1)}
    layers |= {head + "anchor_deltas": (12, 24, 1, 1)}
    head = "roi_heads.box_head."
    layers |= {head + "fc1": (width, pyramid * 7 * 7), head + "fc2": (width, width)}
    head = "roi_heads.box_predictor."
    layers |= {head + "cls_score": (DETECTRON2_CLASSES + 1, width), head + "bbox_pred": (4 * DETECTRON2_CLASSES, width)}
    head = "roi_heads.mask_head."
    for index in range(1, 5):
        layers[f"{head}mask_fcn{index}"] = (20, pyramid if index == 1 else 20, 3, 3)
    layers |= {head + "deconv": (20, 20, 2, 2), head + "predictor": (DETECTRON2_CLASSES, 20, 1, 1)}
    heads: dict[str, tuple[int, ...]] = {}
    for name, shape in layers.items():
        heads |= _convolution(name, shape)
    return backbone | heads


def random_levels() -> list[np.ndarray]:
    """P2 to P5 of two canvases of 512 x 768, as they are pooled from: float32 (2, h, w, 3), -1 … 1."""
    return [_uniform(f"p{level}", (2, 512 >> level, 768 >> level, 3)) for level in range(2, 6)]


def _body(flavor: str) -> dict[str, tuple[int, ...]]:
    prefix = "backbone.body."
    arrays = {prefix + "conv1.weight": (64, 3, 7, 7)} | _norm(flavor, prefix + "bn1", 64)
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        width = 32 * 2**stage
        for block in range(blocks):
            name = f"{prefix}layer{stage}.{block}."
            for index, shape in enumerate(((width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)), 1):
                arrays[f"{name}conv{index}.weight"] = shape
                arrays |= _norm(flavor, f"{name}bn{index}", shape[0])
            if block == 0:
                arrays[name + "downsample.0.weight"] = (4 * width, channels, 1, 1)
                arrays |= _norm(flavor, name + "downsample.1", 4 * width)
            channels = 4 * width
    return arrays


def _fpn(flavor: str) -> dict[str, tuple[int, ...]]:
    arrays: dict[str, tuple[int, ...]] = {}
    for index in range(4):
        for kind, shape in (("inner", (256, 256 * 2**index, 1, 1)), ("layer", (256, 256, 3, 3))):
            name = f"backbone.fpn.{kind}_blocks.{index}"
            arrays |= _convolution(name, shape) if flavor == "v1" else _normed_convolution(name, shape)
    return arrays


def _rpn(flavor: str) -> dict[str, tuple[int, ...]]:
    names = ["rpn.head.conv"] if flavor == "v1" else ["rpn.head.conv.0.0", "rpn.head.conv.1.0"]
    arrays: dict[str, tuple[int, ...]] = {}
    for name in names:
        arrays |= _convolution(name, (256, 256, 3, 3))
    arrays |= _convolution("rpn.head.cls_logits", (3, 256, 1, 1))
    return arrays | _convolution("rpn.head.bbox_pred", (12, 256, 1, 1))


def _box_head(flavor: str) -> dict[str, tuple[int, ...]]:
    prefix = "roi_heads.box_head."
    if flavor == "v1":
        arrays = _convolution(prefix + "fc6", (1024, 256 * 7 * 7)) | _convolution(prefix + "fc7", (1024, 1024))
    else:
        arrays = {}
        for index in range(4):
            arrays |= _normed_convolution(f"{prefix}{index}", (256, 256, 3, 3))
        arrays |= _convolution(prefix + "5", (1024, 256 * 7 * 7))
    arrays |= _convolution("roi_heads.box_predictor.cls_score", (CLASSES, 1024))
    return arrays | _convolution("roi_heads.box_predictor.bbox_pred", (4 * CLASSES, 1024))


def _mask_head(flavor: str) -> dict[str, tuple[int, ...]]:
    prefix = "roi_heads.mask_head."
    arrays: dict[str, tuple[int, ...]] = {}
    for index in range(4):
        if flavor == "v1":
            arrays |= _convolution(f"{prefix}mask_fcn{index + 1}", (256, 256, 3, 3))
        else:
            arrays |= _normed_convolution(f"{prefix}{index}", (256, 256, 3, 3))
    arrays |= _convolution("roi_heads.mask_predictor.conv5_mask", (256, 256, 2, 2))
    return arrays | _convolution("roi_heads.mask_predictor.mask_fcn_logits", (CLASSES, 256, 1, 1))


def _convolution(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """A convolution, a deconvolution with as many channels in as out, or a fully connected layer."""
    return {name + ".weight": shape, name + ".bias": shape[:1]}


def _normed_convolution(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {name + ".0.weight": shape} | _norm("v2", name + ".1", shape[0])


def _norm(flavor: str, name: str, channels: int) -> dict[str, tuple[int, ...]]:
    arrays: dict[str, tuple[int, ...]] = {
        f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")
    }
    return arrays if flavor == "v1" else arrays | {name + ".num_batches_tracked": ()}


def _values(name: str, shape: tuple[int, ...], calibration: dict[str, np.ndarray]) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.array(90_000, np.int64)
    if name.endswith(".weight") and len(shape) > 1:
        return _kernel(name, shape, calibration.get(name, np.ones(1, np.float32)))
    if name in calibration:
        return calibration[name]
    if name.endswith("running_var"):
        return np.ones(shape, np.float32)
    if name.endswith(".weight"):
        scale = LAST_NORM_SCALE if ".bn3." in name else 1.0
        return (1 + 0.2 * _uniform(name, shape)) * np.float32(scale)
    return 0.1 * _uniform(name, shape)


def _kernel(name: str, shape: tuple[int, ...], factors: np.ndarray) -> np.ndarray:
    """He et al.'s scale (2015, equation 10) times a factor for each output channel; there may be one for all."""
    is_deconvolution = "conv5_mask" in name or "deconv" in name  # its axes are (in, out, h, w)
    scale = math.sqrt(6 / (shape[0] if is_deconvolution else math.prod(shape[1:])))
    if ".body." in name or ".bottom_up.res" in name:
        scale *= BODY_SCALE
    if shape[2:] == (7, 7):
        # the first convolution responds to edges rather than to noise of single pixels
        values = _uniform(name, (*shape[:2], 2, 2)).repeat(4, 2).repeat(4, 3)[:, :, :7, :7]
    else:
        values = _uniform(name, shape)
    axes = range(1, len(shape))
    return values * np.float32(scale) * np.expand_dims(factors, (0, 2, 3) if is_deconvolution else tuple(axes))


def _uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values between -1 and 1 that depend on the name only: float32."""
    size = math.prod(shape)
    bits = np.random.PCG64(zlib.crc32(name.encode())).random_raw((size + 1) // 2).view(np.int32)[:size]
    return (bits.astype(np.float32) * np.float32(2**-31)).reshape(shape)
