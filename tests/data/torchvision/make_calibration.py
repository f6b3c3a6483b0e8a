"""Compute calibration.npz: what makes the random weights of random_weights.py behave like trained ones.

    pip install torch==2.14.1 torchvision==0.29.1 pillow
    python make_calibration.py                          # then make_reference.py; a minute on two cores

Three photographs pass through each network layer by layer. A normalization gets the statistics of its input. Another
layer gets a factor and a bias for each output channel, so that its outputs have a chosen mean and standard deviation
over the photographs. v1 and v2 share the statistics of the backbone.
"""

from __future__ import annotations

import re

import numpy as np
import torch
from PIL import Image
from random_weights import CALIBRATION, CLASSES, FLAVORS, state_dict
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

IMAGES = CALIBRATION.parents[1] / "oracle" / "images"

LEVEL_SCALES = (0.28, 0.45, 1.0, 3.0)
"""Standard deviations of P2 to P5. Coarse levels have few anchors; their larger values give them a share of the best
proposals and detections."""

OBJECTNESS = (-1.0, 2.0)
PROPOSAL_DELTAS = (0.0, 0.25)
CLASS_LOGITS = (0.0, 4.0)
BACKGROUND_LOGIT = (19.0, 2.0)
BOX_DELTAS = (0.0, 0.8)
MASK_LOGITS = (0.5, 3.0)
"""Mean and standard deviation of what the last layers give."""

LAYERS_WITH_BIAS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def build_model(flavor: str, arrays: dict[str, np.ndarray], **settings: int) -> MaskRCNN:
    """The network as torchvision builds it for its published file, with these weights."""
    if flavor == "v1":
        # as maskrcnn_resnet50_fpn(weights=COCO_V1) does; weights=None gives BatchNorm2d with eps 1e-5 instead
        backbone = _resnet_fpn_extractor(resnet50(norm_layer=FrozenBatchNorm2d), 0)
        model = MaskRCNN(backbone, num_classes=CLASSES, **settings)
        overwrite_eps(model, 0.0)
    else:
        model = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **settings)
    model.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items()})
    return model.eval()


def read_image(name: str) -> np.ndarray:
    """uint8 (H, W, 3), RGB."""
    return np.array(Image.open(IMAGES / f"{name}.jpg").convert("RGB"))


def as_tensor(image: np.ndarray) -> Tensor:
    """float32 (3, H, W), 0 … 1, as torchvision's models take it."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


class Calibration:
    """Fits the layers of a model in place and collects what it sets.

    Attributes:
        arrays: names of the state dict to float32 (C,): see `random_weights.load_calibration`.
    """

    def __init__(self, model: MaskRCNN):
        self.names = {module: name for name, module in model.named_modules()}
        self.arrays: dict[str, np.ndarray] = {}

    def fit_norm(self, norm: nn.Module, inputs: Tensor, scale: float = 1.0) -> None:
        """Set the statistics to those of (N, C, H, W), so that outputs have the standard deviation `scale`."""
        variance, mean = torch.var_mean(inputs, (0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((variance / scale**2).clamp(min=1e-4))
        self._record(norm, "running_mean", norm.running_mean)
        self._record(norm, "running_var", norm.running_var)

    def fit_layer(
        self, layer: nn.Module, inputs: list[Tensor], mean: Tensor | float, std: Tensor | float
    ) -> list[Tensor]:
        """Give every output channel this mean and standard deviation; returns the outputs for `inputs`."""
        layer.bias.zero_()
        outputs = [layer.forward(x) for x in inputs]
        factor, bias = self._set(layer, outputs, mean, std)
        shape = (-1,) + (1,) * (outputs[0].ndim - 2)
        return [y * factor.reshape(shape) + bias.reshape(shape) for y in outputs]

    def _set(self, layer: nn.Module, outputs: list[Tensor], mean: Tensor | float, std: Tensor | float):
        channels = torch.cat([y.transpose(0, 1).flatten(1) for y in outputs], 1)
        measured, center = torch.std_mean(channels, 1)
        factor = std / measured.clamp(min=1e-6)
        bias = mean - factor * center
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        shape = [1] * layer.weight.ndim
        shape[axis] = -1
        layer.weight.mul_(factor.reshape(shape))
        layer.bias.copy_(bias)
        self._record(layer, "weight", factor)
        self._record(layer, "bias", bias)
        return factor, bias

    def fit_sequence(self, sequence: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        """Fit all layers of nested Sequentials, one after the other; hidden layers get mean 0 and deviation 1."""
        if isinstance(sequence, nn.Sequential):
            for part in sequence:
                inputs = self.fit_sequence(part, inputs)
            return inputs
        if isinstance(sequence, LAYERS_WITH_BIAS) and sequence.bias is not None:
            return self.fit_layer(sequence, inputs, 0.0, 1.0)
        if isinstance(sequence, nn.BatchNorm2d):
            self.fit_norm(sequence, torch.cat(inputs))
        return [sequence(x) for x in inputs]

    def fit_backbone(self, backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Fit backbone and pyramid while the images pass through; returns the levels."""
        handles = []
        scales = {}
        for index, scale in enumerate(LEVEL_SCALES):
            for module in backbone.fpn.layer_blocks[index]:
                scales[module] = scale
        for module in backbone.modules():
            scale = scales.get(module, 1.0)
            if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
                hook = lambda norm, args, scale=scale: self.fit_norm(norm, args[0], scale)  # noqa: E731
                handles.append(module.register_forward_pre_hook(hook))
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                hook = lambda conv, args, scale=scale: self.fit_layer(conv, [args[0]], 0.0, scale) and None  # noqa: E731
                handles.append(module.register_forward_pre_hook(hook))
        pyramid = backbone(images)
        for handle in handles:
            handle.remove()
        return pyramid

    def _record(self, module: nn.Module, kind: str, values: Tensor) -> None:
        self.arrays[f"{self.names[module]}.{kind}"] = values.numpy().copy()


