"""Writes functional Keras models as ONNX nodes, call by call of their layers, with one function per layer class.

Images and feature maps are (B, H, W, C) in Keras and (B, C, H, W) here, the layout of all ONNX runtimes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mrcnn.export.onnx_graph import Graph
from mrcnn.network.norm import scale_and_shift, uses_batch_statistics


class ExportError(ValueError):
    """The network has a part that cannot be written as ONNX; the message names it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: in the graph.
        rank: number of axes; 4 means (B, C, H, W).
        channels: size of the channel axis: axis 1 for rank 4, otherwise the last.
        hw: height and width if they are static.
    """

    name: str
    rank: int
    channels: int
    hw: tuple[int, int] | None = None


def write_layer(graph: Graph, layer: keras.Layer, arguments: Sequence[Tensor]) -> Tensor:
    """Add one call of a layer to a graph.

    Args:
        graph: receives the nodes.
        layer: of a class in `_WRITERS`.
        arguments: inputs of the call.

    Returns:
        The result of the call.

    Raises:
        ExportError: the layer's class or one of its options is not supported.
    """
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ExportError(f"layer {layer.name}: expected data_format channels_last, got {layer.data_format}")
    for kind, write in _WRITERS:
        if isinstance(layer, kind):
            return write(graph, layer, arguments)
    raise ExportError(f"layer {layer.name} is a {type(layer).__name__}, which cannot be written as ONNX")


def _values(variable: keras.Variable) -> NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(variable), np.float32)


def _conv(graph: Graph, layer: keras.layers.Conv2D, arguments: Sequence[Tensor]) -> Tensor:
    kernel = _values(layer.kernel)  # (h, w, in, out)
    if arguments[0].hw == kernel.shape[:2] and layer.padding == "valid" and layer.groups == 1:
        return _full_size_conv(graph, layer, arguments[0], kernel)
    return _grouped_conv(graph, layer, arguments[0], kernel.transpose(3, 2, 0, 1), layer.groups)


def _bias(layer: keras.Layer, channels: int) -> NDArray[np.float32]:
    return _values(layer.bias) if layer.use_bias else np.zeros(channels, np.float32)


def _full_size_conv(graph: Graph, layer: keras.layers.Conv2D, source: Tensor, kernel: NDArray[np.float32]) -> Tensor:
    """A convolution whose kernel covers its whole input, as a matrix product."""
    height, width, channels, filters = kernel.shape
    flat = graph.add("Reshape", source.name, graph.integers(-1, height * width * channels))
    matrix = graph.constant(kernel.transpose(2, 0, 1, 3).reshape(-1, filters))
    product = graph.add("Add", graph.add("MatMul", flat, matrix), graph.constant(_bias(layer, filters)))
    result = graph.add("Reshape", product, graph.integers(-1, filters, 1, 1))
    return _activate(graph, layer, layer.activation, Tensor(result, 4, filters, (1, 1)))


def _depthwise(graph: Graph, layer: keras.layers.DepthwiseConv2D, arguments: Sequence[Tensor]) -> Tensor:
    kernel = _values(layer.kernel)  # (h, w, in, multiplier)
    weights = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    return _grouped_conv(graph, layer, arguments[0], weights, kernel.shape[2])


def _grouped_conv(
    graph: Graph, layer: keras.Layer, source: Tensor, weights: NDArray[np.float32], groups: int
) -> Tensor:
    """A convolution with weights (out, in / groups, h, w)."""
    channels = len(weights)
    given = source.name, graph.constant(weights), graph.constant(_bias(layer, channels))
    result = graph.add("Conv", *given, strides=list(layer.strides), group=groups, **_padding(layer))
    hw = source.hw if layer.padding == "same" and layer.strides == (1, 1) else None
    return _activate(graph, layer, layer.activation, Tensor(result, 4, channels, hw))


def _transposed(graph: Graph, layer: keras.layers.Conv2DTranspose, arguments: Sequence[Tensor]) -> Tensor:
    kernel = _values(layer.kernel)  # (h, w, out, in)
    is_plain = layer.dilation_rate == (1, 1) and layer.output_padding is None
    if layer.strides != kernel.shape[:2] or not is_plain:
        raise ExportError(f"layer {layer.name}: only transposed convolutions whose stride is their size can be written")
    bias = _bias(layer, kernel.shape[2])
    result = graph.add(
        "ConvTranspose",
        arguments[0].name,
        graph.constant(kernel.transpose(3, 2, 0, 1)),
        graph.constant(bias),
        strides=list(layer.strides),
    )
    return _activate(graph, layer, layer.activation, Tensor(result, 4, kernel.shape[2]))


def _dense(graph: Graph, layer: keras.layers.Dense, arguments: Sequence[Tensor]) -> Tensor:
    source, kernel = arguments[0], _values(layer.kernel)
    if source.rank == 4:
        raise ExportError(f"layer {layer.name}: a Dense layer on a feature map cannot be written; use a 1x1 Conv2D")
    product = graph.add("MatMul", source.name, graph.constant(kernel))
    if layer.use_bias:
        product = graph.add("Add", product, graph.constant(_values(layer.bias)))
    return _activate(graph, layer, layer.activation, Tensor(product, source.rank, kernel.shape[1]))


def _norm(graph: Graph, layer: keras.layers.BatchNormalization, arguments: Sequence[Tensor]) -> Tensor:
    if uses_batch_statistics(layer):
        raise ExportError(f"layer {layer.name} uses each batch's statistics (TRAIN_BN True): set TRAIN_BN to False")
    if layer.axis not in (-1, layer.input.ndim - 1):
        raise ExportError(f"layer {layer.name}: only the last axis can be normalized, not {layer.axis}")
    source = arguments[0]
    shape = (-1, 1, 1) if source.rank == 4 else (-1,)
    scale, shift = (values.reshape(shape) for values in scale_and_shift(layer))
    scaled = graph.add("Mul", source.name, graph.constant(scale))
    return replace(source, name=graph.add("Add", scaled, graph.constant(shift)))


def _activate(graph: Graph, layer: keras.Layer, function: Callable[..., Any], source: Tensor) -> Tensor:
    name = getattr(function, "__name__", str(function))
    if name == "linear":
        return source
    simple = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    if name in simple:
        return replace(source, name=graph.add(simple[name], source.name))
    if name == "relu6":
        return replace(source, name=graph.add("Clip", source.name, graph.constant(0.0), graph.constant(6.0)))
    raise ExportError(f"layer {layer.name}: the activation {name} cannot be written as ONNX")


def _activation(graph: Graph, layer: keras.layers.Activation, arguments: Sequence[Tensor]) -> Tensor:
    return _activate(graph, layer, layer.activation, arguments[0])


def _relu(graph: Graph, layer: keras.layers.ReLU, arguments: Sequence[Tensor]) -> Tensor:
    if layer.negative_slope or layer.threshold:
        raise ExportError(f"layer {layer.name}: a ReLU with a slope or a threshold cannot be written")
    if layer.max_value is None:
        return replace(arguments[0], name=graph.add("Relu", arguments[0].name))
    limits = graph.constant(0.0), graph.constant(layer.max_value)
    return replace(arguments[0], name=graph.add("Clip", arguments[0].name, *limits))


def _zero_padding(graph: Graph, layer: keras.layers.ZeroPadding2D, arguments: Sequence[Tensor]) -> Tensor:
    (top, bottom), (left, right) = layer.padding
    pads = graph.integers(0, 0, top, left, 0, 0, bottom, right)
    name = graph.add("Pad", arguments[0].name, pads, graph.constant(0.0))
    return replace(arguments[0], name=name, hw=None)


def _max_pooling(graph: Graph, layer: keras.layers.MaxPooling2D, arguments: Sequence[Tensor]) -> Tensor:
    options = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
    name = graph.add("MaxPool", arguments[0].name, **options, auto_pad=_AUTO_PAD[layer.padding])
    return replace(arguments[0], name=name, hw=None)


def _upsampling(graph: Graph, layer: keras.layers.UpSampling2D, arguments: Sequence[Tensor]) -> Tensor:
    if layer.interpolation != "nearest":
        raise ExportError(
            f"layer {layer.name}: only nearest-neighbor interpolation can be written, not {layer.interpolation}"
        )
    scales = graph.constant([1.0, 1.0, *map(float, layer.size)])
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return replace(arguments[0], name=graph.add("Resize", arguments[0].name, "", scales, **options), hw=None)


def _sum(graph: Graph, layer: keras.layers.Add, arguments: Sequence[Tensor]) -> Tensor:
    name = arguments[0].name
    if len({(tensor.rank, tensor.channels) for tensor in arguments}) > 1:
        raise ExportError(f"layer {layer.name}: only tensors of the same shape can be added")
    for other in arguments[1:]:
        name = graph.add("Add", name, other.name)
    return replace(arguments[0], name=name)


def _concatenate(graph: Graph, layer: keras.layers.Concatenate, arguments: Sequence[Tensor]) -> Tensor:
    rank = arguments[0].rank
    axis = layer.axis % rank
    if rank == 4:
        axis = {0: 0, 1: 2, 2: 3, 3: 1}[axis]
    is_channels = axis == (1 if rank == 4 else rank - 1)
    channels = sum(tensor.channels for tensor in arguments) if is_channels else arguments[0].channels
    name = graph.add("Concat", *(tensor.name for tensor in arguments), axis=axis)
    return Tensor(name, rank, channels)


def _reshape(graph: Graph, layer: keras.layers.Reshape, arguments: Sequence[Tensor]) -> Tensor:
    source, shape = arguments[0], layer.target_shape
    if len(shape) == 3:
        raise ExportError(f"layer {layer.name}: a feature map cannot be reshaped into another")
    name = source.name
    if source.rank == 4 and source.hw != (1, 1):
        name = graph.add("Transpose", name, perm=[0, 2, 3, 1])
    # 0 keeps the batch size; -1 in its place would be a second unknown size
    full_shape = graph.integers(0 if -1 in shape else -1, *shape)
    return Tensor(graph.add("Reshape", name, full_shape), len(shape) + 1, int(shape[-1]))


def _rescaling(graph: Graph, layer: keras.layers.Rescaling, arguments: Sequence[Tensor]) -> Tensor:
    if np.size(layer.scale) != 1 or np.size(layer.offset) != 1:
        raise ExportError(f"layer {layer.name}: only one factor and one offset for all channels can be written")
    name = graph.add("Mul", arguments[0].name, graph.constant(float(layer.scale)))
    if layer.offset:
        name = graph.add("Add", name, graph.constant(float(layer.offset)))
    return replace(arguments[0], name=name)


def _unchanged(graph: Graph, layer: keras.Layer, arguments: Sequence[Tensor]) -> Tensor:
    return arguments[0]


_AUTO_PAD = {"same": "SAME_UPPER", "valid": "VALID"}


def _padding(layer: keras.Layer) -> dict[str, Any]:
    if layer.dilation_rate not in (1, (1, 1)):
        raise ExportError(f"layer {layer.name}: dilated convolutions cannot be written")
    size = layer.kernel_size
    if layer.padding == "same" and layer.strides == (1, 1) and size[0] % 2 and size[1] % 2:
        return {"pads": [size[0] // 2, size[1] // 2] * 2}  # "same" padding that does not depend on the input size
    return {"auto_pad": _AUTO_PAD[layer.padding]}


_WRITERS: tuple[tuple[type, Callable[[Graph, Any, Sequence[Tensor]], Tensor]], ...] = (
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


def translate(
    model: keras.Model, inputs: Sequence[Tensor], graph: Graph, names: Mapping[str, str] | None = None
) -> list[Tensor]:
    """Add a functional model to a graph.

    Args:
        model: a functional model; nested models are translated inline.
        inputs: tensors of the graph that replace the model's inputs.
        graph: receives the nodes.
        names: names in the graph for the outputs of some layers, by layer name.

    Returns:
        The model's outputs, flattened.

    Raises:
        ExportError: a layer's class or one of its options is not supported.
    """
    return _Translation(model, graph, names or {}).run(inputs)


TensorKey = tuple[str, int, int]
"""Layer name, index of the layer's call, index of the output."""


class _Translation:
    """One call of a model."""

    def __init__(self, model: keras.Model, graph: Graph, names: Mapping[str, str]):
        self._model, self._graph, self._names = model, graph, names
        self._config = model.get_config()
        self._tensors: dict[TensorKey, Tensor] = {}
        self._outputs = [self._output_key(*key) for key in _flat_keys(self._config["output_layers"])]

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        self._tensors.update(zip(_flat_keys(self._config["input_layers"]), inputs, strict=True))
        calls = [
            (entry["name"], index, _tensor_keys(node["args"]))
            for entry in self._config["layers"]
            for index, node in enumerate(entry["inbound_nodes"])
        ]
        while calls:
            waiting = [call for call in calls if not self._call(*call)]
            if len(waiting) == len(calls):
                raise ExportError(f"{self._model.name}: the inputs of layer {waiting[0][0]} are never computed")
            calls = waiting
        return [self._tensors[key] for key in self._outputs]

    def _output_key(self, name: str, node: int, tensor: int) -> TensorKey:
        """In the list of outputs, and only there, Keras counts the calls of a nested model from one."""
        return name, node - isinstance(self._model.get_layer(name), keras.Model), tensor

    def _call(self, name: str, index: int, keys: Sequence[TensorKey]) -> bool:
        """Translate one call of a layer if all its inputs are available."""
        if not all(key in self._tensors for key in keys):
            return False
        layer = self._model.get_layer(name)
        arguments = [self._tensors[key] for key in keys]
        if isinstance(layer, keras.Model):
            results = translate(layer, arguments, self._graph)
        else:
            results = [write_layer(self._graph, layer, arguments)]
            if name in self._names:
                results = [replace(results[0], name=self._graph.rename(results[0].name, self._names[name]))]
        self._tensors.update({(name, index, output): result for output, result in enumerate(results)})
        return True


def _flat_keys(references: Any) -> list[TensorKey]:
    """Keys from Keras' input_layers or output_layers: one reference [name, node, tensor], or nested lists of them."""
    if references and isinstance(references[0], str):
        name, node, tensor = references
        return [(name, node, tensor)]
    return [key for item in references for key in _flat_keys(item)]


def _tensor_keys(arguments: Any) -> list[TensorKey]:
    """Keys of the tensors among the arguments of a call, in order."""
    if isinstance(arguments, dict):
        if arguments.get("class_name") == "__keras_tensor__":
            name, node, tensor = arguments["config"]["keras_history"]
            return [(name, node, tensor)]
        arguments = list(arguments.values())
    if isinstance(arguments, list | tuple):
        return [key for argument in arguments for key in _tensor_keys(argument)]
    return []
