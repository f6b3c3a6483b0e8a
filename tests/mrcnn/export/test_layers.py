"""Every kind of layer that can be written, against Keras; and what cannot."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from mrcnn.export.layers import ExportError, Tensor, write_layer
from mrcnn.export.onnx_graph import Graph
from mrcnn.network.norm import BatchNorm
from mrcnn.network.rpn import build_rpn
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.export.models import compare, randomize, written

pytestmark = ONCE


def on_map(*chain, channels=3, hw=(None, None)) -> keras.Model:
    """Layers one after the other on a feature map, with random weights."""
    source = result = keras.Input((*hw, channels))
    for layer in chain:
        result = layer(result)
    return randomize(keras.Model(source, result))


CONVOLUTIONS = {
    "3x3": layers.Conv2D(5, 3, padding="same"),
    "valid": layers.Conv2D(5, (3, 2), padding="valid", use_bias=False),
    "1x1": layers.Conv2D(4, 1, activation="relu"),
    "even kernel": layers.Conv2D(4, (2, 4), padding="same", activation="sigmoid"),
    "stride 2": layers.Conv2D(4, 3, strides=2, padding="same"),
    "stride 2, 7x7": layers.Conv2D(4, 7, strides=2, padding="same", activation="tanh"),
    "strides differ": layers.Conv2D(4, (3, 5), strides=(1, 2), padding="same"),
    "stride 2, valid": layers.Conv2D(4, 3, strides=2),
    "1x1, stride 2": layers.Conv2D(4, 1, strides=2),
    "depthwise": layers.DepthwiseConv2D(3, padding="same"),
    "depthwise, stride 2": layers.DepthwiseConv2D(5, strides=2, padding="same", use_bias=False),
    "depthwise, two each": layers.DepthwiseConv2D((3, 2), depth_multiplier=2, activation="relu"),
    "transposed": layers.Conv2DTranspose(4, 2, strides=2, activation="relu"),
    "transposed 3x2": layers.Conv2DTranspose(4, (3, 2), strides=(3, 2), use_bias=False),
    "transposed, same": layers.Conv2DTranspose(4, 2, strides=2, padding="same"),
}


@pytest.mark.parametrize("hw", [(8, 11), (9, 14)], ids=["even rows", "odd rows"])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions(kind, hw):
    layer = CONVOLUTIONS[kind]
    compare(on_map(type(layer).from_config(layer.get_config())), 2, *hw, 3)


def test_grouped_convolution():
    compare(on_map(layers.Conv2D(6, 3, groups=2, padding="same"), channels=4), 2, 7, 10, 4)


def test_convolution_of_the_whole_input_is_one_product():
    model = on_map(layers.Conv2D(5, (4, 6), activation="relu"), layers.Conv2D(3, 1), layers.Reshape((3,)), hw=(4, 6))
    compare(model, 3, 4, 6, 3)
    kinds = [node.op_type for node in written(model).graph.node]
    assert kinds.count("MatMul") == 2
    assert "Conv" not in kinds


def test_grouped_convolution_of_the_whole_input():
    compare(on_map(layers.Conv2D(4, (4, 6), groups=2), channels=6, hw=(4, 6)), 3, 4, 6, 6)


OTHERS = {
    "relu": layers.ReLU(),
    "relu6": layers.ReLU(max_value=6.0),
    "activation": layers.Activation("sigmoid"),
    "activation relu6": layers.Activation(keras.ops.relu6),
    "activation linear": layers.Activation("linear"),
    "zero padding": layers.ZeroPadding2D(((1, 2), (3, 0))),
    "max pooling": layers.MaxPooling2D((3, 2), strides=2, padding="same"),
    "max pooling, valid": layers.MaxPooling2D(2),
    "every second cell": layers.MaxPooling2D(1, strides=2),
    "upsampling": layers.UpSampling2D((2, 3)),
    "rescaling": layers.Rescaling(1 / 3, offset=-0.25),
    "dropout": layers.Dropout(0.5),
    "norm": layers.BatchNormalization(epsilon=0.1),
    "norm without gamma": layers.BatchNormalization(scale=False),
    "norm without beta": layers.BatchNormalization(center=False),
    "norm of ours": BatchNorm(None),
}


@pytest.mark.parametrize("hw", [(8, 11), (9, 14)], ids=["even rows", "odd rows"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_layers_on_maps(kind, hw):
    layer = OTHERS[kind]
    copy = layers.Activation(layer.activation) if isinstance(layer, layers.Activation) else None
    compare(on_map(copy or type(layer).from_config(layer.get_config())), 2, *hw, 3)


def test_clipping_at_six_is_seen():
    source = keras.Input((None, None, 3))
    model = keras.Model(source, layers.ReLU(max_value=6.0)(layers.Rescaling(20.0)(source)))
    compare(model, 1, 4, 5, 3)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_concatenation_of_maps(axis):
    source = keras.Input((6, 7, 3), batch_size=2)
    other = layers.Rescaling(-2.0)(source)
    compare(keras.Model(source, layers.Concatenate(axis=axis)([source, other])), 2, 6, 7, 3)


def test_concatenation_of_lists_and_sum_of_three():
    source = keras.Input((None, 4))
    double = layers.Rescaling(2.0)(source)
    rows = layers.Concatenate(axis=1)([source, double])
    columns = layers.Concatenate(axis=-1)([source, double])
    total = layers.Add()([source, double, double])
    model = keras.Model(source, [rows, columns, total, layers.Dense(3)(columns)])
    compare(randomize(model), 2, 5, 4)


def test_reshape_reads_a_map_row_by_row():
    shapes = [layers.Reshape((-1, 2)), layers.Reshape((7 * 4, 3 * 2)), layers.Reshape((-1,))]
    source = keras.Input((7, 4, 6))
    compare(keras.Model(source, [layer(source) for layer in shapes]), 2, 7, 4, 6)


def test_reshape_of_lists():
    source = keras.Input((12,))
    model = keras.Model(source, [layers.Reshape((3, 4))(source), layers.Reshape((-1, 2))(source)])
    compare(model, 5, 12)


@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_and_norm_on_lists(use_bias):
    source = keras.Input((6,))
    dense = layers.Dense(4, use_bias=use_bias, activation="relu")(source)
    compare(randomize(keras.Model(source, layers.BatchNormalization()(dense))), 7, 6)


CANNOT = {
    "is a Softmax, which cannot be written": layers.Softmax(),
    "the activation gelu cannot be written": layers.Activation("gelu"),
    "the activation softmax cannot be written": layers.Conv2D(2, 1, activation="softmax"),
    "a slope or a threshold": layers.ReLU(negative_slope=0.1),
    "or a threshold cannot": layers.ReLU(threshold=1.0),
    "dilated convolutions": layers.Conv2D(2, 3, dilation_rate=2),
    "only transposed convolutions whose stride": layers.Conv2DTranspose(2, 3, strides=2),
    "stride is their size": layers.Conv2DTranspose(2, 2, strides=2, output_padding=1),
    "use a 1x1 Conv2D": layers.Dense(2),
    "not bilinear": layers.UpSampling2D(2, interpolation="bilinear"),
    "cannot be reshaped into another": layers.Reshape((2, -1, 3)),
    "only one factor and one offset": layers.Rescaling([1.0, 2.0, 3.0]),
    "only the last axis": layers.BatchNormalization(axis=1),
    "set TRAIN_BN to False": BatchNorm(True),
    "expected data_format channels_last": layers.MaxPooling2D(2, data_format="channels_first"),
}


@pytest.mark.parametrize("message", CANNOT)
def test_what_cannot_be_written_is_named(message):
    layer = type(CANNOT[message]).from_config(CANNOT[message].get_config())
    model = on_map(layer, hw=(6, 8))
    with pytest.raises(ExportError, match=f"layer {layer.name}.*{message}"):
        written(model)


def test_sum_of_different_shapes_cannot_be_written():
    source = keras.Input((6, 8, 3))
    model = keras.Model(source, layers.Add(name="wide")([source, layers.Conv2D(1, 1)(source)]))
    with pytest.raises(ExportError, match="layer wide: only tensors of the same shape"):
        written(model)


def test_a_layer_by_itself():
    layer = layers.Rescaling(2.0)
    graph = Graph("one layer")
    source = Tensor(graph.input("x", "float32", (1, 3, 4, 5)), 4, 3, (4, 5))
    result = write_layer(graph, layer, [source])
    assert (result.rank, result.channels, result.hw) == (4, 3, (4, 5))
    assert np.isclose(layer.scale, 2.0)


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
