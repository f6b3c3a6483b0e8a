"""The region proposal network: the order of its answers, with kernels that let a cell's value through."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.rpn import build_rpn

pytestmark = pytest.mark.usefixtures("zero_start")

RATIOS = 3
LEVEL = np.array([[[1.0], [2.0], [-3.0]], [[4.0], [5.0], [6.0]]], np.float32)
"""2 rows, 3 columns, 1 channel."""


def model_of(anchor_stride=1, tap=(1, 1)):
    model = build_rpn(1, RATIOS, anchor_stride, shared_channels=1)
    shared = np.zeros((3, 3, 1, 1))
    shared[tap] = 1
    model.get_layer("rpn_conv_shared").set_weights([shared, np.zeros(1)])
    for name, outputs in (("rpn_class_raw", 2 * RATIOS), ("rpn_bbox_pred", 4 * RATIOS)):
        numbers = np.arange(1.0, outputs + 1)
        model.get_layer(name).set_weights([numbers.reshape(1, 1, 1, -1), 100 * numbers])
    return model


def run(model, *levels):
    return [ops.convert_to_numpy(answer) for answer in model(np.stack(levels))]


def test_answers_go_by_row_column_ratio():
    logits, deltas = run(model_of(), LEVEL, 2 * LEVEL)
    assert (logits.shape, deltas.shape) == ((2, 18, 2), (2, 18, 4))
    for image, row, column, ratio in np.ndindex(2, 2, 3, RATIOS):
        value = max(0, (image + 1) * LEVEL[row, column, 0])  # after the rectifier
        place = (row * 3 + column) * RATIOS + ratio
        np.testing.assert_allclose(logits[image, place], [(value + 100) * (2 * ratio + k + 1) for k in range(2)])
        np.testing.assert_allclose(deltas[image, place], [(value + 100) * (4 * ratio + k + 1) for k in range(4)])


def test_a_stride_leaves_out_places():
    logits, _ = run(model_of(anchor_stride=2, tap=(0, 0)), LEVEL)
    # "same" at stride 2 pads 3 columns by one on both sides and 2 rows below only: tap (0, 0) sees columns -1 and 1
    np.testing.assert_allclose(logits[0, ::RATIOS, 0], [100, 102])


def test_one_model_for_levels_of_every_size():
    model = model_of()
    assert [run(model, np.ones((rows, columns, 1), np.float32))[0].shape[1] for rows, columns in ((1, 1), (5, 2))] == [
        3,
        30,
    ]
    assert model.name == "rpn_model"
    assert build_rpn(1, 3, 1).get_layer("rpn_conv_shared").kernel.shape == (3, 3, 1, 512)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_answers_are_float32(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_rpn(1, RATIOS, 1, shared_channels=1)
    finally:
        keras.config.set_dtype_policy(before)
    assert [keras.backend.standardize_dtype(answer.dtype) for answer in model(LEVEL[None])] == ["float32"] * 2
