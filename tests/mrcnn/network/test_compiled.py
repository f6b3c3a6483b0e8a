"""Compiled functions give what plain ones give, for every shape, and see weights that change."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.compiled import compile_function


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
