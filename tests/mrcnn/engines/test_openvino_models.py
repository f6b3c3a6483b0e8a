"""Rearranged graphs compute what they computed before."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from mrcnn.architecture import MATTERPORT
from mrcnn.engines.create import exported_parts
from mrcnn.engines.graph_engine import roi_windows
from mrcnn.engines.openvino_models import (
    POOLED,
    PYRAMID,
    STEM,
    join_stem,
    pad_in_pooling,
    piece_name,
    split_pooling,
    split_stem,
    write_out_softmax,
)
from mrcnn.engines.openvino_runtime import core
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.engines.compiled import run
from tests.mrcnn.tiny import tiny_image

pytestmark = ONCE

LEVEL_HWS = {"p2": (16, 24), "p3": (8, 12), "p4": (4, 6), "p5": (2, 3)}


def test_features_in_two_steps(tiny_files):
    model = core().read_model(exported_parts(*tiny_files)["features"])
    images = {"images": tiny_image(64, 96)[None]}
    before = run(model, images)
    stem, body = split_stem(model.clone())
    between = run(stem, images)
    assert between[STEM].shape == (1, 16, 24, 4)
    after = run(body, between)
    for name in PYRAMID:
        np.testing.assert_allclose(after[name], before[name].transpose(0, 2, 3, 1), atol=1e-5)
    for name in ("rpn_class_logits", "rpn_deltas"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-5)
    joined = run(join_stem(stem, body), images)
    assert set(joined) == set(after)
    for name, values in after.items():
        np.testing.assert_allclose(joined[name], values, atol=1e-5)


def test_features_without_a_mark_stay_in_one_piece(tiny_files):
    model = core().read_model(exported_parts(*tiny_files)["features"])
    images = {"images": tiny_image(64, 96)[None]}
    before = run(model, images)
    for node in model.get_ops():
        for output in node.outputs():
            output.get_tensor().set_names(output.get_names() - {STEM})
    stem, body = split_stem(model)
    assert stem is None
    np.testing.assert_allclose(run(body, images)["rpn_deltas"], before["rpn_deltas"], atol=1e-5)


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize(
    ("part", "size", "outputs"), [("boxes", 7, {"class_probs", "deltas"}), ("masks", 14, {"mask_probs"})]
)
def test_a_head_in_two_steps(pieces, part, size, outputs, tiny_files):
    """Regions on two levels, from both images; none on the other two levels. Some pieces hold one, others none."""
    rng = np.random.default_rng(4)
    levels = {name: rng.normal(0, 1, (2, 8, *hw)).astype(np.float32) for name, hw in LEVEL_HWS.items()}
    boxes = np.float32([[0.1, 0.2, 0.5, 0.9], [0, 0, 1, 1], [0.3, 0.3, 0.4, 0.8]])
    regions = {}
    for level, hw in zip((2, 3, 4, 5), LEVEL_HWS.values(), strict=True):
        chosen = boxes if level == 2 else boxes[1:] if level == 4 else boxes[:0]
        regions[f"windows{level}"] = roi_windows(chosen, hw, size, MATTERPORT)
        regions[f"images{level}"] = np.arange(len(chosen), dtype=np.int64) % 2
    others = {"class_ids": np.array([1, 2, 2, 1, 1])} if part == "masks" else {}
    model = core().read_model(exported_parts(*tiny_files)[part])
    expected = run(model, levels | regions | others)
    pooling, rest = split_pooling(model.clone(), pieces)
    lying = {name: np.ascontiguousarray(values.transpose(0, 2, 3, 1)) for name, values in levels.items()}
    assert list(pooling) == [2, 3, 4, 5]
    pooled = []
    for level, one in pooling.items():
        inputs = {f"p{level}": lying[f"p{level}"]}
        for name in (f"windows{level}", f"images{level}"):
            parts = np.array_split(regions[name], pieces)
            inputs |= {piece_name(name, index): piece for index, piece in enumerate(parts)}
        given = run(one, inputs)
        pooled.append(np.concatenate([given[piece_name(POOLED, index)] for index in range(pieces)]))
    assert [part.shape for part in pooled] == [(count, 8, size, size) for count in (3, 0, 2, 0)]
    pooled = np.concatenate(pooled)
    found = run(rest, {POOLED: pooled} | others)
    for name in outputs:
        assert expected[name].shape[0] == 5
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def padded_pooling(activation, begin, value=0.0):
    """A model of an activation, a Pad of one row and column at the end, and max pooling over 3 x 3 cells."""
    given = ops.parameter([1, 2, 6, 9], np.float32, name="given")
    padded = ops.pad(activation(given), [0, 0, *begin], [0, 0, 1, 1], "constant", np.float32(value))
    pooled = ops.max_pool(padded, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "floor", "explicit")
    pooled.output(0).get_tensor().set_names({"pooled"})
    given.output(0).get_tensor().set_names({"given"})
    return openvino.Model([ops.result(pooled.output(0))], [given], "padded")


@pytest.mark.parametrize(
    ("activation", "begin", "value", "pads"),
    [
        (ops.relu, (1, 1), 0, 0),
        (ops.relu, (0, 2), 0, 0),
        (ops.relu, (3, 1), 0, 1),
        (ops.relu, (1, 1), 0.5, 1),
        (ops.tanh, (1, 1), 0, 1),
        (ops.relu, (-1, 0), 0, 1),
    ],
    ids=["zeros", "one side", "a window of zeros", "other values", "negative values", "cropped"],
)
def test_max_pooling_pads_what_is_not_negative(activation, begin, value, pads):
    """Only zeros beside values that are 0 or more change no maximum."""
    values = np.random.default_rng(3).normal(-1, 1, (1, 2, 6, 9)).astype(np.float32)
    model = padded_pooling(activation, begin, value)
    before = run(model, {"given": values})["pooled"]
    pad_in_pooling(model)
    assert sum(node.get_type_name() == "Pad" for node in model.get_ops()) == pads
    np.testing.assert_array_equal(run(model, {"given": values})["pooled"], before)


def test_scores_without_the_softmax_operator_are_the_same_to_the_bit(tiny_files):
    """Logits from equal to so far apart that the score is exactly 1."""
    rng = np.random.default_rng(11)
    logits = rng.normal(0, 1, (5000, 2)) * rng.choice([0, 0.1, 3, 10], (5000, 1))
    corners = rng.uniform(0, 0.7, (5000, 2))
    inputs = {
        "rpn_class_logits": logits.astype(np.float32),
        "rpn_deltas": rng.normal(0, 1, (5000, 4)).astype(np.float32),
        "anchors": np.concatenate([corners, corners + rng.uniform(0.02, 0.3, (5000, 2))], axis=1).astype(np.float32),
        "starts": np.array([0]),
        "ends": np.array([5000]),
        "window": np.array([0, 0, 1, 1], np.float32),
        "smallest": np.zeros(2, np.float32),
        "limit": np.array([3000]),
        "count": np.array([200]),
    }
    model = core().read_model(exported_parts(*tiny_files)["proposals"])
    before = run(model, inputs)["rois"]
    write_out_softmax(model)
    assert "Softmax" not in {node.get_type_name() for node in model.get_ops() if node.output(0).get_target_inputs()}
    assert before.shape == (200, 4)
    np.testing.assert_array_equal(run(model, inputs)["rois"], before)


def test_a_softmax_over_more_classes_stays(tiny_files):
    model = core().read_model(exported_parts(*tiny_files)["boxes"])
    kinds = [node.get_type_name() for node in model.get_ordered_ops()]
    assert "Softmax" in kinds
    write_out_softmax(model)
    assert [node.get_type_name() for node in model.get_ordered_ops()] == kinds
