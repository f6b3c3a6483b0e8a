"""Each loss against numbers worked out by hand."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.training import losses


def value(loss, *arrays):
    return float(ops.convert_to_numpy(loss(*map(ops.convert_to_tensor, arrays))))


def test_smooth_l1_is_quadratic_below_one_and_linear_above():
    found = ops.convert_to_numpy(
        losses.smooth_l1(ops.convert_to_tensor(np.array([-3.0, -0.5, 0.0, 1.0, 2.5], "float32")))
    )
    np.testing.assert_allclose(found, [2.5, 0.125, 0.0, 0.5, 2.0], atol=1e-6)


def test_smooth_l1_turns_linear_at_beta():
    found = losses.smooth_l1(ops.convert_to_tensor(np.array([-2.0, -0.25, 0.1, 0.5], "float32")), 0.25)
    np.testing.assert_allclose(ops.convert_to_numpy(found), [1.875, 0.125, 0.02, 0.375], atol=1e-6)


def test_rpn_class_loss_counts_sampled_anchors_only():
    match = np.array([[1, -1, 0], [0, 0, -1]], "int32")
    # p(object): 1/2, 1/4, ignored; ignored, ignored, 3/4
    logits = np.array([[[0, 0], [math.log(3), 0], [9, -9]], [[9, -9], [-9, 9], [0, math.log(3)]]], "float32")
    expected = (-math.log(1 / 2) - math.log(3 / 4) - math.log(1 / 4)) / 3
    assert value(losses.rpn_class_loss, match, logits) == pytest.approx(expected, rel=1e-5)


def test_rpn_box_loss_averages_over_objects_and_deltas():
    match = np.array([[1, -1, 1]], "int32")
    target = np.zeros((1, 3, 4), "float32")
    deltas = np.array([[[1.0, 0, 0, 0], [50, 50, 50, 50], [0, 0, 3.0, -0.5]]], "float32")
    # first object 0.5 / 4, second (2.5 + 0.125) / 4, background does not count
    assert value(losses.rpn_box_loss, match, target, deltas) == pytest.approx((0.5 + 2.625) / 4 / 2, rel=1e-5)


def test_box_losses_follow_beta():
    one, far = np.array([[1]], "int32"), np.array([[[0.5, -0.1, 0, 0]]], "float32")
    expected = (0.5 - 0.1 + 0.1**2 / 0.2 / 2) / 4  # with beta 0.2
    zeros = np.zeros((1, 1, 4), "float32")
    assert value(losses.rpn_box_loss, one, zeros, far, np.float32(0.2)) == pytest.approx(expected, rel=1e-5)
    own = np.stack([np.full_like(far, 9), far], axis=2)
    found = value(losses.box_loss, one, one.astype("float32"), zeros, own, np.float32(0.2))
    assert found == pytest.approx(expected, rel=1e-5)


def test_class_loss_leaves_unused_slots_out():
    class_ids = np.array([[2, 0, 1]], "int32")
    counts = np.array([[1, 1, 0]], "float32")
    logits = np.log(np.array([[[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]]], "float32"))
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert value(losses.class_loss, class_ids, counts, logits) == pytest.approx(expected, rel=1e-5)


def test_box_loss_reads_the_own_class_only():
    class_ids = np.array([[2, 1]], "int32")
    is_object = np.array([[1, 0]], "float32")
    deltas = np.full((1, 2, 3, 4), 77, "float32")
    deltas[0, 0, 2] = [0.5, 0, 0, 2.0]
    target = np.zeros((1, 2, 4), "float32")
    assert value(losses.box_loss, class_ids, is_object, target, deltas) == pytest.approx((0.125 + 1.5) / 4, rel=1e-5)


def test_masks_are_trained_in_the_own_class():
    logits = np.arange(1 * 2 * 1 * 2 * 3, dtype="float32").reshape(1, 2, 1, 2, 3)
    found = ops.convert_to_numpy(losses.own_class(np.array([[2, 0]], "int32"), logits))
    np.testing.assert_array_equal(found, [[[[2, 5]], [[6, 9]]]])


def test_mask_loss_is_binary_cross_entropy():
    is_object = np.array([[1, 0]], "float32")
    logits = np.full((1, 2, 2, 2), 50, "float32")
    logits[0, 0] = np.log([[1.0, 3.0], [1.0, 3.0]])  # probabilities 1/2, 3/4
    target = np.zeros((1, 2, 2, 2), "float32")
    target[0, 0] = [[1, 1], [0, 0]]
    expected = -(math.log(1 / 2) + math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 4)) / 4
    assert value(losses.mask_loss, is_object, target, logits) == pytest.approx(expected, rel=1e-5)


def test_dice_loss_is_one_minus_the_smoothed_coefficient():
    is_object = np.array([[1, 1, 0]], "float32")
    logits = np.full((1, 3, 2, 2), 50, "float32")
    logits[0, 0] = np.log([[1.0, 3.0], [1.0, 3.0]])  # probabilities 1/2, 3/4: squares 1/4, 9/16
    target = np.zeros((1, 3, 2, 2), "float32")
    target[0, 0] = [[1, 1], [0, 0]]
    target[0, 1] = 1  # found completely
    first = 1 - (2 * (1 / 2 + 3 / 4) + 1) / (2 * (1 / 4 + 9 / 16) + 2 + 1)
    assert value(losses.dice_loss, is_object, target, logits) == pytest.approx(first / 2, rel=1e-5)


def test_mask_losses_survive_huge_logits():
    logits = np.array([[[[1000.0]], [[-1000.0]]]], "float32")
    target = np.zeros((1, 2, 1, 1), "float32")
    assert value(losses.mask_loss, np.ones((1, 2), "float32"), target, logits) == pytest.approx(500.0)
    # (0 + 1) / (1 + 0 + 1) and (0 + 1) / (0 + 0 + 1)
    assert value(losses.dice_loss, np.ones((1, 2), "float32"), target, logits) == pytest.approx(0.25)


def test_losses_are_zero_where_nothing_counts():
    none = np.zeros((1, 2), "float32")
    ids = np.zeros((1, 2), "int32")
    assert value(losses.rpn_class_loss, ids, np.ones((1, 2, 2), "float32")) == 0
    assert value(losses.rpn_box_loss, ids, np.ones((1, 2, 4), "float32"), np.zeros((1, 2, 4), "float32")) == 0
    assert value(losses.class_loss, ids, none, np.ones((1, 2, 3), "float32")) == 0
    assert value(losses.box_loss, ids, none, np.ones((1, 2, 4), "float32"), np.zeros((1, 2, 3, 4), "float32")) == 0
    for loss in (losses.mask_loss, losses.dice_loss):
        assert value(loss, none, np.ones((1, 2, 3, 3), "float32"), np.zeros((1, 2, 3, 3), "float32")) == 0


def test_regions_taken_for_a_class_of_another_source_do_not_count():
    logits = np.zeros((2, 3, 3), "float32")
    logits[0, [0, 1, 2], [0, 1, 2]] = 1  # taken for classes 0, 1, 2
    logits[1, [0, 1, 2], [2, 2, 1]] = 1
    counts = np.array([[1, 1, 1], [1, 0, 1]], "float32")
    active = np.array([[1, 0, 1], [1, 1, 0]], "int32")
    found = ops.convert_to_numpy(losses.active_counts(*map(ops.convert_to_tensor, (counts, active, logits))))
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 0, 1]])


def test_weight_decay_is_the_sum_of_mean_squares():
    kernel = keras.Variable(np.array([[1.0, -2.0], [3.0, 0.0]], "float32"), name="kernel")
    bias = keras.Variable(np.array([2.0], "float32"), name="bias")
    norms = [keras.Variable(np.full(3, 9.0, "float32"), name=name) for name in ("gamma", "beta")]
    found = float(ops.convert_to_numpy(losses.weight_decay([kernel, *norms, bias], 0.1)))
    assert found == pytest.approx(0.1 * (14 / 4 + 4 / 1), rel=1e-6)
