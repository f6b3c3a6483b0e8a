"""What each engine finds in each precision, against the square float32 Keras engine on the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2

from benchmarks import coco, footage, models
from benchmarks.footage import ROOT, Image
from benchmarks.matching import agreement
from benchmarks.measuring import RowReport, Spread, Value, at_least
from benchmarks.models import Weights
from benchmarks.options import Options
from pipeline.errors import StreamSegmentError
from pipeline.records import Instances

TITLE = "objects found as the square float32 Keras engine finds them (class, box IoU at least 0.9)"
PHOTOGRAPHS = ROOT / "tests" / "data" / "oracle" / "images"
PERCENT = {"float32": 97, "bfloat16": 95, "float16": 95, "int8": 90}
TIGHT_PERCENT = 90
"""With the canvas that is padded to multiples of 64 only."""
MAX_DIM = 512
AP_LOSS = 0.5
"""Points of AP that an engine may lose."""


def measure(options: Options) -> RowReport:
    """ResNet-101 at 512 px and the small model; the latter also with its AP where annotated photographs are given."""
    values: list[Value] = []
    missing: list[str] = []
    settings: dict[str, Any] = {}
    cases = (
        ("ResNet-101", models.resnet101(options), MAX_DIM, photographs(3 if options.quick else 9)),
        ("small model", models.small(), None, footage.frames(10 if options.quick else 40, (640, 360), every=7)),
    )
    for name, weights, max_dim, pictures in cases:
        reference = found_by(models.keras_square(weights, max_dim), pictures)
        settings[name] = {"weights": weights.what, "frames": len(pictures), "objects": sum(map(len, reference))}
        for label, model, least in variants(weights, max_dim):
            try:
                matched = agreement(zip(reference, found_by(model, pictures), strict=True))
            except StreamSegmentError as error:
                missing.append(f"{name}, {label}: not measured: {error}")
                continue
            note = f"{matched.matched} matched of {matched.wanted} and {matched.found}"
            values.append(Value(f"{name}: {label}", Spread.one(matched.share), "%", at_least(least), note))
    values += average_precision(options, missing)
    return RowReport("accuracy", TITLE, values, settings, missing)


def variants(weights: Weights, max_dim: int | None) -> list[tuple[str, dict[str, Any], float]]:
    """Name, settings and least share in percent of every engine in every precision, and of the tight canvas."""
    square = models.keras_square(weights, max_dim)
    keras = {**square, "canvas": "tight"}
    found: list[tuple[str, dict[str, Any], float]] = [("keras float32, padded to 64", keras, TIGHT_PERCENT)]
    for engine in models.choices("engine"):
        for precision in models.choices("precision"):
            if (engine, precision) != ("keras", "float32"):
                model = {**square, "engine": engine, "precision": precision}
                found.append((f"{engine} {precision}, square", model, PERCENT.get(precision, TIGHT_PERCENT)))
    return found


def photographs(count: int) -> list[Image]:
    """The test suite's photographs, then frames of the sample."""
    found = [cv2.imread(str(path)) for path in sorted(PHOTOGRAPHS.glob("*.jpg"))]
    found = [image for image in found if image is not None]
    return (found + footage.frames(max(0, count - len(found)), (640, 360), every=45))[:count]


def found_by(model: dict[str, Any], pictures: Sequence[Image]) -> list[Instances]:
    """What a model finds on each picture."""
    with models.opened(model) as segmenter:
        return [segmenter.segment(picture) for picture in pictures]


def average_precision(options: Options, missing: list[str]) -> list[Value]:
    """Mask AP50 of the small model in every engine and precision, as points lost against the reference."""
    if options.coco_images is None or options.coco_annotations is None:
        missing.append("mask AP of the small model: not measured: give --coco-images and --coco-annotations")
        return []
    weights = models.small()
    reference = coco.mask_ap50(models.keras_square(weights, None), options.coco_images, options.coco_annotations)
    values = [Value("small model: mask AP50 of the reference", Spread.one(100 * reference), "points")]
    for label, model, _ in variants(weights, None):
        try:
            ap50 = coco.mask_ap50(model, options.coco_images, options.coco_annotations)
        except StreamSegmentError:
            continue  # said above
        lost = 100 * (reference - ap50)
        note = f"AP50 {100 * ap50:.1f}"
        values.append(
            Value(f"small model: {label}, mask AP50 against it", Spread.one(-lost), "points", at_least(-AP_LOSS), note)
        )
    return values
