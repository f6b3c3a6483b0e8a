"""Record what the layers of detectron2's R50-FPN compute from random weights: expected/detectron2.npz.

    pip install torch==2.14.1 torchvision==0.29.1 pillow
    python make_detectron2.py                           # seconds

detectron2 itself is not used: it has no releases for current versions of torch. The layers are put together here, from
functions of torch and torchvision, as detectron2 02b5c4e2 does it with the settings of its R50-FPN 3x models. Its first
pass through the network writes detectron2_calibration.npz. README.md describes the arrays.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from make_calibration import (
    BOX_DELTAS,
    CLASS_LOGITS,
    LEVEL_SCALES,
    MASK_LOGITS,
    OBJECTNESS,
    PROPOSAL_DELTAS,
    read_image,
)
from random_weights import (
    CALIBRATION,
    DETECTRON2_CALIBRATION,
    DETECTRON2_CLASSES,
    detectron2_state_dict,
    random_levels,
    sample_positions,
)
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

PIXEL_MEAN = (103.53, 116.28, 123.675)
"""BGR; the standard deviation is 1."""

BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}
LEVELS = (2, 3, 4, 5)
CROP = ("000000423617", 0, 20, 474, 617)
"""A photograph and its part: y, x, height, width."""


TARGETS = {
    **{f"fpn_output{level}": (0.0, scale) for level, scale in zip(LEVELS, LEVEL_SCALES, strict=True)},
    "objectness_logits": OBJECTNESS,
    "anchor_deltas": PROPOSAL_DELTAS,
    "cls_score": CLASS_LOGITS,
    "bbox_pred": BOX_DELTAS,
    "predictor": MASK_LOGITS,
}
"""Mean and standard deviation of what layers give in the first pass; of others 0 and 1."""

BACKGROUND = (11.0, 2.0)
"""The same for the background's logit."""


class Layers:
    """The layers with the weights of a state dict; images are float32 (N, C, H, W).

    Attributes:
        arrays: the weights.
        calibration: None, or what the layers outside of the backbone are given when they are used first, see
            `random_weights.detectron2_state_dict`.
    """

    def __init__(self, arrays: dict[str, np.ndarray], calibration: dict[str, np.ndarray] | None = None):
        self.arrays = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
        self.calibration = calibration

    def apply(self, function: Callable[..., Tensor], x: Tensor, name: str, *arguments: int) -> Tensor:
        """A layer with a bias, or a convolution without."""
        weight, bias = self.arrays[name + ".weight"], self.arrays.get(name + ".bias")
        if bias is not None and self.calibration is not None and name not in self.calibration:
            y = function(x, weight, None, *arguments).transpose(0, 1).flatten(1)
            means, stds = (torch.full((len(y),), target) for target in TARGETS.get(name.split(".")[-1], (0.0, 1.0)))
            if name.endswith("cls_score"):
                means[-1], stds[-1] = BACKGROUND
            factor = stds / y.std(1)
            stored = torch.stack([factor, means - factor * y.mean(1)]).half()
            self.calibration[name] = stored.numpy()
            factor, bias = stored.float()
            weight *= factor.reshape((1, -1, 1, 1) if "deconv" in name else (-1,) + (1,) * (weight.ndim - 1))
            self.arrays[name + ".bias"] = bias
        return function(x, weight, bias, *arguments)

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return self.apply(F.conv2d, x, name, stride, padding)

    def normed(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        """A convolution and FrozenBatchNorm2d."""
        weight, bias, mean, variance = (
            self.arrays[f"{name}.norm.{kind}"] for kind in ("weight", "bias", "running_mean", "running_var")
        )
        y = self.conv(x, name, stride, padding)
        return F.batch_norm(y, mean, variance, weight, bias, training=False, eps=1e-5)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return self.apply(F.linear, x, name)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """P2 to P6."""
        body = "backbone.bottom_up."
        x = F.max_pool2d(self.normed(x, body + "stem.conv1", 2, 3).relu(), 3, 2, 1)
        stages = {}
        for stage, blocks in BLOCKS.items():
            for block in range(blocks):
                # STRIDE_IN_1X1, as in Caffe2's ImageNet weights
                stride = 2 if block == 0 and stage > 2 else 1
                name = f"{body}res{stage}.{block}."
                y = self.normed(x, name + "conv1", stride).relu()
                y = self.normed(self.normed(y, name + "conv2", 1, 1).relu(), name + "conv3")
                x = (y + (self.normed(x, name + "shortcut", stride) if block == 0 else x)).relu()
            stages[stage] = x
        levels: list[Tensor] = []
        top = None
        for stage in reversed(LEVELS):
            lateral = self.conv(stages[stage], f"backbone.fpn_lateral{stage}")
            top = lateral if top is None else lateral + F.interpolate(top, scale_factor=2.0, mode="nearest")
            levels.insert(0, self.conv(top, f"backbone.fpn_output{stage}", padding=1))
        return [*levels, F.max_pool2d(levels[-1], kernel_size=1, stride=2)]

    def rpn(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, A) and deltas (N, A, 4) of a level: rows, columns, anchors."""
        head = "proposal_generator.rpn_head."
        shared = self.conv(level, head + "conv", padding=1).relu()
        logits = self.conv(shared, head + "objectness_logits").permute(0, 2, 3, 1).flatten(1)
        deltas = self.conv(shared, head + "anchor_deltas")
        count, _, height, width = deltas.shape
        return logits, deltas.view(count, -1, 4, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)

    def box_head(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, K + 1) with the background last, and deltas (R, 4 * K)."""
        x = self.linear(pooled.flatten(1), "roi_heads.box_head.fc1").relu()
        x = self.linear(x, "roi_heads.box_head.fc2").relu()
        return self.linear(x, "roi_heads.box_predictor.cls_score"), self.linear(x, "roi_heads.box_predictor.bbox_pred")

    def mask_head(self, pooled: Tensor) -> Tensor:
        """Logits (R, K, 28, 28)."""
        head = "roi_heads.mask_head."
        for index in range(1, 5):
            pooled = self.conv(pooled, f"{head}mask_fcn{index}", padding=1).relu()
        return self.conv(self.apply(F.conv_transpose2d, pooled, head + "deconv", 2).relu(), head + "predictor")


def anchors(size: float, height: int, width: int, stride: int) -> Tensor:
    """Of a level of height x width cells: (A, 4), rows, columns, ratios; not rounded."""
    cells = []
    for ratio in (0.5, 1.0, 2.0):
        w = math.sqrt(size**2 / ratio)
        h = ratio * w
        cells.append([-w / 2, -h / 2, w / 2, h / 2])
    y, x = torch.meshgrid(torch.arange(height) * stride, torch.arange(width) * stride, indexing="ij")
    shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4).float()
    return (shifts + torch.tensor(cells)).reshape(-1, 4)


