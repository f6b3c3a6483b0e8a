"""Compiling: one program for each set of shapes, for a processor and for an accelerator, and the way back from XLA."""

import logging

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.compiled import compile_function
from mrcnn.network.target import Target, target

from ..conftest import on_tensorflow


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
    weight.assign([5.0, 7.0])
    np.testing.assert_allclose(
        ops.convert_to_numpy(compiled(np.ones((1, 2), np.float32), [np.zeros(1, np.int32)])[0]), [[5.0, 7.0]]
    )


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
    assert [record.message for record in caplog.records if "running without it" in record.message] != []
    assert len(caplog.records) == 1


@pytest.mark.skipif(not on_tensorflow(), reason="TensorFlow's errors")
def test_a_mistake_in_the_function_is_not_taken_for_one_of_xla():
    def broken(values):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile_function(broken, [], Target.ACCELERATOR)(np.zeros(2, np.float32))
