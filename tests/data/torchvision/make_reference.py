"""Record what torchvision's Mask R-CNNs compute from the weights of random_weights.py: expected/FLAVOR_CASE.npz.

    pip install torch==2.14.1 torchvision==0.29.1 pillow
    python make_calibration.py                          # only if random_weights.py has changed
    python make_reference.py                            # five minutes on two cores

README.md describes the arrays. The script ends with an error unless the recorded detections can decide whether two
networks are the same: enough of them, of many classes, pooled from all levels, the same in float64 as in float32, and
others once a setting is slightly wrong.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from make_calibration import as_tensor, build_model, read_image
from random_weights import FLAVORS, sample_positions, state_dict
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_iou

EXPECTED = Path(__file__).with_name("expected")


@dataclass(frozen=True)
class Case:
    """Images that one call of the model gets.

    Attributes:
        name: of the file.
        images: (photograph, y, x, height, width, repeat): a part of it, each pixel repeated along both axes.
        min_size: shorter side after resizing, pixels.
        max_size: upper limit of the longer side, pixels.
    """

    name: str
    images: tuple[tuple[str, int, int, int, int, int], ...]
    min_size: int
    max_size: int

    def pixels(self) -> list[np.ndarray]:
        """The images: uint8 (H, W, 3), RGB."""
        parts = []
        for photograph, y, x, height, width, repeat in self.images:
            part = read_image(photograph)[y : y + height, x : x + width]
            assert part.shape == (height, width, 3)
            parts.append(part.repeat(repeat, 0).repeat(repeat, 1))
        return parts


STREET, DOG, FIELD = "000000184324", "000000377575", "000000423617"

CASES = (
    Case("landscape", ((STREET, 9, 20, 416, 608, 1),), 416, 608),
    Case("portrait", ((DOG, 20, 10, 613, 409, 2),), 409, 640),
    Case("pair", ((FIELD, 40, 16, 416, 608, 1), (STREET, 0, 0, 416, 608, 1)), 416, 608),
    Case("mixed", ((DOG, 15, 4, 608, 416, 1), (FIELD, 40, 16, 416, 608, 1)), 416, 608),
    Case("enlarged", ((FIELD, 0, 140, 480, 360, 1),), 460, 640),
    Case("full", ((STREET, 12, 40, 400, 544, 2),), 800, 1333),
)
"""What README.md says of them. Resizing is the identity, or gives whole numbers since four equal pixels become one,
except in "enlarged"."""

ONLY_INPUT = "enlarged"
"""The case whose pixels a program that resizes uint8 only has up to rounding. Only its input and boxes are recorded."""

STABILITY = "landscape"
"""The case that is also computed in float64 and with wrong settings."""


@dataclass(frozen=True)
class Outputs:
    """What the stages of a model give for a case: tensors of torchvision's shapes and orders."""

    images: ImageList
    pyramid: list[Tensor]
    rpn_logits: Tensor
    rpn_deltas: Tensor
    proposals: list[Tensor]
    objectness: list[Tensor]
    detections: list[dict[str, Tensor]]
    results: list[dict[str, Tensor]]


def compute(model: MaskRCNN, photographs: Sequence[np.ndarray]) -> Outputs:
    """Run a model stage by stage."""
    dtype = next(model.parameters()).dtype
    inputs = [as_tensor(image).to(dtype) for image in photographs]
    images, _ = model.transform(inputs)
    pyramid = model.backbone(images.tensors)
    rpn = model.rpn
    logits, deltas = rpn.head(list(pyramid.values()))
    counts = [level[0].numel() for level in logits]
    logits, deltas = concat_box_prediction_layers(logits, deltas)
    anchors = rpn.anchor_generator(images, list(pyramid.values()))
    boxes = rpn.box_coder.decode(deltas, anchors).view(len(inputs), -1, 4)
    proposals, objectness = rpn.filter_proposals(boxes, logits, images.image_sizes, counts)
    detections, _ = model.roi_heads(pyramid, proposals, images.image_sizes)
    detections = [dict(found) for found in detections]  # the next step replaces their entries
    sizes = [image.shape[:2] for image in photographs]
    results = model.transform.postprocess([dict(found) for found in detections], images.image_sizes, sizes)
    return Outputs(
        images,
        list(pyramid.values()),
        logits.view(len(inputs), -1),
        deltas.view(len(inputs), -1, 4),
        proposals,
        objectness,
        detections,
        results,
    )


