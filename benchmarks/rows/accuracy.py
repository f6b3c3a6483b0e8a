"""The detections of each engine in each precision, against the square float32 Keras engine on the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks import coco, footage, models
from benchmarks.agreement_targets import OTHER_CANVAS_IOU, OTHER_CANVAS_PERCENT, PERCENT, SAME_CANVAS_IOU
from benchmarks.footage import Image
from benchmarks.measuring import RowReport, Spread, Value, at_least, at_most
from benchmarks.models import Weights
from benchmarks.options import Options
from pipeline.errors import StreamSegmentError
from pipeline.evaluation.agreement import agreement
from pipeline.records import Instances

TITLE = "objects found as the square float32 Keras engine finds them"
MAX_DIM = 512
SEEDED = (
    "seeded weights: the last bits of nearly equal scores decide about their detections, so only float32 has a target; "
    "so does the padding, so other canvases are not measured"
)
RESNET_PICTURES = 20
"""For ResNet-101, which is slow."""
SEEDED_PICTURES = 6
"""For seeded weights, which detect many objects in each."""
SHIFTED_PICTURES = 20
"""For int8 beside a shift of the picture: in these, seeded weights find more than 500 objects."""
SHIFT_TARGET = at_most(1.2)
AP_LOSS = 0.5
"""Points of AP that an engine may lose."""


@dataclass(frozen=True)
class Variant:
    """An engine that is compared with the reference.

    Attributes:
        label: of the row.
        model: its settings.
        iou_threshold: least box IoU of the same object.
        percent: least F1; None without a promise.
    """

    label: str
    model: dict[str, Any]
    iou_threshold: float
    percent: int | None


def measure(options: Options) -> RowReport:
    """ResNet-101 at 512 px and the small model; the latter also with its AP where annotated photographs are given."""
    values: list[Value] = []
    missing: list[str] = []
    settings: dict[str, Any] = {}
    resnet = models.resnet101(options)
    cases = (
        (
            "ResNet-101",
            resnet,
            MAX_DIM,
            footage.photographs(
                options.coco_images, 2 if options.quick else SEEDED_PICTURES if resnet.seeded else RESNET_PICTURES
            ),
            not resnet.seeded,
        ),
        (
            "small model",
            models.small(),
            None,
            footage.photographs(options.coco_images, 10 if options.quick else footage.PICTURES),
            True,
        ),
    )
    for name, weights, max_dim, pictures, trained in cases:
        reference = found_by(models.keras_square(weights, max_dim), pictures)
        settings[name] = {"weights": weights.what, "frames": len(pictures), "objects": sum(map(len, reference))}
        for variant in variants(weights, max_dim, trained):
            try:
                found = found_by(variant.model, pictures)
            except StreamSegmentError as error:
                if "has no precision" not in str(error):
                    missing.append(f"{name}, {variant.label}: not measured: {error}")
                continue
            matched = agreement(reference, found, variant.iou_threshold)
            target = None if variant.percent is None else at_least(variant.percent)
            note = f"box IoU at least {variant.iou_threshold:g}, {matched.text}"
            values.append(Value(f"{name}: {variant.label}", Spread.one(100 * matched.f1), "%", target, note))
    values += shift_values(
        resnet, [*footage.photographs(options.coco_images, 2 if options.quick else SHIFTED_PICTURES)]
    )
    values += average_precision(options, missing)
    if resnet.seeded:
        missing.append(SEEDED)
    return RowReport("accuracy", TITLE, values, settings, missing)


def variants(weights: Weights, max_dim: int | None, trained: bool = True) -> list[Variant]:
    """Every engine in every precision of processors on the square canvas, and, of a trained network, Keras on the other
    canvases."""
    square = models.keras_square(weights, max_dim)
    found = []
    if trained:
        for label, canvas in (("canvas padded to 64", "pad64"), ("tight canvas", "tight")):
            model = {**square, "canvas": canvas}
            found.append(Variant(f"keras float32, {label}", model, OTHER_CANVAS_IOU, OTHER_CANVAS_PERCENT))
    for engine in models.choices("engine"):
        for precision in models.choices("precision"):
            if engine != "keras":  # whose half precisions are for GPUs
                model = {**square, "engine": engine, "precision": precision}
                percent = PERCENT[precision] if trained or precision == "float32" else None
                found.append(Variant(f"{engine} {precision}", model, SAME_CANVAS_IOU, percent))
    return found


def found_by(model: dict[str, Any], pictures: Sequence[Image]) -> list[Instances]:
    """The detections of a model on each picture."""
    with models.opened(model) as segmenter:
        return [segmenter.segment_batch([picture])[0] for picture in pictures]


def shift_values(weights: Weights, pictures: Sequence[Image]) -> list[Value]:
    """How much of what ResNet-101 finds changes with int8, and with float32 when the picture is moved by a pixel.

    A network that does not agree with itself on the same scene one pixel further says little about int8: the quotient
    of both disagreements does.
    """
    exact = models.settings_for(weights, MAX_DIM, engine="openvino", precision="float32")
    if "int8" not in models.precisions(exact):
        return []
    reference = found_by(exact, pictures)
    moved = [_moved(found, -1.0) for found in found_by(exact, [_shifted(picture) for picture in pictures])]
    shares = {}
    for label, found in (
        ("float32, moved by a pixel", moved),
        ("int8", found_by({**exact, "precision": "int8"}, pictures)),
    ):
        shares[label] = agreement(reference, found, SAME_CANVAS_IOU)
    values = [
        Value(f"ResNet-101: {label}, against float32", Spread.one(100 * matched.f1), "%", None, matched.text)
        for label, matched in shares.items()
    ]
    apart = [1 - matched.f1 for matched in shares.values()]
    if apart[0] > 0:
        name = "ResNet-101: disagreement of int8, over that of float32 moved by a pixel"
        values.append(Value(name, Spread.one(apart[1] / apart[0]), "x", SHIFT_TARGET))
    return values


def _shifted(picture: Image) -> Image:
    """The picture moved to the right by a pixel; its first column stays."""
    return np.concatenate([picture[:, :1], picture[:, :-1]], axis=1)


def _moved(found: Instances, x: float) -> Instances:
    return replace(found, boxes_xyxy=found.boxes_xyxy + np.array([x, 0, x, 0], np.float32))


def average_precision(options: Options, missing: list[str]) -> list[Value]:
    """Mask AP of the small model in every engine and precision, as points lost against the reference."""
    if options.coco_images is None or options.coco_annotations is None:
        missing.append("mask AP of the small model: not measured: give --coco-images and --coco-annotations")
        return []
    weights = models.small()
    reference = coco.mask_ap(models.keras_square(weights, None), options.coco_images, options.coco_annotations)
    values = [
        Value(f"small model: mask {kind} of the reference", Spread.one(100 * share), "points")
        for kind, share in reference.items()
    ]
    for variant in variants(weights, None):
        try:
            found = coco.mask_ap(variant.model, options.coco_images, options.coco_annotations)
        except StreamSegmentError:
            continue  # reported above
        for kind, share in found.items():
            name = f"small model: {variant.label}, mask {kind} against it"
            gained, note = Spread.one(100 * (share - reference[kind])), f"{kind} {100 * share:.1f}"
            values.append(Value(name, gained, "points", at_least(-AP_LOSS), note))
    return values