def decode(boxes: Tensor, deltas: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes (R, 4) with deltas (R, ..., 4) applied."""
    boxes = boxes.view(-1, *[1] * (deltas.ndim - 2), 4)
    size = boxes[..., 2:] - boxes[..., :2]
    center = boxes[..., :2] + 0.5 * size
    deltas = deltas / torch.tensor(weights)
    center = deltas[..., :2] * size + center
    size = deltas[..., 2:].clamp(max=math.log(1000.0 / 16)).exp() * size
    return torch.cat([center - 0.5 * size, center + 0.5 * size], -1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    return torch.minimum(boxes.clamp(min=0), torch.tensor([width, height, width, height], dtype=boxes.dtype))


def propose(logits: list[Tensor], boxes: list[Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Proposals of an image and their logits, highest first; takes what each level gives, (A,) and (A, 4)."""
    chosen = [level.topk(min(1000, len(level))) for level in logits]
    scores = torch.cat([best.values for best in chosen])
    proposals = torch.cat([level[best.indices] for level, best in zip(boxes, chosen, strict=True)])
    ids = torch.cat([torch.full_like(best.indices, index) for index, best in enumerate(chosen)])
    proposals = clip(proposals, height, width)
    keep = ((proposals[:, 2:] - proposals[:, :2]) > 0).all(1)
    proposals, scores, ids = proposals[keep], scores[keep], ids[keep]
    keep = batched_nms(proposals, scores, ids, 0.7)[:1000]
    return proposals[keep], scores[keep]


def pool(levels: list[Tensor], boxes: Tensor, images: Tensor, size: int) -> Tensor:
    """ROIAlignV2: boxes (R, 4) of images (R,) from P2 to P5: (R, C, size, size)."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    assigned = (4 + torch.log2(sides / 224 + 1e-8)).floor().clamp(2, 5)
    pooled = torch.zeros(len(boxes), levels[0].shape[1], size, size)
    for level in LEVELS:
        rows = torch.nonzero(assigned == level)[:, 0]
        regions = torch.cat([images[rows, None].float(), boxes[rows]], 1)
        pooled[rows] = roi_align(levels[level - 2], regions, size, 1 / 2**level, sampling_ratio=0, aligned=True)
    return pooled


def detect(proposals: Tensor, logits: Tensor, deltas: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Detections of an image: boxes (N, 4), classes (N,) without the background, scores (N,)."""
    scores = logits.softmax(-1)[:, :-1]
    boxes = clip(decode(proposals, deltas.view(len(deltas), -1, 4), (10, 10, 5, 5)), height, width)
    regions, classes = torch.nonzero(scores > 0.05, as_tuple=True)
    boxes, scores = boxes[regions, classes], scores[regions, classes]
    keep = batched_nms(boxes, scores, classes, 0.5)[:100]
    return boxes[keep], classes[keep], scores[keep]


def network(layers: Layers) -> dict[str, np.ndarray]:
    """All stages on a photograph in a canvas that it does not fill."""
    name, y, x, height, width = CROP
    image = read_image(name)[y : y + height, x : x + width]
    canvas = torch.zeros(1, 3, math.ceil(height / 32) * 32, math.ceil(width / 32) * 32)
    bgr = torch.from_numpy(image[:, :, ::-1].transpose(2, 0, 1).copy()).float()
    canvas[0, :, :height, :width] = bgr - torch.tensor(PIXEL_MEAN)[:, None, None]

    pyramid = layers.pyramid(canvas)
    layers.rpn(pyramid[2])  # calibrates on P4
    rpn = [layers.rpn(level) for level in pyramid]
    boxes = []
    for index, (level, (_, deltas)) in enumerate(zip(pyramid, rpn, strict=True)):
        of_level = anchors(32 * 2**index, *level.shape[2:], 4 * 2**index)
        boxes.append(decode(of_level, deltas[0], (1, 1, 1, 1)))
    proposals, objectness = propose([logits[0] for logits, _ in rpn], boxes, height, width)

    zeros = torch.zeros(len(proposals), dtype=torch.int64)
    logits, deltas = layers.box_head(pool(pyramid, proposals, zeros, 7))
    found, classes, scores = detect(proposals, logits, deltas, height, width)
    masks = layers.mask_head(pool(pyramid, found, zeros[: len(found)], 14))
    masks = masks[torch.arange(len(found)), classes].sigmoid()
    sides = ((found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1])).sqrt()
    print(f"{len(proposals)} proposals, {len(found)} detections of classes {classes.unique(return_counts=True)}")
    print(f"scores {scores.min():.2f} ({scores.median():.2f}) {scores.max():.2f}, logits {objectness[[0, -1]]}")
    print("levels", (4 + torch.log2(sides / 224 + 1e-8)).floor().clamp(2, 5).unique(return_counts=True))
    print("mask pixels", (masks >= 0.5).float().mean(), "pyramid", [level.std().item() for level in pyramid])
    assert len(found) >= 40
    assert len(classes.unique()) == DETECTRON2_CLASSES

    arrays = {
        "images": np.array([name]),
        "crops": np.array([[*CROP[1:], 1]], np.int32),
        "images_crc32": np.array([zlib.crc32(np.ascontiguousarray(image).tobytes())], np.uint32),
        "sizes": np.array([[height, width]], np.int32),
        "canvas": np.array(canvas.shape[2:], np.int32),
        "proposals_0": proposals.numpy(),
        "boxes_0": found.numpy(),
        "labels_0": classes.numpy().astype(np.uint8),
        "scores_0": scores.numpy(),
        "mask_probs_0": masks.numpy().astype(np.float16),
    }
    sampled = {f"p{index}": level.permute(0, 2, 3, 1) for index, level in enumerate(pyramid, start=2)}
    sampled["rpn_logits"] = torch.cat([logits for logits, _ in rpn], 1)
    sampled["rpn_deltas"] = torch.cat([deltas for _, deltas in rpn], 1)
    for key, values in sampled.items():
        flat = values.reshape(-1).numpy()
        arrays[key + "_sample"], arrays[key + "_max"] = flat[sample_positions(flat.size)], np.abs(flat).max()
    return arrays