def record(case: Case, photographs: list[np.ndarray], outputs: Outputs) -> dict[str, np.ndarray]:
    """The arrays that README.md lists."""
    arrays = {
        "images": np.array([name for name, *_ in case.images]),
        "crops": np.array([crop for _, *crop in case.images], np.int32),
        "images_crc32": np.array([zlib.crc32(image.tobytes()) for image in photographs], np.uint32),
        "limits": np.array([case.min_size, case.max_size], np.int32),
        "sizes": np.array(outputs.images.image_sizes, np.int32),
        "canvas": np.array(outputs.images.tensors.shape[2:], np.int32),
        "input_sample": _sample(outputs.images.tensors.permute(0, 2, 3, 1)),
        "rpn_logits_sample": _sample(outputs.rpn_logits),
        "rpn_logits_max": _largest(outputs.rpn_logits),
        "rpn_deltas_sample": _sample(outputs.rpn_deltas),
        "rpn_deltas_max": _largest(outputs.rpn_deltas),
    }
    for level, values in enumerate(outputs.pyramid, start=2):
        arrays[f"p{level}_sample"] = _sample(values.permute(0, 2, 3, 1))
        arrays[f"p{level}_max"] = _largest(values)
    for index, found in enumerate(outputs.detections):
        suffix = f"_{index}"
        arrays["proposals" + suffix] = outputs.proposals[index].numpy()
        arrays["objectness" + suffix] = outputs.objectness[index].numpy()
        arrays["boxes" + suffix] = found["boxes"].numpy()
        arrays["labels" + suffix] = found["labels"].numpy().astype(np.uint8)
        arrays["scores" + suffix] = found["scores"].numpy()
        arrays["mask_probs" + suffix] = found["masks"][:, 0].numpy().astype(np.float16)
        arrays["image_boxes" + suffix] = outputs.results[index]["boxes"].numpy()
    if case.name == ONLY_INPUT:
        kept = ("images", "crops", "limits", "sizes", "canvas", "input_", "boxes_", "image_boxes_")
        return {name: values for name, values in arrays.items() if name.startswith(kept)}
    return arrays


def _sample(values: Tensor) -> np.ndarray:
    flat = values.reshape(-1).numpy()
    return flat[sample_positions(flat.size)]


def _largest(values: Tensor) -> np.ndarray:
    return np.array(values.abs().max().item(), np.float32)


def levels(boxes: Tensor) -> list[int]:
    """The pyramid levels that boxes are pooled from."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (4 + torch.log2(areas.sqrt() / 224) + 1e-6).floor().clamp(2, 5).int().tolist()


def matched(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Share of the expected detections that have one of the same class, IoU 0.95 and score within 0.01 in `found`."""
    same = box_iou(expected["boxes"].double(), found["boxes"].double()) >= 0.95
    same &= expected["labels"][:, None] == found["labels"][None]
    same &= (expected["scores"][:, None] - found["scores"][None]).abs() <= 0.01
    return same.any(1).double().mean().item()


def check_case(name: str, outputs: Outputs) -> tuple[set[int], Counter[int]]:
    """Print and check what was found; returns the classes and the number of detections by level."""
    classes, counts = set(), Counter()
    for found, proposals in zip(outputs.detections, outputs.proposals, strict=True):
        by_level = Counter(levels(found["boxes"]))
        labels, scores = set(found["labels"].tolist()), found["scores"]
        print(
            f"{name}: {len(proposals)} proposals, {len(scores)} detections of {len(labels)} classes, scores "
            f"{scores.min():.2f} ({scores.median():.2f}) {scores.max():.2f}, levels {dict(sorted(by_level.items()))}, "
            f"mask pixels {(found['masks'] >= 0.5).double().mean():.2f}",
            flush=True,
        )
        assert len(scores) >= 15
        classes |= labels
        counts += by_level
    return classes, counts


def check_stability(flavor: str, arrays: dict[str, np.ndarray], case: Case, outputs: Outputs) -> None:
    """Rounding must not decide what is found; eps and the canvas' border must."""
    settings = {"min_size": case.min_size, "max_size": case.max_size}
    exact = compute(build_model(flavor, arrays, **settings).double(), case.pixels())
    for single, double in zip(outputs.detections, exact.detections, strict=True):
        share = matched(double, single)
        print(f"{flavor}_{case.name}: float64 finds {share:.1%}; pyramid differs by {_difference(outputs, exact):.1e}")
        assert share == 1
    wrong = build_model(flavor, arrays, **settings)
    overwrite_eps(wrong, 1e-5 if flavor == "v1" else 1e-3)
    if flavor == "v2":
        for module in wrong.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 1e-3
    other = compute(wrong, case.pixels())
    share = matched(other.detections[0], outputs.detections[0])
    print(f"{flavor}_{case.name}: a wrong eps finds {share:.1%}; pyramid differs by {_difference(outputs, other):.1e}")
    assert _difference(outputs, other) > 3e-3


def _difference(outputs: Outputs, other: Outputs) -> float:
    """Largest difference of a pyramid level, relative to its largest value."""
    pairs = zip(outputs.pyramid, other.pyramid, strict=True)
    return max(((a.double() - b.double()).abs().max() / a.abs().max()).item() for a, b in pairs)


def main() -> None:
    torch.set_num_threads(2)
    torch.set_grad_enabled(False)
    EXPECTED.mkdir(exist_ok=True)
    for flavor in FLAVORS:
        arrays = state_dict(flavor)
        classes, counts = set(), Counter()
        for case in CASES:
            model = build_model(flavor, arrays, min_size=case.min_size, max_size=case.max_size)
            photographs = case.pixels()
            outputs = compute(model, photographs)
            found, by_level = check_case(f"{flavor}_{case.name}", outputs)
            classes, counts = classes | found, counts + by_level
            for whole, staged in zip(model([as_tensor(image) for image in photographs]), outputs.results, strict=True):
                assert all(torch.equal(whole[key], staged[key]) for key in whole)
            if case.name == STABILITY:
                check_stability(flavor, arrays, case, outputs)
            np.savez_compressed(EXPECTED / f"{flavor}_{case.name}.npz", **record(case, photographs, outputs))
        print(f"{flavor}: {len(classes)} classes, detections by level {dict(sorted(counts.items()))}")
        assert len(classes) >= 10
        assert set(counts) == {2, 3, 4, 5}


if __name__ == "__main__":
    main()