def calibrate(flavor: str, photographs: list[Tensor]) -> dict[str, np.ndarray]:
    """Fit all layers of a flavor: names of torchvision's state dict to float32 (C,)."""
    model = build_model(flavor, state_dict(flavor, {}), min_size=416, max_size=608)
    calibration = Calibration(model)
    images, _ = model.transform(photographs)
    pyramid = calibration.fit_backbone(model.backbone, images.tensors)

    shared = calibration.fit_sequence(model.rpn.head.conv, list(pyramid.values()))
    calibration.fit_layer(model.rpn.head.cls_logits, shared, *OBJECTNESS)
    calibration.fit_layer(model.rpn.head.bbox_pred, shared, *PROPOSAL_DELTAS)
    proposals, _ = model.rpn(images, pyramid)

    heads = model.roi_heads
    regions = heads.box_roi_pool(pyramid, proposals, images.image_sizes)
    if flavor == "v1":
        head = nn.Sequential(nn.Flatten(), heads.box_head.fc6, nn.ReLU(), heads.box_head.fc7, nn.ReLU())
    else:
        head = heads.box_head
    features = calibration.fit_sequence(head, [regions])
    means, stds = torch.full((CLASSES,), CLASS_LOGITS[0]), torch.full((CLASSES,), CLASS_LOGITS[1])
    means[0], stds[0] = BACKGROUND_LOGIT
    calibration.fit_layer(heads.box_predictor.cls_score, features, means, stds)
    calibration.fit_layer(heads.box_predictor.bbox_pred, features, *BOX_DELTAS)

    detections, _ = heads(pyramid, proposals, images.image_sizes)
    regions = heads.mask_roi_pool(pyramid, [found["boxes"] for found in detections], images.image_sizes)
    features = calibration.fit_sequence(heads.mask_head, [regions])
    features = calibration.fit_sequence(nn.Sequential(heads.mask_predictor.conv5_mask, nn.ReLU()), features)
    calibration.fit_layer(heads.mask_predictor.mask_fcn_logits, features, *MASK_LOGITS)
    return calibration.arrays


def main() -> None:
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    landscapes = [read_image(name)[:416, :608] for name in ("000000184324", "000000423617")]
    portrait = read_image("000000377575")[:608, :416]
    photographs = [as_tensor(image) for image in [*landscapes, np.rot90(portrait)]]
    stored = {}
    for flavor in FLAVORS:
        for name, values in calibrate(flavor, photographs).items():
            shared = ".body." in name
            if not shared or name not in stored:
                stored[name if shared else f"{flavor}/{_file_name(flavor, name)}"] = values.astype(np.float16)
    np.savez_compressed(CALIBRATION, **stored)
    print(CALIBRATION, sum(values.size for values in stored.values()), "numbers")


def _file_name(flavor: str, name: str) -> str:
    """The name of an array of the model in the published file: the reverse of what torchvision does on loading."""
    if flavor == "v2":
        return name
    name = re.sub(r"(inner|layer)_blocks\.(\d)\.0\.", r"\1_blocks.\2.", name)
    name = re.sub(r"mask_head\.(\d)\.0\.", lambda found: f"mask_head.mask_fcn{int(found[1]) + 1}.", name)
    return name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")


if __name__ == "__main__":
    main()
