"""Compiled functions give what plain ones give, for every shape and target, and see weights that change."""

import logging

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.compiled import compile_function
from mrcnn.network.target import Target, target
from tests.mrcnn.conftest import on_tensorflow


def numpy_of(tensors):
    return keras.tree.map_structure(ops.convert_to_numpy, tensors)


def test_shapes_dtypes_and_structures():
    traced = []

    def total(pair, factor):
        traced.append(tuple(pair[0].shape))
        return [pair[0] * factor, ops.sum(pair[1], axis=1)]

    fast = compile_function(total, [])
    for rows in (2, 3, 2):
        pair = [np.full((rows, 4), 2.0, np.float32), np.arange(rows * 5, dtype=np.int32).reshape(rows, 5)]
        product, sums = numpy_of(fast(pair, np.float32(1.5)))
        np.testing.assert_array_equal(product, np.full((rows, 4), 3.0))
        np.testing.assert_array_equal(sums, [sum(range(5 * row, 5 * row + 5)) for row in range(rows)])
        assert sums.dtype == np.int32
    if keras.backend.backend() != "torch":  # which compiles nothing here
        assert traced == [(2, 4), (3, 4)], "once for each set of shapes"


def test_tensors_are_taken_as_well_as_arrays():
    fast = compile_function(lambda x: x + 1, [])
    np.testing.assert_array_equal(numpy_of(fast(ops.convert_to_tensor([1.0, 2.0]))), [2, 3])


def test_weights_are_read_at_every_call():
    weight = keras.Variable(np.array([1.0, 2.0], np.float32))
    fast = compile_function(lambda x: x * ops.convert_to_tensor(weight), [weight])
    x = np.array([[3.0, 4.0]], np.float32)
    np.testing.assert_array_equal(numpy_of(fast(x)), [[3, 8]])
    weight.assign(np.array([10.0, 0.0], np.float32))
    np.testing.assert_array_equal(numpy_of(fast(x)), [[30, 0]])


def test_a_function_that_fails_says_so_again_and_again():
    def wrong(x):
        raise ValueError("no such thing")

    fast = compile_function(wrong, [])
    for _ in range(2):
        with pytest.raises(ValueError, match="no such thing"):
            fast(np.zeros(3, np.float32))


@pytest.mark.parametrize("asked", list(Target))
def test_a_function_is_traced_for_its_target_once_for_each_shape(asked):
    weight, traced_for = keras.Variable(np.array([2.0, 3.0], np.float32)), []

    def scaled(values, more):
        traced_for.append(target())
        return values * weight, [more[0] + 1]

    compiled = compile_function(scaled, [weight], asked)
    for rows in (1, 3, 1):
        product, (more,) = compiled(np.ones((rows, 2), np.float32), [np.full(rows, 4, np.int32)])
        np.testing.assert_allclose(ops.convert_to_numpy(product), np.tile([2.0, 3.0], (rows, 1)))
        assert ops.convert_to_numpy(more).tolist() == [5] * rows
    assert set(traced_for) == {asked}
    assert len(traced_for) == (3 if keras.backend.backend() == "torch" else 2)


@pytest.mark.skipif(not on_tensorflow(), reason="only TensorFlow has programs that XLA cannot compile")
def test_what_xla_cannot_compile_runs_without_it(caplog):
    import tensorflow as tf

    seen = []

    def doubled(values):
        seen.append(target())
        # XLA has no strings
        return tf.strings.to_number(tf.strings.as_string(values)) * 2

    compiled = compile_function(doubled, [], Target.ACCELERATOR)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert compiled(np.array([1.5, -2.0], np.float32)).numpy().tolist() == [3.0, -4.0]
    assert seen == [Target.ACCELERATOR, Target.PROCESSOR]
    assert [record.message for record in caplog.records if "running without XLA" in record.message] != []
    assert len(caplog.records) == 1


@pytest.mark.skipif(not on_tensorflow(), reason="TensorFlow's errors")
def test_a_mistake_in_the_function_is_not_taken_for_one_of_xla():
    def broken(values):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile_function(broken, [], Target.ACCELERATOR)(np.zeros(2, np.float32))