def pooling() -> dict[str, np.ndarray]:
    """RoIAlign of regions of all sizes, also beyond the edges, from `random_weights.random_levels`."""
    rng = np.random.Generator(np.random.PCG64(3))
    sides = np.exp(rng.uniform(np.log(1), np.log(600), (60, 2)))
    sides[::3] = rng.uniform(100, 700, (20, 2))
    centers = rng.uniform((0, 0), (768, 512), (60, 2))
    boxes = np.concatenate([centers - sides / 2, centers + sides / 2], 1).astype(np.float32)
    boxes[:40] = boxes[:40].clip(0, [768, 512, 768, 512])
    images = rng.integers(0, 2, 60)
    levels = [torch.from_numpy(level.transpose(0, 3, 1, 2).copy()) for level in random_levels()]
    pooled = pool(levels, torch.from_numpy(boxes), torch.from_numpy(images), 7).permute(0, 2, 3, 1)
    return {"pooling_boxes": boxes, "pooling_images": images.astype(np.uint8), "pooled": pooled.numpy()}


def main() -> None:
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    calibration: dict[str, np.ndarray] = {}
    network(Layers(detectron2_state_dict({}), calibration))
    np.savez_compressed(DETECTRON2_CALIBRATION, **calibration)
    np.savez_compressed(
        CALIBRATION.parent / "expected" / "detectron2.npz", **network(Layers(detectron2_state_dict())), **pooling()
    )


if __name__ == "__main__":
    main()
