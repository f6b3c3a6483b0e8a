"""Models of several layers: normalization, nested models, layers that are called several times."""

import keras
import pytest
from keras import layers

from mrcnn.export.layers import ExportError
from mrcnn.network.norm import BatchNorm
from mrcnn.network.rpn import build_rpn
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.export.models import compare, randomize, written

pytestmark = ONCE


def test_norm_after_a_convolution_is_written_as_it_is():
    source = keras.Input((None, None, 3))
    x = BatchNorm(False)(layers.Conv2D(4, 3, padding="same", use_bias=False)(source))
    model = randomize(keras.Model(source, layers.ReLU()(x)))
    compare(model, 2, 7, 10, 3)
    assert [node.op_type for node in written(model).graph.node] == ["Conv", "Mul", "Add", "Relu", "Identity"]


def test_a_convolution_and_a_norm_that_are_used_twice():
    source = keras.Input((None, None, 3))
    shared, norm = layers.Conv2D(4, 1), BatchNorm(False)
    once, again = shared(source), shared(layers.Rescaling(-1.0)(source))
    compare(randomize(keras.Model(source, [norm(once), layers.ReLU()(again), norm(again)])), 2, 7, 10, 3)


def test_one_model_inside_is_called_for_every_level():
    source = keras.Input((None, None, 4))
    coarse = layers.MaxPooling2D(1, strides=2)(source)
    rpn = build_rpn(4, 3, 1, 5)
    answers = [rpn(level) for level in (source, coarse)]
    logits, deltas = (layers.Concatenate(axis=1)([answer[place] for answer in answers]) for place in (0, 1))
    compare(randomize(keras.Model(source, [[source, coarse], logits, deltas])), 2, 5, 7, 4)


def test_a_layer_with_calls_in_another_model():
    """Keras numbers the calls of a layer over all models; those of this one must be found."""
    shared = layers.Conv2D(4, 3, padding="same")
    elsewhere = keras.Input((None, None, 3))
    keras.Model(elsewhere, shared(elsewhere))
    source = keras.Input((None, None, 3))
    first = shared(layers.Rescaling(2.0)(source))
    second = shared(layers.Rescaling(-3.0)(source))
    compare(randomize(keras.Model(source, layers.Concatenate()([first, second]))), 2, 6, 9, 3)


def test_a_model_inside_a_model_inside_a_model():
    def wrapped(inner, channels):
        source = keras.Input((None, None, channels))
        return keras.Model(source, inner(source))

    inside = wrapped(wrapped(layers.Conv2D(2, 3), 3), 3)
    source = keras.Input((None, None, 3))
    compare(randomize(keras.Model(source, inside(layers.ZeroPadding2D(1)(source)))), 1, 6, 9, 3)


def test_what_cannot_be_written_is_named_deep_inside():
    level = keras.Input((None, None, 3))
    inside = keras.Model(level, layers.AveragePooling2D(2, name="mean_of_four")(level))
    source = keras.Input((None, None, 3))
    with pytest.raises(ExportError, match="layer mean_of_four is a AveragePooling2D"):
        written(keras.Model(source, inside(source)))
