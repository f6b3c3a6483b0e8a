"""A copy of the network that only runs: batch normalization folded into convolutions, half precision if asked for.

With the stored statistics, batch normalization (Ioffe & Szegedy 2015, equation of section 3.1: y = gamma * (x - mean) /
sqrt(variance + epsilon) + beta) is a scale and a shift of each channel, which the convolution before it can do itself:
kernel' = kernel * s and bias' = (bias - mean) * s + beta with s = gamma / sqrt(variance + epsilon).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from mrcnn.network.network import MaskRCNNNetwork

PRECISIONS = ("float32", "bfloat16", "float16")

FLOAT32_LAYERS = frozenset(
    "rpn_class_raw rpn_bbox_pred rpn_class_logits rpn_deltas rpn_bbox mrcnn_class_logits mrcnn_bbox_fc mrcnn_bbox "
    "mrcnn_mask".split()
)
"""What answers with logits and deltas: their weights and arithmetic stay float32 in every precision."""

_CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)


def inference_copy(network: MaskRCNNNetwork, precision: str = "float32") -> MaskRCNNNetwork:
    """The same network for running only, with its present weights; it shares none of them.

    Normalization that uses the statistics of the batch also when running (TRAIN_BN True) is left as it is. The copy is
    not meant for training or saving: it lacks layers that the weight files have.

    Args:
        network: built, and with its weights loaded.
        precision: of the convolutions' weights and results, one of `PRECISIONS`. Logits, softmax, deltas, boxes and
            proposals are float32 in all of them.

    Raises:
        ValueError: another precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return MaskRCNNNetwork(network.config, tuple(_copy(model, precision) for model in network.models))


def _copy(model: keras.Model, precision: str) -> keras.Model:
    norms = _foldable_norms(model)
    folded = {norm.name: convolution for convolution, norm in norms.items()}
    biased = {convolution.name for convolution in norms}

    def clone(layer):
        if isinstance(layer, keras.Model):  # the RPN, shared by all levels; it has no normalization
            return _copy(layer, precision)
        policy = "float32" if layer.name in FLOAT32_LAYERS else precision
        if isinstance(layer, layers.Activation):  # its function may be one that no config can name
            return layers.Activation(layer.activation, name=layer.name, dtype=policy)
        config = {**layer.get_config(), "dtype": policy}
        if layer.name in biased:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *arguments, **keywords):
        return arguments[0] if layer.name in folded else layer(*arguments, **keywords)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    originals = {layer.name: layer for layer in model.layers}
    by_name = {convolution.name: norm for convolution, norm in norms.items()}
    for layer in copy.layers:
        if layer.weights and not isinstance(layer, keras.Model):
            for variable, values in zip(layer.weights, _values(originals[layer.name], by_name), strict=True):
                variable.assign(values)
    return copy


def _foldable_norms(model: keras.Model) -> dict[layers.Layer, layers.BatchNormalization]:
    """Each convolution whose result goes into a batch normalization with stored statistics, and nowhere else."""
    found = {}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization) or getattr(norm, "train_bn", False) is True:
            continue
        before = norm.input._keras_history.operation
        is_alone = len(before._outbound_nodes) == 1
        if isinstance(before, _CONVOLUTIONS) and is_alone and before.activation is keras.activations.linear:
            found[before] = norm
    return found


def _values(layer, norms) -> list[np.ndarray]:
    """The weights of a layer, float32, in its copy's order; folded where a normalization follows."""
    values = [keras.ops.convert_to_numpy(variable) for variable in layer.weights]
    norm = norms.get(layer.name)
    if norm is None:
        return values
    kernel = values[0].astype(np.float64)
    scale, shift = _scale_and_shift(norm)
    if isinstance(layer, layers.DepthwiseConv2D):
        per_kernel = scale.reshape(kernel.shape[2:])  # (C, multiplier)
    elif isinstance(layer, layers.Conv2DTranspose):
        per_kernel = scale[:, None]  # kernels are (h, w, C out, C in)
    else:
        per_kernel = scale
    bias = values[1].astype(np.float64) if layer.use_bias else 0.0
    return [(kernel * per_kernel).astype(np.float32), (bias * scale + shift).astype(np.float32)]


def _scale_and_shift(norm: layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """What the normalization does to each channel: float64 (C,) both."""
    mean, variance = (
        keras.ops.convert_to_numpy(variable).astype(np.float64) for variable in (norm.moving_mean, norm.moving_variance)
    )
    gamma = keras.ops.convert_to_numpy(norm.gamma).astype(np.float64) if norm.scale else 1.0
    beta = keras.ops.convert_to_numpy(norm.beta).astype(np.float64) if norm.center else 0.0
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale
