"""Translates Keras models of the functional kind into ONNX nodes, layer by layer.

Pictures and feature maps, (B, H, W, C) in Keras, are (B, C, H, W) here, as all ONNX runtimes want them. Batch
normalisation is folded into the convolution before it, if that is all the convolution's result is used for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from .graph import Graph


class ExportError(ValueError):
    """The network has a part that cannot be written as ONNX; the text names it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: in the graph.
        rank: number of axes; 4 means (B, C, H, W).
        channels: size of the channel axis: axis 1 of four, else the last.
        hw: height and width, where they are known beforehand.
    """

    name: str
    rank: int
    channels: int
    hw: tuple[int, int] | None = None


def translate(model: keras.Model, inputs: Sequence[Tensor], graph: Graph) -> list[Tensor]:
    """Add a functional model to a graph.

    Args:
        model: a functional model; models inside it are translated in place.
        inputs: what takes the place of its inputs.
        graph: what the nodes are added to.

    Returns:
        Its outputs, flattened.

    Raises:
        ExportError: it has a layer, or a way of using one, that is not known here.
    """
    return _Walk(model, graph).run(inputs)


class _Walk:
    """One model, called once."""

    def __init__(self, model: keras.Model, graph: Graph):
        self._model, self._graph = model, graph
        self._config = model.get_config()
        self._tensors: dict[tuple[str, int, int], Tensor] = {}
        self._uses = Counter(reference for entry in self._config["layers"] for reference in _references(entry))
        self._uses.update(tuple(reference) for reference in _as_list(self._config["output_layers"]))
        self._folded = self._find_folded()

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        names = [tuple(reference) for reference in _as_list(self._config["input_layers"])]
        self._tensors.update(zip(names, inputs, strict=True))
        calls = [
            (entry["name"], index, _tensor_keys(node["args"]))
            for entry in self._config["layers"]
            for index, node in enumerate(entry["inbound_nodes"])
        ]
        while calls:
            waiting = [call for call in calls if not self._call(*call)]
            if len(waiting) == len(calls):
                raise ExportError(f"{self._model.name}: the layers {waiting[0][0]} … wait for one another")
            calls = waiting
        return [self._tensors[tuple(reference)] for reference in _as_list(self._config["output_layers"])]

    def _call(self, name: str, index: int, keys: Sequence[tuple[str, int, int]]) -> bool:
        """Translate one call of a layer, if all that goes in is there."""
        if not all(key in self._tensors for key in keys):
            return False
        layer = self._model.get_layer(name)
        arguments = [self._tensors[key] for key in keys]
        if isinstance(layer, keras.Model):
            results = translate(layer, arguments, self._graph)
        else:
            results = [self._layer(layer, arguments)]
        self._tensors.update({(name, index, place): result for place, result in enumerate(results)})
        return True

    def _layer(self, layer: keras.Layer, arguments: Sequence[Tensor]) -> Tensor:
        if layer.name in self._folded.values():
            return arguments[0]  # its convolution has done it
        norm_name = self._folded.get(layer.name)
        norm = self._model.get_layer(norm_name) if norm_name else None
        for kind, write in _WRITERS:
            if isinstance(layer, kind):
                return write(self._graph, layer, arguments, norm)
        raise ExportError(f"layer {layer.name} is a {type(layer).__name__}, which cannot be written as ONNX")

    def _find_folded(self) -> dict[str, str]:
        """Which normalisations follow a convolution that nothing else reads: {convolution: normalisation}."""
        folded = {}
        for entry in self._config["layers"]:
            layer = self._model.get_layer(entry["name"])
            if not isinstance(layer, keras.layers.BatchNormalization) or len(entry["inbound_nodes"]) != 1:
                continue
            key = _tensor_keys(entry["inbound_nodes"][0]["args"])[0]
            before = self._model.get_layer(key[0])
            is_plain = type(before) is keras.layers.Conv2D and before.activation is keras.activations.linear
            if is_plain and self._uses[key] == 1:
                folded[before.name] = layer.name
        return folded


def _as_list(references: Any) -> list:
    """Keras writes a single reference [name, node, tensor] as itself; several nested as the model's outputs are."""
    if references and isinstance(references[0], str):
        return [references]
    found = []
    for item in references:
        found.extend(_as_list(item))
    return found


def _references(entry: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [key for node in entry["inbound_nodes"] for key in _tensor_keys(node["args"])]


def _tensor_keys(arguments: Any) -> list[tuple[str, int, int]]:
    """The tensors among the arguments of a call, in order."""
    if isinstance(arguments, dict):
        if arguments.get("class_name") == "__keras_tensor__":
            name, node, tensor = arguments["config"]["keras_history"]
            return [(name, node, tensor)]
        arguments = list(arguments.values())
    if isinstance(arguments, list | tuple):
        return [key for argument in arguments for key in _tensor_keys(argument)]
    return []


def _values(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _scale_and_shift(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """A normalisation with stored statistics as a factor and a summand per channel (Ioffe & Szegedy 2015, section
    3.1): float64 (C,) each."""
    variance = _values(norm.moving_variance).astype(np.float64) + norm.epsilon
    gamma = _values(norm.gamma).astype(np.float64) if norm.scale else np.ones_like(variance)
    beta = _values(norm.beta).astype(np.float64) if norm.center else np.zeros_like(variance)
    factor = gamma / np.sqrt(variance)
    return factor, beta - _values(norm.moving_mean) * factor


def _conv(graph: Graph, layer: keras.layers.Conv2D, arguments, norm) -> Tensor:
    source = arguments[0]
    kernel = _values(layer.kernel).astype(np.float64)  # (h, w, in, out)
    bias = _values(layer.bias).astype(np.float64) if layer.use_bias else np.zeros(kernel.shape[3])
    if norm is not None:
        factor, shift = _scale_and_shift(norm)
        kernel, bias = kernel * factor, bias * factor + shift
    _check_channels_last(layer)
    if source.hw == kernel.shape[:2] and layer.padding == "valid":
        return _whole_window(graph, layer, source, kernel, bias)
    result = graph.add(
        "Conv",
        source.name,
        graph.constant(kernel.transpose(3, 2, 0, 1)),
        graph.constant(bias),
        strides=list(layer.strides),
        group=layer.groups,
        **_padding(layer),
    )
    hw = _hw_after(layer, source.hw)
    return _activate(graph, layer, layer.activation, Tensor(result, 4, kernel.shape[3], hw))


def _whole_window(graph, layer, source: Tensor, kernel: np.ndarray, bias: np.ndarray) -> Tensor:
    """A convolution that sees its whole input at once, as the matrix product that it is."""
    height, width, channels, filters = kernel.shape
    flat = graph.add("Reshape", source.name, graph.integers(-1, height * width * channels))
    matrix = graph.constant(kernel.transpose(2, 0, 1, 3).reshape(-1, filters))
    product = graph.add("Add", graph.add("MatMul", flat, matrix), graph.constant(bias))
    result = graph.add("Reshape", product, graph.integers(-1, filters, 1, 1))
    return _activate(graph, layer, layer.activation, Tensor(result, 4, filters, (1, 1)))


def _depthwise(graph: Graph, layer: keras.layers.DepthwiseConv2D, arguments, norm) -> Tensor:
    source = arguments[0]
    kernel = _values(layer.kernel)  # (h, w, in, multiplier)
    _check_channels_last(layer)
    channels = kernel.shape[2] * kernel.shape[3]
    bias = _values(layer.bias) if layer.use_bias else np.zeros(channels)
    weights = kernel.transpose(2, 3, 0, 1).reshape(channels, 1, *kernel.shape[:2])
    result = graph.add(
        "Conv",
        source.name,
        graph.constant(weights),
        graph.constant(bias),
        strides=list(layer.strides),
        group=kernel.shape[2],
        **_padding(layer),
    )
    return _activate(graph, layer, layer.activation, Tensor(result, 4, channels, _hw_after(layer, source.hw)))


def _transposed(graph: Graph, layer: keras.layers.Conv2DTranspose, arguments, norm) -> Tensor:
    kernel = _values(layer.kernel)  # (h, w, out, in)
    _check_channels_last(layer)
    if layer.strides != kernel.shape[:2] or layer.dilation_rate != (1, 1):
        raise ExportError(f"layer {layer.name}: only transposed convolutions whose stride is their size can be written")
    bias = _values(layer.bias) if layer.use_bias else np.zeros(kernel.shape[2])
    result = graph.add(
        "ConvTranspose",
        arguments[0].name,
        graph.constant(kernel.transpose(3, 2, 0, 1)),
        graph.constant(bias),
        strides=list(layer.strides),
    )
    return _activate(graph, layer, layer.activation, Tensor(result, 4, kernel.shape[2]))


def _dense(graph: Graph, layer: keras.layers.Dense, arguments, norm) -> Tensor:
    source, kernel = arguments[0], _values(layer.kernel)
    if source.rank == 4:
        raise ExportError(f"layer {layer.name}: a Dense layer on a feature map cannot be written; use a 1x1 Conv2D")
    product = graph.add("MatMul", source.name, graph.constant(kernel))
    if layer.use_bias:
        product = graph.add("Add", product, graph.constant(_values(layer.bias)))
    return _activate(graph, layer, layer.activation, Tensor(product, source.rank, kernel.shape[1]))


def _norm(graph: Graph, layer: keras.layers.BatchNormalization, arguments, norm) -> Tensor:
    source = arguments[0]
    shape = (-1, 1, 1) if source.rank == 4 else (-1,)
    factor, shift = (values.reshape(shape) for values in _scale_and_shift(layer))
    scaled = graph.add("Mul", source.name, graph.constant(factor))
    return replace(source, name=graph.add("Add", scaled, graph.constant(shift)))


def _activate(graph: Graph, layer: keras.Layer, function: Callable, source: Tensor) -> Tensor:
    name = getattr(function, "__name__", str(function))
    if name == "linear":
        return source
    simple = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    if name in simple:
        return replace(source, name=graph.add(simple[name], source.name))
    if name == "relu6":
        return replace(source, name=graph.add("Clip", source.name, graph.constant(0.0), graph.constant(6.0)))
    raise ExportError(f"layer {layer.name}: the activation {name} cannot be written as ONNX")


def _activation(graph: Graph, layer: keras.layers.Activation, arguments, norm) -> Tensor:
    return _activate(graph, layer, layer.activation, arguments[0])


def _relu(graph: Graph, layer: keras.layers.ReLU, arguments, norm) -> Tensor:
    if layer.negative_slope or layer.threshold:
        raise ExportError(f"layer {layer.name}: a ReLU with a slope or a threshold cannot be written")
    if layer.max_value is None:
        return replace(arguments[0], name=graph.add("Relu", arguments[0].name))
    limits = graph.constant(0.0), graph.constant(layer.max_value)
    return replace(arguments[0], name=graph.add("Clip", arguments[0].name, *limits))


def _zero_padding(graph: Graph, layer: keras.layers.ZeroPadding2D, arguments, norm) -> Tensor:
    (top, bottom), (left, right) = layer.padding
    pads = graph.integers(0, 0, top, left, 0, 0, bottom, right)
    name = graph.add("Pad", arguments[0].name, pads, graph.constant(0.0))
    return replace(arguments[0], name=name, hw=None)


def _max_pooling(graph: Graph, layer: keras.layers.MaxPooling2D, arguments, norm) -> Tensor:
    options = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    name = graph.add("MaxPool", arguments[0].name, **options, auto_pad=_AUTO_PAD[layer.padding])
    return replace(arguments[0], name=name, hw=None)


def _upsampling(graph: Graph, layer: keras.layers.UpSampling2D, arguments, norm) -> Tensor:
    if layer.interpolation != "nearest":
        raise ExportError(f"layer {layer.name}: only the nearest cell can be repeated, not {layer.interpolation}")
    scales = graph.constant([1.0, 1.0, *map(float, layer.size)])
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return replace(arguments[0], name=graph.add("Resize", arguments[0].name, "", scales, **options), hw=None)


def _sum(graph: Graph, layer: keras.layers.Add, arguments, norm) -> Tensor:
    name = arguments[0].name
    for other in arguments[1:]:
        name = graph.add("Add", name, other.name)
    return replace(arguments[0], name=name)


def _concatenate(graph: Graph, layer: keras.layers.Concatenate, arguments, norm) -> Tensor:
    rank = arguments[0].rank
    axis = layer.axis % rank
    if rank == 4:
        axis = {0: 0, 1: 2, 2: 3, 3: 1}[axis]
    is_channels = axis == (1 if rank == 4 else rank - 1)
    channels = sum(tensor.channels for tensor in arguments) if is_channels else arguments[0].channels
    name = graph.add("Concat", *(tensor.name for tensor in arguments), axis=axis)
    return Tensor(name, rank, channels)


def _reshape(graph: Graph, layer: keras.layers.Reshape, arguments, norm) -> Tensor:
    source, shape = arguments[0], layer.target_shape
    if len(shape) == 3:
        raise ExportError(f"layer {layer.name}: a feature map cannot be reshaped into another")
    name = source.name
    if source.rank == 4 and source.hw != (1, 1):
        name = graph.add("Transpose", name, perm=[0, 2, 3, 1])
    # 0 keeps the number of images; a -1 in its place would be a second unknown
    whole = graph.integers(0 if -1 in shape else -1, *shape)
    return Tensor(graph.add("Reshape", name, whole), len(shape) + 1, int(shape[-1]))


def _rescaling(graph: Graph, layer: keras.layers.Rescaling, arguments, norm) -> Tensor:
    name = graph.add("Mul", arguments[0].name, graph.constant(float(layer.scale)))
    if layer.offset:
        name = graph.add("Add", name, graph.constant(float(layer.offset)))
    return replace(arguments[0], name=name)


def _unchanged(graph: Graph, layer: keras.Layer, arguments, norm) -> Tensor:
    return arguments[0]


_AUTO_PAD = {"same": "SAME_UPPER", "valid": "VALID"}


def _padding(layer) -> dict[str, Any]:
    if layer.dilation_rate not in (1, (1, 1)):
        raise ExportError(f"layer {layer.name}: dilated convolutions cannot be written")
    size = layer.kernel_size
    if layer.padding == "same" and layer.strides == (1, 1) and size[0] % 2 and size[1] % 2:
        return {"pads": [size[0] // 2, size[1] // 2] * 2}  # what "same" comes to, where it does not depend on the input
    return {"auto_pad": _AUTO_PAD[layer.padding]}


def _hw_after(layer, hw: tuple[int, int] | None) -> tuple[int, int] | None:
    return hw if layer.padding == "same" and layer.strides == (1, 1) else None


def _check_channels_last(layer) -> None:
    if layer.data_format != "channels_last":
        raise ExportError(f"layer {layer.name}: expected data_format channels_last, got {layer.data_format}")


_WRITERS: tuple[tuple[type, Callable[..., Tensor]], ...] = (
    (keras.layers.DepthwiseConv2D, _depthwise),
    (keras.layers.Conv2DTranspose, _transposed),
    (keras.layers.Conv2D, _conv),
    (keras.layers.Dense, _dense),
    (keras.layers.BatchNormalization, _norm),
    (keras.layers.ReLU, _relu),
    (keras.layers.Activation, _activation),
    (keras.layers.ZeroPadding2D, _zero_padding),
    (keras.layers.MaxPooling2D, _max_pooling),
    (keras.layers.UpSampling2D, _upsampling),
    (keras.layers.Add, _sum),
    (keras.layers.Concatenate, _concatenate),
    (keras.layers.Reshape, _reshape),
    (keras.layers.Rescaling, _rescaling),
    (keras.layers.InputLayer, _unchanged),
    (keras.layers.Dropout, _unchanged),
)
