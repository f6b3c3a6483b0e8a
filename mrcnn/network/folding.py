"""Makes an inference-only copy of the network: batch normalization folded into convolutions, optional half precision.

Batch normalization with the moving statistics scales and shifts each channel (see `mrcnn.network.norm`), which the
preceding convolution can do itself: kernel' = kernel * scale and bias' = bias * scale + shift.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.network.norm import scale_and_shift, uses_batch_statistics

PRECISIONS = ("float32", "bfloat16", "float16")

FLOAT32_LAYERS = frozenset(
    "rpn_class_raw rpn_bbox_pred rpn_class_logits rpn_deltas rpn_bbox mrcnn_class_logits mrcnn_bbox_fc mrcnn_bbox "
    "mrcnn_mask".split()
)
"""Layers that output logits and deltas: their weights and arithmetic stay float32 in every precision."""

_CONVOLUTIONS = (layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)


def inference_copy(network: MaskRCNNNetwork, precision: str = "float32") -> MaskRCNNNetwork:
    """Copy a network and its current weights for inference.

    Normalization that uses the batch's statistics at inference (TRAIN_BN True) is not folded. The copy cannot be
    trained or saved: it lacks layers that weight files have.

    Args:
        network: the network with its weights loaded.
        precision: of the convolutions' weights and results, one of `PRECISIONS`. Logits, softmax, deltas, boxes and
            proposals are always float32.

    Raises:
        ValueError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    return MaskRCNNNetwork(network.config, tuple(copy_model(model, precision) for model in network.models))


def copy_model(model: keras.Model, precision: str) -> keras.Model:
    """Copy one functional model, see `inference_copy`."""
    norms = _foldable_norms(model)
    folded = {norm.name: convolution for convolution, norm in norms.items()}
    biased = {convolution.name for convolution in norms}

    def clone(layer):
        if isinstance(layer, keras.Model):  # the RPN, shared by all levels; it has no normalization
            return copy_model(layer, precision)
        policy = "float32" if layer.name in FLOAT32_LAYERS else precision
        if isinstance(layer, layers.Activation):  # its function may not be serializable
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
    """Convolutions whose result is only read by a batch normalization with moving statistics, and that layer."""
    found = {}
    outputs = {output._keras_history.operation for output in model.outputs}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization) or uses_batch_statistics(norm):
            continue
        if len(norm._inbound_nodes) != 1:
            continue
        before = norm.input._keras_history.operation
        is_only_reader = len(before._outbound_nodes) == len(before._inbound_nodes) == 1 and before not in outputs
        if isinstance(before, _CONVOLUTIONS) and is_only_reader and before.activation is keras.activations.linear:
            found[before] = norm
    return found


def _values(layer, norms) -> list[np.ndarray]:
    """The weights of a layer's copy, float32; folded where a normalization follows."""
    values = [keras.ops.convert_to_numpy(variable) for variable in layer.weights]
    norm = norms.get(layer.name)
    if norm is None:
        return values
    kernel = values[0].astype(np.float64)
    scale, shift = scale_and_shift(norm)
    if isinstance(layer, layers.DepthwiseConv2D):
        per_kernel = scale.reshape(kernel.shape[2:])  # (C, multiplier)
    elif isinstance(layer, layers.Conv2DTranspose):
        per_kernel = scale[:, None]  # kernels are (h, w, out, in)
    else:
        per_kernel = scale
    bias = values[1].astype(np.float64) if layer.use_bias else 0.0
    return [(kernel * per_kernel).astype(np.float32), (bias * scale + shift).astype(np.float32)]
