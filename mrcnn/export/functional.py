"""Translates functional Keras models into ONNX nodes, call by call of their layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from mrcnn.export.layers import ExportError, Tensor, write_layer
from mrcnn.export.onnx_graph import Graph


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
