"""The comparison with torchvision's numbers fails where something is slightly wrong; the numbers can decide; canvases
hold what torchvision's networks got."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrcnn.architecture import ARCHITECTURES
from mrcnn.config import Config
from pipeline.segmentation.canvas import fit_canvas
from pipeline.settings.model_settings import Canvas
from tests.mrcnn.torchvision_reference import (
    CASES,
    ENLARGED,
    FLAVORS,
    Agreement,
    compare_detections,
    compare_proposals,
    load_reference,
    pooled_levels,
    random_weights,
)

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
"""Of torchvision's input: ((RGB / 255) - MEAN) / STD."""


@pytest.fixture(params=FLAVORS)
def reference(request):
    return load_reference(request.param, "landscape")


def fails(agreement: Agreement) -> bool:
    try:
        agreement.check()
    except AssertionError:
        return True
    return False


def test_the_reference_agrees_with_itself_in_any_order(reference):
    expected = reference.detections(0)
    order = np.arange(len(expected.boxes))[::-1]
    found = replace(expected, **{name: values[order] for name, values in vars(expected).items()})
    agreement = compare_detections(expected, found)
    assert agreement == Agreement(len(order), len(order), len(order))
    agreement.check()
    compare_proposals(reference.proposals(0), reference.proposals(0)[::-1]).check()


@pytest.mark.parametrize(
    "change",
    [
        lambda it: replace(it, boxes=it.boxes + (it.boxes[:, 3:] - it.boxes[:, 1:2]) * [0, 0.03, 0, 0.03]),
        lambda it: replace(it, boxes=it.boxes[:, [1, 0, 3, 2]]),
        lambda it: replace(it, class_ids=np.roll(it.class_ids, 1)),
        lambda it: replace(it, class_ids=np.where(np.arange(len(it.class_ids)) < 2, 1, it.class_ids)),
        lambda it: replace(it, scores=it.scores - 0.02),
        lambda it: replace(it, **{name: values[2:] for name, values in vars(it).items()}),
        lambda it: replace(it, **{name: np.concatenate([values, values[:2]]) for name, values in vars(it).items()}),
        lambda it: replace(it, mask_probs=it.mask_probs.transpose(0, 2, 1)),
        lambda it: replace(it, mask_probs=np.roll(it.mask_probs, 1, axis=2)),
    ],
    ids=[
        "shifted",
        "transposed",
        "classes",
        "two classes",
        "scores",
        "two fewer",
        "two more",
        "masks",
        "shifted masks",
    ],
)
def test_slightly_wrong_detections_fail(reference, change):
    assert fails(compare_detections(reference.detections(0), change(reference.detections(0))))


@pytest.mark.parametrize(
    "change",
    [
        lambda boxes: boxes + np.array([0, 4, 0, 4]),
        lambda boxes: boxes * 1.06,
        lambda boxes: boxes[: len(boxes) * 96 // 100],
        lambda boxes: np.concatenate([boxes, boxes[:40]]),
    ],
    ids=["shifted", "larger", "fewer", "more"],
)
def test_slightly_wrong_proposals_fail(reference, change):
    assert fails(compare_proposals(reference.proposals(0), change(reference.proposals(0))))


def test_the_difference_of_a_tensor_is_relative_to_its_largest_value(reference):
    """P5 of which all but the recorded values are NaN, and the recorded ones are off by a hundredth of the largest."""
    height, width = (side // 32 for side in reference.images.shape[1:3])
    values = np.full(height * width * 256, np.nan, np.float32)
    values[random_weights().sample_positions(values.size)] = reference.arrays["p5_sample"]
    assert reference.difference("p5", values.reshape(1, height, width, 256)) == 0
    values -= 0.01 * reference.arrays["p5_max"]
    assert reference.difference("p5", values) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_the_reference_is_of_many_classes_scores_and_levels(flavor):
    """What a comparison can find depends on it."""
    classes, levels = set(), set()
    for case in CASES:
        reference = load_reference(flavor, case)
        for index in range(len(reference.images)):
            found = reference.detections(index)
            assert len(found.boxes) >= 15
            assert len(reference.proposals(index)) == 1000
            assert found.scores.min() < 0.15
            assert found.scores.max() > 0.9
            classes |= set(found.class_ids.tolist())
            levels |= set(pooled_levels(found.boxes).tolist())
    assert len(classes) >= 60
    assert levels == {2, 3, 4, 5}


@pytest.mark.parametrize("case", [*CASES, ENLARGED])
def test_canvases_hold_what_torchvision_resized(case):
    """At the recorded positions; "enlarged" up to rounding. The padding is torchvision's zero after normalization."""
    reference = load_reference("v1", case)
    images = reference.images.astype(np.float64)
    for image, (_, _, height, width) in zip(images, reference.windows, strict=True):
        image[height:] = image[:, width:] = 255 * MEAN
    positions = random_weights().sample_positions(images.size)
    inputs = (reference.arrays["input_sample"] * STD[positions % 3] + MEAN[positions % 3]) * 255
    differences = np.abs(inputs - images.reshape(-1)[positions])
    assert differences.max() < (1.01 if case == ENLARGED else 1e-3)
    assert differences.mean() < (0.27 if case == ENLARGED else 1e-4)


@pytest.mark.parametrize("case", [*CASES, ENLARGED])
@pytest.mark.parametrize("architecture", ["torchvision", "torchvision_v2"])
def test_the_program_fits_canvases_and_places_boxes_as_torchvision_does(case, architecture):
    """Canvases of one image: torchvision pads a batch to its largest."""
    arrays = load_reference("v1", case).arrays
    limits = dict(zip(("IMAGE_MIN_DIM", "IMAGE_MAX_DIM"), arrays["limits"].tolist(), strict=True))
    settings = {**ARCHITECTURES[architecture].settings, **limits, "ARCHITECTURE": architecture}
    config = type("Limited", (Config,), settings)()
    for index, (size, (_, _, height, width, repeat)) in enumerate(
        zip(*(arrays[name].tolist() for name in ("sizes", "crops")), strict=True)
    ):
        fit = fit_canvas(height * repeat, width * repeat, config, Canvas.TIGHT)
        assert fit.window == (0, 0, *size)
        boxes = fit.boxes_on_frame(arrays[f"boxes_{index}"][:, [1, 0, 3, 2]])
        np.testing.assert_allclose(boxes, arrays[f"image_boxes_{index}"], atol=1e-3)
        if len(arrays["sizes"]) == 1:
            assert fit.canvas_hw == tuple(arrays["canvas"].tolist())
